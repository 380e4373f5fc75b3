"""The one thread that gives what came in its effect: all that waits is made durable together, then answered."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bulkmail.clock import Clock
from bulkmail.engine.incoming import Incoming
from bulkmail.errors import BulkmailError, StateError

GROUP = 256
# So many may wait; who comes then is told to come again.
WAITING_LIMIT = 5_000
T = TypeVar("T")


class Busy(BulkmailError):
    """Too much waits already."""


class Worker:
    """Runs jobs on the thread that owns `Incoming`, in groups; each future is done when its job's effect is durable.

    A job that fails leaves the others of its group alone. Where a group could not be made durable, none of it is
    answered, and the state is opened anew.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[tuple[Callable[[Incoming], Any], asyncio.Future[Any]]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._incoming: Incoming | None = Incoming(directory, clock)
        self._thread = threading.Thread(target=self._run, name="bulkmail-answers")
        self._thread.start()

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    async def do(self, job: Callable[[Incoming], T]) -> T:
        """What `job` returns, once that is durable. Raises Busy, or what the job or the disk raises."""
        if len(self._jobs) >= WAITING_LIMIT or self._closing:
            raise Busy("too much waits")
        future: asyncio.Future[T] = self._loop.create_future()
        with self._wake:
            self._jobs.append((job, future))
            self._wake.notify()
        return await future

    async def close(self) -> None:
        """Finish what waits."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        try:
            while group := self._next_group():
                self._answer(group, *self._do_together(group))
        finally:
            if self._incoming is not None:
                self._incoming.close()

    def _next_group(self) -> list[tuple[Callable[[Incoming], Any], asyncio.Future[Any]]]:
        with self._wake:
            while not self._jobs and not self._closing:
                self._wake.wait()
            return [self._jobs.popleft() for _ in range(min(len(self._jobs), GROUP))]

    def _do_together(
        self, group: list[tuple[Callable[[Incoming], Any], asyncio.Future[Any]]]
    ) -> tuple[list[Any], list[BaseException | None]]:
        results: list[Any] = []
        errors: list[BaseException | None] = []
        try:
            if self._incoming is None:
                self._incoming = Incoming(self._directory, self._clock)
            with self._incoming.returns.together():
                for job, _ in group:
                    result, error = None, None
                    try:
                        result = job(self._incoming)
                    except StateError:
                        raise
                    except Exception as failure:
                        error = failure
                    results.append(result)
                    errors.append(error)
        except Exception as failure:
            if self._incoming is not None:
                self._incoming.close()
                self._incoming = None
            if len(group) > 1:
                # One of them may be the cause, such as one too large for the disk: each on its own.
                alone = [self._do_together([each]) for each in group]
                return [result for (result,), _ in alone], [error for _, (error,) in alone]
            return [None], [failure]
        return results, errors

    def _answer(
        self,
        group: list[tuple[Callable[[Incoming], Any], asyncio.Future[Any]]],
        results: list[Any],
        errors: list[BaseException | None],
    ) -> None:
        def settle() -> None:
            for (_, future), result, error in zip(group, results, errors, strict=True):
                if future.done():
                    continue
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(result)

        self._loop.call_soon_threadsafe(settle)
