"""Runs: stopped and taken up, finished, changed meanwhile, limited, fed by programs, cut short by suppressions."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from bulkmail import Engine, Recipient
from bulkmail.composition import Send
from bulkmail.config.load import load_campaign
from bulkmail.engine import intake, lanes
from bulkmail.errors import CampaignError, RunConflict
from bulkmail.model.delivery import Event
from bulkmail.store.directory import DirectoryLock
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppression, Suppressions
from tests.auditor.audit import objects
from tests.dns.server import silence
from tests.engine.exchanger import Guest
from tests.engine.scene import Internet, addresses, assert_sum, of, run, send


def suppression(address: str, scope: str = "all") -> Suppression:
    return Suppression(scope=scope, key=address, address=address, reason="complaint", source="test", time=1.0)


def test_a_stopped_run_is_taken_up_where_it_was(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(300), limits={"default": {"messages": "300/s"}})
            async with Engine(tmp_path / "state") as engine:
                delivered = 0
                async for event in engine.send(campaign):
                    delivered += event.disposition == "delivered"
                    if delivered >= 20:
                        engine.stop()
            first = engine.summary
            assert first is not None and first.state == "stopped"
            assert_sum(first)
            assert 20 <= first.delivered < 300
            assert first.delivered == len(mx.accepted) == 300 - first.deferred
            second, _ = await send(campaign, tmp_path / "state")
        assert (second.state, second.run, second.delivered) == ("finished", first.run, 300)
        assert sorted(mx.recipients) == sorted(addresses(300))

    run(scene())


def test_a_finished_run_sends_nothing_and_says_what_it_came_to(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, [*addresses(3), "r1@shop.example"])
            first, _ = await send(campaign, tmp_path / "state")
            second, events = await send(campaign, tmp_path / "state")
            assert events == []
            assert (second.state, second.run) == ("finished", first.run)
            assert (second.recipients, second.delivered, second.duplicates) == (4, 3, 1)
            assert len(mx.accepted) == 3
            third, _ = await send(campaign, tmp_path / "state", new_run=True)
            assert (third.run, third.delivered, len(mx.accepted)) == ("trial-2", 3, 6)

    run(scene())


def test_a_run_is_not_taken_up_with_other_content_or_recipients_and_says_which(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: "451 4.0.0 later", "shop.example")
            await send(internet.campaign(tmp_path, addresses(2)), tmp_path / "state", wait=False)
            for changed in ({"text": "Other words\n"}, {"subject": "Other news"}):
                campaign = internet.campaign(tmp_path, addresses(2), **changed)
                with pytest.raises(RunConflict, match=f"trial-1.*{'content.text' if 'text' in changed else 'subject'}"):
                    await send(campaign, tmp_path / "state")
            campaign = internet.campaign(tmp_path, addresses(3))
            with pytest.raises(RunConflict, match=r"recipients\[0\]\.file"):
                await send(campaign, tmp_path / "state")
            campaign = internet.campaign(tmp_path, addresses(2), limits={"default": {"connections": 1}})
            summary, _ = await send(campaign, tmp_path / "state", wait=False)
            assert summary.run == "trial-1"
            assert not mx.accepted

    run(scene())


def test_without_waiting_a_send_ends_when_nothing_is_due(tmp_path: Path) -> None:
    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        return "450 4.2.1 busy" if stage == "rcpt" and argument.startswith("r1@") else None

    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", behave, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(5), delivery={"retry": ["1h"], "expire": "48h"})
            summary, _ = await send(campaign, tmp_path / "state", wait=False)
        assert (summary.state, summary.delivered, summary.deferred) == ("stopped", 4, 1)

    run(scene())


@pytest.mark.parametrize("reply", ["554 5.7.1 blocked: your ip is on a block list", None])
def test_without_waiting_a_send_does_not_sit_out_the_pause_of_a_site(
    tmp_path: Path, reply: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "CHUNK_RECIPIENTS", 60)

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: reply, "shop.example")
            if reply is None:
                await mx.close()
            campaign = internet.campaign(tmp_path, addresses(300), delivery={"retry": ["1h"], "expire": "48h"})
            summary, _ = await send(campaign, tmp_path / "state", wait=False)
        assert (summary.state, summary.deferred) == ("stopped", 300)

    run(scene(), seconds=15)


def test_a_limit_takes_the_first_rows_only(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(50))
            summary, _ = await send(campaign, tmp_path / "state", limit=7)
        assert (summary.recipients, summary.delivered) == (7, 7)
        assert sorted(mx.recipients) == sorted(addresses(7))

    run(scene())


def test_recipients_may_come_from_a_program_in_three_shapes_and_two_ways(tmp_path: Path) -> None:
    items = [
        {"email": "r1@shop.example", "first_name": "Ada"},
        "r2@shop.example",
        Recipient(address="r3@shop.example", fields={"first_name": "Zoë"}),
        "nonsense",
        "R2@SHOP.example",
    ]

    async def streamed() -> AsyncIterator[object]:
        for item in items:
            await asyncio.sleep(0)
            yield item

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(1), text="Hello {{ first_name or 'you' }}\n")
            for number, recipients in enumerate((items, iter(items), streamed())):
                summary, events = await send(campaign, tmp_path / f"state{number}", recipients=recipients)
                assert (summary.recipients, summary.delivered) == (5, 3), events
                assert (summary.rejected, summary.duplicates) == (1, 1)
                rejected = [event for event in events if event.event == "rejected"]
                assert [event.recipient for event in rejected] == ["nonsense"]
            bodies = {message.recipient: message.data for message in mx.accepted}
        assert b"Hello Ada" in bodies["r1@shop.example"]
        assert b"Hello you" in bodies["r2@shop.example"]

    run(scene())


def test_suppressed_recipients_get_nothing_before_the_run_or_while_it_is_under_way(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(120), limits={"default": {"messages": "40/s"}})
            with Suppressions.open(tmp_path / "state") as elsewhere:
                elsewhere.add(suppression("r1@shop.example"))
                added: set[str] = set()
                events = []
                async with Engine(tmp_path / "state") as engine:
                    async for event in engine.send(campaign):
                        events.append(event)
                        if event.disposition == "delivered" and not added:
                            added = set(addresses(120)[1:]) - set(mx.recipients)
                            added = set(sorted(added)[-10:])
                            elsewhere.add_many(map(suppression, sorted(added)))
            summary = engine.summary
        assert summary is not None
        assert_sum(summary)
        got = set(mx.recipients)
        assert "r1@shop.example" not in got
        assert of(events, "r1@shop.example")[0].event == "suppressed"
        # Seen within about a second; by then 40 and a few ahead may have left.
        late = added - got
        assert summary.suppressed == 1 + len(late)
        assert len(late) >= 1
        for address in late:
            assert [event.event for event in of(events, address)] == ["suppressed"]

    run(scene())


def test_a_row_rejected_before_an_interrupted_intake_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "INGEST_ROWS", 10)
    rows = "email\n" + "".join(f"{one}\nbad-{number}\n" for number, one in enumerate(addresses(40)))

    class Breaking(Exception):
        pass

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, rows)
            monkeypatch.setattr("bulkmail.engine.sources.BATCH_ROWS", 7)
            real, calls = Store.ingest, 0

            def failing(*arguments: object) -> list[int]:
                nonlocal calls
                calls += 1
                if calls == 4:
                    raise Breaking
                return real(*arguments)  # type: ignore[arg-type]

            monkeypatch.setattr(Store, "ingest", failing)
            with pytest.raises(Breaking):
                await send(campaign, tmp_path / "state")
            monkeypatch.setattr(Store, "ingest", real)
            summary, _ = await send(campaign, tmp_path / "state")
        assert (summary.recipients, summary.rejected, summary.delivered) == (80, 40, 40)
        assert len(mx.accepted) == 40
        lines = list(objects(tmp_path / "state/events/trial-1.ndjson"))
        assert sorted(line["recipient"] for line in lines if line["event"] == "rejected") == sorted(
            f"bad-{number}" for number in range(40)
        )

    run(scene())


def test_a_consumer_that_leaves_early_has_stopped_the_send_when_it_leaves_the_engine(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(200), limits={"default": {"messages": "200/s"}})
            async with Engine(tmp_path / "state") as engine:
                async for event in engine.send(campaign):
                    if event.disposition == "delivered":
                        break
            # The directory is free at once, and the summary is there.
            DirectoryLock(tmp_path / "state").release()
            assert engine.summary is not None and engine.summary.state == "stopped"
            assert engine.summary.delivered == len(mx.accepted)
            summary, _ = await send(campaign, tmp_path / "state")
        assert summary.delivered == len(mx.accepted) == 200

    run(scene())


def test_bad_input_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(2), text="Hello {{ frist_name }}\n")
            with pytest.raises(CampaignError, match="frist_name"):
                await send(campaign, tmp_path / "state")
        assert not mx.guests

    run(scene())


def test_a_stop_leaves_no_socket_open_that_waits_for_a_greeting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "QUIT_SECONDS", 0.05)
    greeted, left = asyncio.Event(), asyncio.Event()

    class Silent(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            greeted.set()

        def connection_lost(self, error: Exception | None) -> None:
            left.set()

    async def scene() -> None:
        async with Internet() as internet:
            server = await asyncio.get_running_loop().create_server(Silent, "127.0.7.1", 0)
            internet.port = server.sockets[0].getsockname()[1]
            internet.dns.has("mx.shop.example 300 A 127.0.7.1")
            internet.dns.has("shop.example 300 MX 10 mx.shop.example.")
            campaign = internet.campaign(tmp_path, addresses(1))
            async with Engine(tmp_path / "state", signers=1) as engine:
                sending = asyncio.create_task(drain(engine.send(campaign)))
                await greeted.wait()
                engine.stop()
                await sending
            async with asyncio.timeout(2):
                await left.wait()
            server.close()

    run(scene())


async def drain(events: AsyncIterator[Event]) -> None:
    async for _ in events:
        pass


def test_a_stop_leaves_no_look_up_behind_in_the_program_that_sent(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            internet.dns.on("MX", "shop.example", silence())
            campaign = internet.campaign(tmp_path, addresses(1), dns={"servers": [internet.dns.text], "timeout": "60s"})
            before = asyncio.all_tasks()
            async with Engine(tmp_path / "state", signers=1) as engine:
                sending = asyncio.create_task(drain(engine.send(campaign)))
                async with asyncio.timeout(5):
                    while not internet.dns.asked:  # noqa: ASYNC110 - the server has no event
                        await asyncio.sleep(0.01)
                engine.stop()
                await sending
            assert asyncio.all_tasks() == before

    run(scene())


@pytest.mark.parametrize("step", [-86400.0, 86400.0], ids=["back", "forth"])
def test_a_clock_set_by_a_day_delays_no_retry_and_expires_nobody(tmp_path: Path, step: float) -> None:
    class SteppedClock:
        monotonic = staticmethod(time.monotonic)
        by = 0.0

        def time(self) -> float:
            return time.time() + self.by

    clock = SteppedClock()
    seen: set[str] = set()

    def greylist(stage: str, guest: Guest, argument: str) -> str | None:
        if stage != "rcpt" or argument in seen:
            return None
        seen.add(argument)
        return "451 4.7.1 greylisted, come back"

    def set_clock(events: Sequence[Event]) -> None:
        if any(event.disposition == "deferred" for event in events):
            clock.by = step

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", greylist, "shop.example")
            campaign = load_campaign(internet.campaign(tmp_path, addresses(3)))
            async with Send(campaign, tmp_path / "state", clock=clock) as sending:
                sending.subscribe(set_clock)
                summary = await sending.execute()
        assert (summary.delivered, len(mx.accepted)) == (3, 3)

    run(scene(), seconds=10)
