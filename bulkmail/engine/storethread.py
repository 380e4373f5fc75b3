"""Call the store on its thread: and wait for it, go on meanwhile, or try until the disk has room."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from bulkmail.engine.intake import FULL_SECONDS
from bulkmail.engine.statistics import DISK_FULL, Statistics
from bulkmail.errors import DiskFull

T = TypeVar("T")


class StoreThread:
    """All of SQLite is done by one `thread`. A full disk that is waited for is told of in `statistics`.

    `leaving` says whether somebody wants to leave, and so waits for no room. `on_crash` is called with the errors of
    what nobody waits for.
    """

    def __init__(
        self,
        thread: Executor,
        statistics: Statistics,
        *,
        leaving: Callable[[], bool],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._thread = thread
        self._statistics = statistics
        self._leaving = leaving
        self._on_crash = on_crash

    async def __call__(self, function: Callable[..., T], *arguments: object) -> T:
        """What the function returns, or raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def when_there_is_room(self, function: Callable[..., T], *arguments: object) -> T:
        """The same, again and again while the disk is full. Raises DiskFull once somebody wants to leave."""
        while True:
            try:
                done = await self(function, *arguments)
            except DiskFull:
                if self._leaving():
                    raise
                self._statistics.problem = DISK_FULL
                await asyncio.sleep(FULL_SECONDS)
            else:
                if self._statistics.problem == DISK_FULL:
                    self._statistics.problem = ""
                return done

    def later(self, function: Callable[..., object], *arguments: object) -> None:
        """Nobody waits for it, and what a full disk has no room for is given up."""
        called = asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        called.add_done_callback(self._called)

    def _called(self, done: "asyncio.Future[object]") -> None:
        if not done.cancelled() and (error := done.exception()) is not None and not isinstance(error, DiskFull):
            self._on_crash(error)
