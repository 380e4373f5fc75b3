"""The disk of a simulation: a folder whose syncs cost nothing, that is full for a while, and that can be copied."""

import errno
import shutil
from pathlib import Path
from typing import Any

from bulkmail.clock import Clock
from bulkmail.events.log import EventLog
from bulkmail.simulation.faults import NO_FAULTS, Faults, Trouble
from bulkmail.store import directory, segments

# A crash copies them, and half a thousand crashes copy much.
SEGMENT_BYTES = 256 * 1024


class Disk:
    """What the store of a simulation writes to."""

    def __init__(self, clock: Clock, faults: Faults = NO_FAULTS) -> None:
        self._clock = clock
        self._faults = faults

    def journal_options(self) -> dict[str, Any]:
        """Arguments for `Store.open`."""
        return {"segment_bytes": SEGMENT_BYTES, "allocate": self.allocate, "fdatasync": self.sync}

    def allocate(self, descriptor: int, size: int) -> None:
        self.check()
        segments.allocate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Nothing is waited for: what was written outlives a process without it."""

    def check(self) -> None:
        """OSError while there is no room."""
        if self._faults.strikes(Trouble.DISK_FULL, self._clock.monotonic()):
            raise OSError(errno.ENOSPC, "No space left on device")


class DiskLog(EventLog):
    """An event log on such a disk."""

    def __init__(self, path: Path, disk: Disk) -> None:
        super().__init__(path)
        self._disk = disk

    def append_lines(self, lines: bytes) -> None:
        try:
            self._disk.check()
        except OSError as error:
            raise self._error(error) from None
        super().append_lines(lines)

    def sync(self) -> None:
        """Nothing is waited for."""


def copy_state(source: Path, target: Path) -> None:
    """What a process that ended at this moment would leave behind. Between transactions, as all moments here are."""
    target.mkdir(parents=True)
    for name in (directory.DATABASE, f"{directory.DATABASE}-wal"):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    for name in (directory.JOURNAL, directory.EVENTS):
        if (source / name).exists():
            shutil.copytree(source / name, target / name)
