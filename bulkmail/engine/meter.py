"""Measure where a run's CPU time goes, by reading the clocks of threads at its turning points and around batches.

A thread's clock counts all that the thread did: nothing is measured for each message.
"""

import asyncio
import threading
import time
from concurrent.futures import Executor

from bulkmail.model.cpu import CpuSpent


class CpuMeter:
    """One process's share in a run: `begin`, `sending` once the rows are in, `spent` at any time after `begin`.

    All belongs to the loop's thread but `composed` and `signed`. The clocks are those of the threads themselves, for no
    other can stand in for them.
    """

    def __init__(self, store_thread: Executor, sync_thread: Executor) -> None:
        self._store_thread = store_thread
        self._sync_thread = sync_thread
        self._lock = threading.Lock()
        self._composing = self._signing = 0.0
        self._messages = 0
        self._intake = 0.0

    async def begin(self, before: CpuSpent) -> None:
        """From here on everything counts, on top of what other processes took `before`."""
        self._before = before
        self._process = time.process_time()
        self._store, self._sync = await self._read(self._store_thread), await self._read(self._sync_thread)
        self._loop, self._wall = time.thread_time(), time.monotonic()

    async def sending(self) -> None:
        """What store and loop did so far was taking rows in."""
        loop, store = time.thread_time(), await self._read(self._store_thread)
        self._intake += loop - self._loop + store - self._store
        self._loop, self._store, self._wall = loop, store, time.monotonic()

    def composed(self, messages: int, seconds: float) -> None:
        """A batch was made, on the loop."""
        with self._lock:
            self._messages += messages
            self._composing += seconds

    def signed(self, seconds: float) -> None:
        """A batch was signed; on whatever thread."""
        with self._lock:
            self._signing += seconds

    def so_far(self) -> tuple[int, float, float]:
        """Messages composed, and the seconds of composing and of signing them."""
        with self._lock:
            return self._messages, self._composing, self._signing

    async def spent(self) -> CpuSpent:
        """All of the run, so far."""
        store, recording = await self._read(self._store_thread), await self._read(self._sync_thread)
        messages, composing, signing = self.so_far()
        loop_seconds = time.thread_time() - self._loop
        stages = CpuSpent(
            intake=self._intake,
            composing=composing,
            signing=signing,
            loop=max(0.0, loop_seconds - composing),
            recording=recording - self._sync,
            store=store - self._store,
            messages=messages,
            loop_seconds=loop_seconds,
            wall_seconds=time.monotonic() - self._wall,
        )
        return self._before + stages + CpuSpent(rest=max(0.0, time.process_time() - self._process - stages.total))

    @staticmethod
    async def _read(thread: Executor) -> float:
        return await asyncio.get_running_loop().run_in_executor(thread, time.thread_time)
