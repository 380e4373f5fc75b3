"""What the disk of a state directory can do: how long a sync takes, and how many journal records a second it takes."""

import os
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from msgspec import Struct

from bulkmail.errors import StateError
from bulkmail.store.journal import Journal

SYNC_BYTES = 4096
SYNC_SECONDS = 0.05
TOGETHER = 64


class Disk(Struct, frozen=True, kw_only=True):
    """Milliseconds of an `fdatasync` behind 4 KB, and journal records a second with a sync every 50 ms.

    A message leaves two records: that it is about to be sent, and what came of it.
    """

    folder: str
    sync_ms: float
    slowest_sync_ms: float
    records_per_second: float


def measure_disk(directory: Path, *, seconds: float) -> Disk:
    """Beside or in the state directory, wherever that is to be; what is written is removed. Raises StateError."""
    folder = next(one for one in (directory, *directory.parents) if one.is_dir())
    try:
        with tempfile.TemporaryDirectory(prefix=".bulkmail-bench-", dir=folder) as name:
            times = _syncs(Path(name) / "sync", seconds / 2)
            records = _records(Path(name), seconds / 2)
    except OSError as error:
        raise StateError(f"{folder}: {error.strerror or error}", hint="choose another place with --state") from None
    return Disk(
        folder=str(folder),
        sync_ms=median(times) * 1e3,
        slowest_sync_ms=(quantiles(times, n=100)[-1] if len(times) > 1 else times[0]) * 1e3,
        records_per_second=records,
    )


def _syncs(path: Path, seconds: float) -> list[float]:
    times: list[float] = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        end = time.monotonic() + seconds
        while not times or time.monotonic() < end:
            os.write(descriptor, bytes(SYNC_BYTES))
            began = time.monotonic()
            os.fdatasync(descriptor)
            times.append(time.monotonic() - began)
    finally:
        os.close(descriptor)
    return times


def _records(folder: Path, seconds: float) -> float:
    """As a send writes them: intents, their outcomes, and what was synced is folded, so that segments can go."""
    journal = Journal(folder)
    try:
        count, number, now = 0, 1, time.time()
        began = synced = time.monotonic()
        while (moment := time.monotonic()) < began + seconds:
            for index in range(TOGETHER):
                journal.intent(number, index, 1, now)
            for index in range(TOGETHER):
                journal.delivered(number, index, 1, 250, now)
            journal.flush()
            count += 2 * TOGETHER
            if moment - synced >= SYNC_SECONDS:
                synced = moment
                journal.sync()
                journal.mark(1, 0)
                journal.folded({number: 1}, journal.position)
                journal.prepare()
                number += 1
        journal.sync()
        return count / (time.monotonic() - began)
    finally:
        journal.close()
