"""Receivers that keep us waiting cost a connection each, and nobody else anything."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bulkmail import Engine
from bulkmail.engine import budget, dialer, lanes, pool, scheduler
from tests.dns.server import records as scripted
from tests.engine.exchanger import HANG, Guest, yes
from tests.engine.scene import Internet, addresses, run, send

ADDRESS = "127.0.7.200"
CONNECTIONS = 8
TARPITS = 24
EACH = 30


@asynccontextmanager
async def tarpits(port: int) -> AsyncIterator[list[int]]:
    """A host that lets all in; of four, one hears nothing, one a greeting, one half of one, one no reply to MAIL.

    The most guests at once.
    """
    open_now, most = 0, [0]
    tasks: set[asyncio.Task[None]] = set()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        open_now += 1
        most[0] = max(most[0], open_now)
        kind = len(tasks) % 4
        try:
            if kind == 1:
                writer.write(b"220 mx.tar.example\r\n")
            elif kind == 2:
                writer.write(b"220-m")
            elif kind == 3:
                writer.write(b"220 mx.tar.example\r\n")
                await reader.readline()
                writer.write(b"250 mx.tar.example\r\n")
            await reader.read(-1)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            open_now -= 1
            writer.close()

    server = await asyncio.start_server(keep, ADDRESS, port)
    try:
        yield most
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_three_times_as_many_tarpits_as_connections_do_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "Budget", lambda _: budget.Budget(CONNECTIONS))
    monkeypatch.setattr(budget, "PATIENCE_SECONDS", 0.7)
    monkeypatch.setattr(lanes, "DRAIN_SECONDS", 0.5)
    # The tarpits come first, and there are enough of them to take every connection.
    people = [address for number in range(TARPITS) for address in addresses(20, f"tar{number}.example")]
    people += [address for number in range(TARPITS) for address in addresses(EACH, f"zoo{number}.example")]

    async def scene() -> None:
        async with Internet() as internet:
            fast = await internet.exchanger("mx.shop.example", yes)
            for number in range(TARPITS):
                for name, address in (("zoo", fast.address), ("tar", ADDRESS)):
                    internet.dns.has(f"{name}{number}.example 300 MX 10 mx.{name}{number}.example.")
                    internet.dns.has(f"mx.{name}{number}.example 300 A {address}")
            async with tarpits(internet.port) as most:
                delivery = {"retry": ["60s"], "expire": "1h"}
                campaign = internet.campaign(tmp_path, people, delivery=delivery)
                began = time.monotonic()
                events, delivered = [], 0
                async with Engine(tmp_path / "state", signers=1) as engine:
                    async for event in engine.send(campaign):
                        events.append(event)
                        delivered += event.disposition == "delivered"
                        if delivered == TARPITS * EACH:
                            # Had each been waited for, it would have been five minutes.
                            assert time.monotonic() - began < 12
                            break
            assert sorted(fast.recipients) == sorted(one for one in people if "@zoo" in one)
            assert most[0] <= CONNECTIONS * 3 // 2
            said = [event for event in events if event.event == "lane" and "others" in (event.reply or "")]
            assert all(event.site is not None and "tar" in event.site for event in said)
            texts = "; ".join(event.reply or "" for event in said)
            assert re.search(r"gave way to others after [0-2]\.\d s without an answer", texts)
            assert re.search(r"too slow while others waited: no reply to mail in [0-2]\.\d s", texts)

    run(scene(), seconds=25)


def test_chunks_full_of_tarpits_do_not_keep_the_next_ones_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share chunks by the thousand, nobody waits for a connection, and so none of them has to give way."""
    monkeypatch.setattr(scheduler, "MAX_TAILS", 1)
    monkeypatch.setattr(lanes, "DRAIN_SECONDS", 0.5)
    many = 60
    people = [address for number in range(many) for address in addresses(20, f"tar{number}.example")]
    people += addresses(40, "zoo.example")

    async def scene() -> None:
        async with Internet() as internet:
            fast = await internet.exchanger("mx.zoo.example", yes, "zoo.example")
            for number in range(many):
                internet.dns.has(f"tar{number}.example 300 MX 10 mx.tar{number}.example.")
                internet.dns.has(f"mx.tar{number}.example 300 A {ADDRESS}")
            async with tarpits(internet.port) as most:
                campaign = internet.campaign(tmp_path, people, delivery={"retry": ["60s"], "expire": "1h"})
                delivered = 0
                async with Engine(tmp_path / "state", signers=1) as engine:
                    async for event in engine.send(campaign):
                        delivered += event.disposition == "delivered"
                        if delivered == 40:
                            break
            assert len(fast.recipients) == 40
            assert most[0] == many

    run(scene(), seconds=25)


