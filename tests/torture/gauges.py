"""What a sending process holds at one moment: memory, descriptors, threads, files, lag of its loop, states of sites."""

import asyncio
import ctypes
import gc
import os
import time
from collections import Counter
from pathlib import Path

from msgspec import Struct

TICK_SECONDS = 0.02
PAGE = os.sysconf("SC_PAGE_SIZE")


class Sample(Struct, frozen=True, kw_only=True):
    """While a run is under way. `lag_*` are the longest delays of the loop since the sample before.

    `lag_cpu_seconds` is what the loop's own thread computed meanwhile, so that another process's work is not taken for
    ours.
    """

    run: int
    seconds: float
    rss_bytes: int
    own_bytes: int
    descriptors: int
    threads: int
    tasks: int
    journal_bytes: int
    lag_seconds: float
    lag_cpu_seconds: float
    lanes: int
    waiting: int
    messages_per_second: float


class Rest(Struct, frozen=True, kw_only=True):
    """After a run is over and before the next begins; `objects` of our classes are those that are still alive."""

    run: int
    seconds: float
    rss_bytes: int
    own_bytes: int
    descriptors: int
    threads: int
    tasks: int
    objects: dict[str, int]
    all_objects: int
    journal_bytes: int
    database_bytes: int
    events_bytes: int
    cpu_seconds: float
    recipients: int


class Lag:
    """A task that is due every TICK_SECONDS, and how late the loop let it run."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    async def watch(self) -> None:
        while True:
            then, used = time.monotonic(), time.thread_time()
            await asyncio.sleep(TICK_SECONDS)
            late = time.monotonic() - then - TICK_SECONDS
            self.seconds = max(self.seconds, late)
            self.cpu_seconds = max(self.cpu_seconds, min(late, time.thread_time() - used))

    def take(self) -> tuple[float, float]:
        """The worst since the last call: on the wall, and of that our own work."""
        worst = self.seconds, self.cpu_seconds
        self.seconds = self.cpu_seconds = 0.0
        return worst


def memory() -> tuple[int, int]:
    """Resident bytes of this process, and those of them that are no files."""
    _, resident, shared = map(int, Path("/proc/self/statm").read_text().split()[:3])
    return resident * PAGE, (resident - shared) * PAGE


def give_back() -> None:
    """Let the C library return what it has no use for, so that what is left is in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) - 1


def threads() -> int:
    """All of them, also those that Python does not know."""
    return len(os.listdir("/proc/self/task"))


def bytes_in(folder: Path, pattern: str) -> int:
    """Of the files there at this moment; one that goes meanwhile is not there."""
    total = 0
    for path in folder.glob(pattern):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def living_objects() -> tuple[dict[str, int], int]:
    """How many there are of each class of the product, and of anything that the collector knows."""
    gc.collect()
    known = gc.get_objects()
    kinds = Counter(type(one) for one in known)
    # Of some classes the module is no name but a descriptor.
    ours = {
        f"{kind.__module__}.{kind.__qualname__}": count
        for kind, count in kinds.items()
        if str(kind.__module__).startswith("bulkmail.")
    }
    return ours, len(known)


def rest(run: int, state: Path, *, began: float, recipients: int) -> Rest:
    """Measure a process that has nothing to do; `began` is its monotonic start."""
    objects, everything = living_objects()
    give_back()
    resident, own = memory()
    return Rest(
        run=run,
        seconds=time.monotonic() - began,
        rss_bytes=resident,
        own_bytes=own,
        descriptors=descriptors(),
        threads=threads(),
        tasks=len(asyncio.all_tasks()),
        objects=objects,
        all_objects=everything,
        journal_bytes=bytes_in(state / "journal", "*.j"),
        database_bytes=bytes_in(state, "queue.db*"),
        events_bytes=bytes_in(state / "events", "*.ndjson"),
        cpu_seconds=time.process_time(),
        recipients=recipients,
    )
