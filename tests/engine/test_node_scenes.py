"""What one sending process does, several do as well: orders, lists, relays, sources; and a node that hangs."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bulkmail import Engine
from bulkmail.engine.nodes import deal
from bulkmail.errors import CampaignError
from bulkmail.model.delivery import Event
from bulkmail.store.orders import Kind, Order, give_order, take_back
from bulkmail.store.view import StoreView
from tests.engine.exchanger import Guest
from tests.engine.scene import Internet, addresses, assert_sum, of, run
from tests.engine.test_nodes import nodes_below

DOMAINS = [f"d{number}.example" for number in range(6)]


async def send(campaign: Path, state: Path, **options: Any) -> tuple[Any, list[Event]]:
    """By two nodes."""
    async with Engine(state, signers=1, nodes=2) as engine:
        events = [event async for event in engine.send(campaign, **options)]
    assert engine.summary is not None
    assert_sum(engine.summary)
    return engine.summary, events


async def internet_of_six(internet: Internet, behave: Any = lambda *_: None) -> list[Any]:
    return [await internet.exchanger(f"mx.{domain}", behave, domain) for domain in DOMAINS]


def everybody(each: int) -> list[str]:
    return [address for domain in DOMAINS for address in addresses(each, domain)]


def test_bounces_deferrals_and_rows_that_cannot_be_rendered_are_told_as_by_one_process(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        if stage == "rcpt":
            seen[argument] += 1
            if argument.startswith("r3@"):
                return "550 5.1.1 no such user"
            if argument.startswith("r5@") and seen[argument] == 1:
                return "450 4.2.0 come again"
        return None

    async def scene() -> None:
        async with Internet() as internet:
            exchangers = await internet_of_six(internet, behave)
            campaign = internet.campaign(tmp_path, everybody(30))
            summary, events = await send(campaign, tmp_path / "state")
        assert (summary.delivered, summary.bounced, summary.state) == (29 * 6, 6, "finished")
        assert sum(len(exchanger.accepted) for exchanger in exchangers) == 29 * 6
        assert [event.disposition for event in of(events, "r5@d2.example")] == ["deferred", "delivered"]
        assert [event.attempt for event in of(events, "r5@d2.example")] == [1, 2]
        assert [event.disposition for event in of(events, "r3@d2.example")] == ["bounced"]
        assert {event.site for event in events if event.event == "attempt"} == {f"mx.{domain}" for domain in DOMAINS}
        with StoreView.open_readonly(tmp_path / "state") as view:
            spent = view.cpu(1)
            assert spent.messages == 31 * 6
            assert spent.loop > 0 and spent.composing > 0

    run(scene(), seconds=60.0)


def test_a_pause_holds_all_nodes_and_a_cancel_ends_them(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            exchangers = await internet_of_six(internet)
            campaign = internet.campaign(tmp_path, everybody(300), limits={"default": {"messages": "50/s"}})

            def taken() -> int:
                return sum(len(exchanger.accepted) for exchanger in exchangers)

            async def order(kind: Kind) -> None:
                given = Order(kind=kind, reason="by hand", time=time.time())
                await asyncio.to_thread(give_order, tmp_path / "state", "trial-1", given)

            async with Engine(tmp_path / "state", signers=1, nodes=2) as engine:
                sending = asyncio.create_task(_all(engine, campaign))
                await until(lambda: taken() >= 50)
                await order(Kind.PAUSE)
                log = tmp_path / "state" / "events" / "trial-1.ndjson"
                await until(lambda: b'"paused"' in log.read_bytes())
                # What was on its way may come yet.
                await asyncio.sleep(0.5)
                held = taken()
                await asyncio.sleep(0.5)
                assert taken() == held < 1200
                take_back(tmp_path / "state", "trial-1")
                await until(lambda: taken() >= held + 50)
                await order(Kind.CANCEL)
                events = await sending
                assert engine.summary is not None
                assert engine.summary.state == "cancelled"
                assert engine.summary.delivered == taken() < 1800
                reasons = [event.reason for event in events if event.event == "run"]
                assert reasons == ["sending", "paused", "resumed", "cancelled"]

    run(scene(), seconds=60.0)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for is in other processes
        await asyncio.sleep(0.02)


async def _all(engine: Engine, campaign: Path) -> list[Event]:
    return [event async for event in engine.send(campaign)]


SUPPRESS = """
import sys, time
from pathlib import Path
from bulkmail.store.suppressions import Suppression, Suppressions
with Suppressions.open(Path(sys.argv[1])) as suppressions:
    sys.stdin.readline()
    suppressions.add(Suppression(key="@d1.example", address="@d1.example", reason="manual", source="test", time=1.0))
    print(time.time(), flush=True)
