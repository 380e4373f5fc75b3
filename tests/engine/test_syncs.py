"""What follows from a record follows once that is on the disk, and whatever comes in meanwhile has its turn."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bulkmail.clock import SystemClock
from bulkmail.engine.recovery import publish_recovered
from bulkmail.errors import StateError
from bulkmail.events.log import read_events
from bulkmail.model.delivery import Disposition, Event, Reason
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppressions
from tests.engine.records import Records


def test_an_event_is_told_to_nobody_before_its_outcome_is_on_the_disk(open_records: Callable[..., Records]) -> None:
    order: list[str] = []

    def fdatasync(descriptor: int) -> None:
        order.append("sync")

    records = open_records(fdatasync=fdatasync)

    def subscriber(events: Any) -> None:
        order.append("told")

    async def scene() -> None:
        records.syncs.subscriber = subscriber
        order.clear()
        syncing = asyncio.create_task(records.syncs.run())
        records.deliver(0)
        assert records.told() == []
        records.syncs.close()
        await syncing

    asyncio.run(scene())
    assert order == ["sync", "told"]
    assert records.told() == ["r0@shop.example"]


def test_a_failed_sync_ends_the_recording_and_tells_nothing(open_records: Callable[..., Records]) -> None:
    broken: list[bool] = []

    def fdatasync(descriptor: int) -> None:
        if broken:
            raise OSError(5, "Input/output error")

    records = open_records(fdatasync=fdatasync)
    told: list[Event] = []

    async def scene() -> None:
        records.syncs.subscriber = told.extend
        syncing = asyncio.create_task(records.syncs.run())
        broken.append(True)
        records.deliver(0)
        with pytest.raises(StateError, match="durable"):
            await syncing
        with pytest.raises(StateError):
            records.recorder.intents.record([], lambda: None)
            records.deliver(1)

    asyncio.run(scene())
    assert (told, records.told()) == ([], [])


def test_what_is_recorded_during_a_sync_is_told_although_the_end_comes_meanwhile(
    open_records: Callable[..., Records],
) -> None:
    during: list[Callable[[], None]] = []

    def fdatasync(descriptor: int) -> None:
        if during:
            during.pop()()

    records = open_records(fdatasync=fdatasync)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        reached = asyncio.Event()

        def late() -> None:
            records.deliver(1)
            records.syncs.close()
            reached.set()

        def from_thread() -> None:
            asyncio.run_coroutine_threadsafe(_call(late), loop).result(5)

        syncing = asyncio.create_task(records.syncs.run())
        during.append(from_thread)
        records.deliver(0)
        await reached.wait()
        await syncing

    asyncio.run(scene())
    assert records.told() == ["r0@shop.example", "r1@shop.example"]


async def _call(function: Callable[[], None]) -> None:
    function()


def test_an_outcome_that_came_in_during_a_sync_is_published_after_a_crash(
    open_records: Callable[..., Records], tmp_path: Path
) -> None:
    during: list[Callable[[], None]] = []

    def fdatasync(descriptor: int) -> None:
        if during:
            during.pop()()

    records = open_records(fdatasync=fdatasync)
    doubt = {"reason": Reason.CONNECTION_LOST, "explanation": "in doubt", "due": 1.0, "event": "in_doubt"}

    async def scene() -> None:
        loop = asyncio.get_running_loop()

        def late() -> None:
            records.deliver(1)
            records.deliver(2, Disposition.DEFERRED, **doubt)

        during.append(lambda: asyncio.run_coroutine_threadsafe(_call(late), loop).result(5))
        records.deliver(0)
        await records.syncs.sync()

    asyncio.run(scene())
    # The process dies here: what another one would find is what is on the disk now.
    crashed = tmp_path / "crashed"
    shutil.copytree(records.path, crashed)
    with Store.open(crashed, clock=SystemClock()) as store, Suppressions.open(crashed) as suppressions:
        publish_recovered(store, suppressions)
        events = list(read_events(store.events_path(records.run)))
        publish_recovered(store, suppressions)
        assert list(read_events(store.events_path(records.run))) == events
    assert [event.recipient for event in events] == [f"r{n}@shop.example" for n in range(3)]
    # Deferred or not: it was a doubt.
    assert [event.event for event in events] == ["attempt", "attempt", "in_doubt"]
