"""An event loop whose time jumps to the next thing that happens, and whose threads take turns."""

import asyncio
import random
from asyncio.base_events import BaseEventLoop
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

from bulkmail.errors import InternalError

T = TypeVar("T")

# 2027-03-01, 08:00 UTC.
BEGIN_UNIX_SECONDS = 1_803_888_000.0
# Not 0: what never was must lie before it.
BEGIN_SECONDS = 1000.0


class VirtualClock:
    """The hands are moved by the loop alone. `step` sets the wall clock, as an administrator or NTP would."""

    def __init__(self, unix_seconds: float = BEGIN_UNIX_SECONDS) -> None:
        self._now = BEGIN_SECONDS
        self._offset = unix_seconds - BEGIN_SECONDS

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now + self._offset

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward, or back."""
        self._offset += seconds


class _Idle:
    """In place of the selector: waiting for the network is to let the time pass."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise InternalError("the simulation stands still: everybody waits, and nothing is to come")
        if timeout > 0:
            self._clock.advance(timeout)
        return []

    def close(self) -> None:
        return None


class _Worker:
    """What stands for the thread of an executor: one job after another, each taking its time."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop
        self._jobs: deque[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()

    def submit(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.append((future, function, arguments))
        if len(self._jobs) == 1:
            self._begin()
        return future

    def _begin(self) -> None:
        seconds = self._loop.job_seconds(self._jobs[0][1])
        if seconds > 0:
            self._loop.call_later(seconds, self._work)
        else:
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        future, function, arguments = self._jobs.popleft()
        # A job that a thread has begun is done whether anybody waits for it or not.
        try:
            result = function(*arguments)
        except BaseException as error:
            if not isinstance(error, Exception):
                raise
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)
        if self._jobs:
            self._begin()


class VirtualLoop(BaseEventLoop):
    """Nothing in it depends on the machine: what happens, and in which order, follows from the program and `rng`.

    `connect` answers `create_connection`; `job_seconds` says how long a job given to a thread takes (0 by default).
    """

    # Attributes of the base class that its stubs leave out.
    _selector: Any
    _clock_resolution: float

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self.clock = clock
        self._selector = _Idle(clock)
        self._clock_resolution = 1e-9
        self._workers: dict[Executor | None, _Worker] = {}
        self.connect: Callable[..., Coroutine[Any, Any, Any]] | None = None
        self.job_seconds: Callable[[Callable[..., Any]], float] = lambda function: 0.0

    def time(self) -> float:
        return self.clock.monotonic()

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        worker = self._workers.get(executor)
        if worker is None:
            worker = self._workers[executor] = _Worker(self)
        return worker.submit(func, args)

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int, **options: Any
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        if self.connect is None:
            raise OSError(101, "Network is unreachable")
        found: tuple[asyncio.BaseTransport, asyncio.BaseProtocol] = await self.connect(
            protocol_factory, host, port, **options
        )
        return found

    # What the base class leaves to others.

    def _process_events(self, event_list: list[object]) -> None:
        return None

    def _write_to_self(self) -> None:
        return None


def run(loop: VirtualLoop, main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on this loop, which is closed afterwards."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def jobs_of(rng: random.Random, longest_seconds: float) -> Callable[[Callable[..., Any]], float]:
    """Jobs that take up to so long, most of them much less, as a disk does."""

    def seconds(function: Callable[..., Any]) -> float:
        return float(longest_seconds * rng.random() ** 4)

    return seconds