"""


def test_what_another_process_suppresses_holds_at_every_node_within_a_second(tmp_path: Path) -> None:
    taken: list[float] = []
    changed: list[float] = []
    other: list[subprocess.Popen[str]] = []

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        if stage == "rcpt" and argument.endswith("@d1.example"):
            taken.append(time.time())
            if len(taken) == 10:
                assert other[0].stdin is not None and other[0].stdout is not None
                other[0].stdin.write("go\n")
                other[0].stdin.flush()
                changed.append(float(other[0].stdout.readline()))
        return None

    async def scene() -> None:
        async with Internet() as internet:
            await internet_of_six(internet, behave)
            campaign = internet.campaign(
                tmp_path, everybody(150), limits={"default": {"messages": "60/s", "connections": 1}}
            )
            words = [sys.executable, "-c", SUPPRESS, str(tmp_path / "state")]
            (tmp_path / "state").mkdir()
            with subprocess.Popen(words, stdin=-1, stdout=-1, text=True) as process:  # noqa: ASYNC220 - it waits
                other.append(process)
                summary, events = await send(campaign, tmp_path / "state")
        assert summary.delivered + summary.suppressed == 900
        assert 0 < summary.suppressed < 140
        assert max(taken) - changed[0] < 1.5
        assert len([event for event in events if event.event == "suppressed"]) == summary.suppressed

    run(scene(), seconds=60.0)


def test_without_waiting_what_is_deferred_is_left_for_the_next_call(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        if stage == "rcpt" and argument.startswith("r1@"):
            seen[argument] += 1
            return "450 4.2.0 come again" if seen[argument] == 1 else None
        return None

    async def scene() -> None:
        async with Internet() as internet:
            await internet_of_six(internet, behave)
            campaign = internet.campaign(tmp_path, everybody(20), delivery={"retry": ["4s"], "expire": "60s"})
            summary, _ = await send(campaign, tmp_path / "state", wait=False)
            assert (summary.state, summary.delivered, summary.deferred) == ("stopped", 114, 6)
            summary, _ = await send(campaign, tmp_path / "state")
            assert (summary.state, summary.delivered) == ("finished", 120)

    run(scene(), seconds=60.0)


def test_a_relay_that_fails_leaves_its_mail_to_the_one_at_another_node(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            first = await internet.exchanger("one.example")
            second = await internet.exchanger("two.example")
            relays = [
                {"host": host.address, "port": internet.port, "tls": "none", "priority": priority}
                for priority, host in enumerate((first, second))
            ]
            await first.close()
            campaign = internet.campaign(
                tmp_path, everybody(50), delivery={"route": "relay", "relay": relays, "retry": ["2s"]}
            )
            summary, events = await send(campaign, tmp_path / "state")
        assert (summary.state, summary.delivered) == ("finished", 300)
        assert len(second.accepted) == 300
        assert {event.site for event in events if event.disposition == "delivered"} == {
            f"{second.address}:{internet.port}"
        }

    run(scene(), seconds=60.0)


def test_a_node_that_hangs_is_ended_and_its_mail_goes_on_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deal, "SILENT_SECONDS", 5.0)
    monkeypatch.setattr(deal, "SILENT_SWEEPS", 12)

    async def scene() -> None:
        async with Internet() as internet:
            exchangers = await internet_of_six(internet)
            campaign = internet.campaign(tmp_path, everybody(100), limits={"default": {"messages": "50/s"}})
            async with Engine(tmp_path / "state", signers=1, nodes=2) as engine:
                sending = asyncio.create_task(_all(engine, campaign))
                await until(lambda: sum(len(exchanger.accepted) for exchanger in exchangers) >= 60)
                hung = nodes_below(os.getpid())[0]
                os.kill(hung, signal.SIGSTOP)
                events = await sending
                assert engine.summary is not None
                assert (engine.summary.state, engine.summary.delivered) == ("finished", 600)
        told = [event.reply for event in events if event.reason == "node"]
        assert len(told) == 1 and f"process {hung}" in str(told[0])

    run(scene(), seconds=60.0)


def test_attachments_made_in_python_are_refused_with_several_nodes(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            await internet_of_six(internet)
            campaign = internet.campaign(tmp_path, everybody(1))
            with pytest.raises(CampaignError, match="one process"):
                await send(campaign, tmp_path / "state", attach=lambda recipient: ())
        assert not (tmp_path / "state" / "queue.db").exists()

    run(scene(), seconds=60.0)
