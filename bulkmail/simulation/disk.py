"""The disk of a simulation: a folder whose syncs cost nothing, that is full for a while, and that can be copied."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.events.log import EventLog
from bulkmail.simulation.faults import NO_FAULTS, Faults, Trouble
from bulkmail.store import directory, segments

# A crash copies them, and half a thousand crashes copy much.
SEGMENT_BYTES = 256 * 1024


class Breakage(Struct, frozen=True):
    """The operation `at` (from 1 on) fails with `error`, and with `lasting` all that follow."""

    at: int
    error: int = errno.EIO
    lasting: bool = False


class Disk:
    """What the store of a simulation writes to.

    `operations` counts what it was asked for: room for the journal, syncs, lines for the event log; `struck` says
    whether one failed by the `breakage`. With `remember`
    it knows what was synced: that, and no more, is there after a power failure (`copy_state`).
    """

    def __init__(
        self, clock: Clock, faults: Faults = NO_FAULTS, breakage: Breakage | None = None, *, remember: bool = False
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._breakage = breakage
        self._remembers = remember
        self.operations = 0
        self.struck = False
        self.synced: dict[str, bytes] = {}

    def journal_options(self) -> dict[str, Any]:
        """Arguments for `Store.open`."""
        return {"segment_bytes": SEGMENT_BYTES, "allocate": self.allocate, "fdatasync": self.sync}

    def allocate(self, descriptor: int, size: int) -> None:
        self.check()
        segments.allocate(descriptor, size)
        self.remember(descriptor)

    def sync(self, descriptor: int) -> None:
        """Nothing is waited for: what was written outlives a process without it."""
        self._operate()
        self.remember(descriptor)

    def check(self) -> None:
        """OSError while there is no room."""
        self._operate()
        if self._faults.strikes(Trouble.DISK_FULL, self._clock.monotonic()):
            raise OSError(errno.ENOSPC, "No space left on device")

    def _operate(self) -> None:
        self.operations += 1
        broken = self._breakage
        if broken is not None and (self.operations == broken.at or (broken.lasting and self.operations > broken.at)):
            self.struck = True
            raise OSError(broken.error, os.strerror(broken.error))

    def remember(self, descriptor: int) -> None:
        """What this file has now is there to stay."""
        if not self._remembers:
            return
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        self.synced[path] = os.pread(descriptor, os.fstat(descriptor).st_size, 0)


class DiskLog(EventLog):
    """An event log on such a disk."""

    def __init__(self, path: Path, disk: Disk) -> None:
        super().__init__(path)
        self._disk = disk
        disk.remember(self._descriptor)

    def append_lines(self, lines: bytes) -> None:
        try:
            self._disk.check()
        except OSError as error:
            raise self._error(error) from None
        super().append_lines(lines)

    def sync(self) -> None:
        self._check()
        try:
            self._disk.sync(self._descriptor)
        except OSError as error:
            self._failed = True
            raise self._error(error) from None


def copy_state(source: Path, target: Path, *, after_power_failure: Disk | None = None) -> None:
    """What a process that ended at this moment would leave behind. Between transactions, as all moments here are.

    After a power failure what the disk had not been told to keep is gone; the database always tells it.
    """
    target.mkdir(parents=True)
    for name in (directory.DATABASE, f"{directory.DATABASE}-wal"):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    for name in (directory.JOURNAL, directory.EVENTS):
        if (source / name).exists():
            shutil.copytree(source / name, target / name)
    if after_power_failure is not None:
        for name in (directory.JOURNAL, directory.EVENTS):
            for path in sorted((target / name).glob("*")):
                kept = after_power_failure.synced.get(os.path.realpath(source / name / path.name))
                if kept is not None:
                    path.write_bytes(kept)
