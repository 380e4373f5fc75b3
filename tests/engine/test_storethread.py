"""The store's thread: what is waited for, what nobody waits for, and what is tried until there is room."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, cast

import pytest

from bulkmail.engine import storethread
from bulkmail.engine.statistics import DISK_FULL, Statistics
from bulkmail.engine.storethread import StoreThread
from bulkmail.errors import DiskFull


class Problem:
    """Of the statistics, what is said to the user."""

    problem = ""


class Disk:
    """Is full for so many calls, and notes what was said while it was."""

    def __init__(self, said: Problem, times: int) -> None:
        self._said = said
        self._times = times
        self.seen: list[str] = []

    def write(self, what: str) -> str:
        self.seen.append(self._said.problem)
        if len(self.seen) <= self._times:
            raise DiskFull("the disk is full")
        return f"{what} by {threading.current_thread().name}"


@pytest.fixture
def thread() -> Iterator[Executor]:
    with ThreadPoolExecutor(1, thread_name_prefix="store") as executor:
        yield executor


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Problem:
    monkeypatch.setattr(storethread, "FULL_SECONDS", 0.0)
    return Problem()


def store_thread(
    thread: Executor, said: Problem, crashes: list[BaseException], *, leaving: bool = False
) -> StoreThread:
    return StoreThread(thread, cast(Statistics, said), leaving=lambda: leaving, on_crash=crashes.append)


def test_what_is_waited_for_is_done_on_the_thread_and_its_errors_are_the_callers(
    thread: Executor, said: Problem
) -> None:
    disk = Disk(said, 1)
    crashes: list[BaseException] = []

    async def scene() -> str:
        in_store = store_thread(thread, said, crashes)
        with pytest.raises(DiskFull):
            await in_store(disk.write, "first")
        return await in_store(disk.write, "second")

    assert asyncio.run(scene()) == "second by store_0"
    assert (said.problem, crashes) == ("", [])


def test_a_full_disk_is_waited_for_and_told_of_meanwhile(thread: Executor, said: Problem) -> None:
    disk = Disk(said, 2)

    async def scene() -> str:
        return await store_thread(thread, said, []).when_there_is_room(disk.write, "all")

    assert asyncio.run(scene()) == "all by store_0"
    assert disk.seen == ["", DISK_FULL, DISK_FULL]
    assert said.problem == ""


def test_another_problem_is_not_taken_back_when_there_is_room(thread: Executor, said: Problem) -> None:
    said.problem = "paused: by hand"

    async def scene() -> None:
        await store_thread(thread, said, []).when_there_is_room(Disk(said, 0).write, "all")

    asyncio.run(scene())
    assert said.problem == "paused: by hand"


def test_whoever_wants_to_leave_waits_for_no_room(thread: Executor, said: Problem) -> None:
    disk = Disk(said, 2)

    async def scene() -> None:
        await store_thread(thread, said, [], leaving=True).when_there_is_room(disk.write, "all")

    with pytest.raises(DiskFull):
        asyncio.run(scene())
    assert len(disk.seen) == 1


@pytest.mark.parametrize(("error", "fatal"), [(None, False), (DiskFull("full"), False), (OSError("gone"), True)])
def test_of_what_nobody_waits_for_all_errors_but_a_full_disk_are_fatal(
    thread: Executor, said: Problem, error: Exception | None, fatal: bool
) -> None:
    crashes: list[BaseException] = []
    kept: list[Any] = []

    def keep(what: str) -> None:
        kept.append(what)
        if error is not None:
            raise error

    async def scene() -> None:
        in_store = store_thread(thread, said, crashes)
        in_store.later(keep, "what")
        assert crashes == []
        # The thread does one thing after the other, and the loop tells of them in that order.
        await in_store(str)
        await asyncio.sleep(0)

    asyncio.run(scene())
    assert kept == ["what"]
    assert crashes == ([error] if fatal else [])
