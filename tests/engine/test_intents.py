"""Intents that have to be on the disk first: one sync for all that wait, and nobody is forgotten in between."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

from bulkmail.clock import SystemClock
from bulkmail.engine.intents import Intents
from tests.engine.scene import run


class Journal:
    """Counts its syncs."""

    def __init__(self) -> None:
        self.recorded: list[int] = []
        self.syncs = 0

    def intent(self, chunk: int, index: int, attempt: int, time: float) -> None:
        self.recorded.append(index)

    def flush(self) -> None:
        return None

    def sync(self) -> None:
        self.syncs += 1


def message(index: int) -> Any:
    return SimpleNamespace(chunk=SimpleNamespace(number=1), index=index, attempt=1)


def intents(journal: Journal, thread: ThreadPoolExecutor) -> Intents:
    return Intents(journal, clock=SystemClock(), sync_thread=thread, synced=True)  # type: ignore[arg-type]


def test_all_that_ask_while_a_sync_is_under_way_share_the_next_one() -> None:
    journal = Journal()

    async def scene() -> None:
        with ThreadPoolExecutor(1) as thread:
            kept, done = intents(journal, thread), asyncio.Event()
            written: list[int] = []

            def note(index: int) -> None:
                written.append(index)
                if len(written) == 10:
                    done.set()

            for index in range(10):
                assert kept.record([message(index)], lambda index=index: note(index))  # type: ignore[misc]
                assert written == []
            await done.wait()
            assert written == list(range(10)) == journal.recorded
            assert journal.syncs == 1

    run(scene())


def test_who_asks_just_when_the_last_sync_is_over_is_not_forgotten() -> None:
    async def scene() -> None:
        with ThreadPoolExecutor(1) as thread:
            kept, done = intents(Journal(), thread), asyncio.Event()
            loop = asyncio.get_running_loop()
            # Called in the turn of the loop in which the syncing task has ended and nobody has been told yet.
            kept.record([message(1)], lambda: loop.call_soon(kept.record, [message(2)], done.set) and None)
            await done.wait()

    run(scene(), seconds=5)