def test_hosts_that_never_say_whether_they_took_it_stop_nobody_and_leave_nobody_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ending those connections would leave a doubt each, so others are opened beside them."""
    monkeypatch.setattr(lanes, "Budget", lambda _: budget.Budget(4))
    monkeypatch.setattr(lanes, "DRAIN_SECONDS", 0.3)
    held, shops = [f"hold{n}.example" for n in range(5)], [f"shop{n}.example" for n in range(6)]
    people = [address for domain in (*held, *shops) for address in addresses(5, domain)]

    def hold(stage: str, guest: Guest, argument: str) -> str | None:
        return HANG if stage == "message" else None

    async def scene() -> None:
        async with Internet() as internet:
            fast = await internet.exchanger("mx.fast.example", yes)
            holding = await internet.exchanger("mx.hold.example", hold)
            for domain in (*held, *shops):
                internet.dns.has(f"{domain} 300 MX 10 mx.{domain}.")
                internet.dns.has(f"mx.{domain} 300 A {(fast if domain in shops else holding).address}")
            doubts = []
            async with Engine(tmp_path / "state", signers=1) as engine:
                async for event in engine.send(internet.campaign(tmp_path, people)):
                    doubts += [event.recipient] if event.event == "in_doubt" else []
                    if len(fast.accepted) == 30:
                        break
                assert not doubts
            assert len(fast.accepted) == 30
            assert holding.most_at_once == 5

    run(scene(), seconds=15)


@pytest.mark.parametrize("stage", ["connect", "mail", "rcpt"])
def test_a_host_gets_one_connection_until_it_has_answered_for_a_message(tmp_path: Path, stage: str) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", yes, "shop.example", extensions=("8BITMIME",))
            answer = asyncio.Event()
            say = mx._say

            def slowly(writer: asyncio.StreamWriter, now: str, guest: Guest, argument: str) -> str:
                if now == stage and guest.number == 1 and not answer.is_set():
                    asyncio.get_running_loop().call_later(0.5, let_go, writer, guest, argument)
                    return "250"
                return say(writer, now, guest, argument)

            def let_go(writer: asyncio.StreamWriter, guest: Guest, argument: str) -> None:
                at_once.append(mx.most_at_once)
                answer.set()
                say(writer, stage, guest, argument)

            at_once: list[int] = []
            mx._say = slowly  # type: ignore[method-assign]
            summary, _ = await send(internet.campaign(tmp_path, addresses(200)), tmp_path / "state")
        assert summary.delivered == 200
        assert at_once == [1]
        assert mx.most_at_once > 5

    run(scene())


def test_a_silent_host_keeps_nobody_from_the_other_hosts_of_its_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "SLOW_SECONDS", 0.5)
    monkeypatch.setattr(dialer, "WAITING_SECONDS", 0.2)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read(-1)
        writer.close()

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example")
            server = await asyncio.start_server(silent, ADDRESS, internet.port)
            internet.dns.has(f"silent.shop.example 300 A {ADDRESS}")
            records = ("shop.example 300 MX 10 silent.shop.example.", "shop.example 300 MX 20 mx.shop.example.")
            internet.dns.on("MX", "shop.example", scripted(*records))
            summary, _ = await send(internet.campaign(tmp_path, addresses(EACH)), tmp_path / "state")
            server.close()
        assert summary.delivered == EACH
        assert len(mx.accepted) == EACH

    run(scene(), seconds=12)
