"""What a send has open: as much as its connections need, and nothing when it is over."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkmail.engine import lanes, pool
from tests.engine.exchanger import CLOSE, RESET, Behaviour
from tests.engine.scene import Internet, addresses, run, send

CONNECTIONS = 8
DOMAINS_EACH = 12
# Store, journal, event log, lock and what they open for a moment; sockets of DNS questions.
BESIDE = 25


def always(stage: str, reply: str) -> Behaviour:
    return lambda now, guest, argument: reply if now == stage else None


MANNERS: dict[str, Behaviour] = {
    "fine": lambda stage, guest, argument: None,
    "rude": always("connect", CLOSE),
    "full": always("connect", "421 4.3.2 too many connections"),
    "closed": always("connect", "554 5.7.1 go away"),
    "broken": always("mail", RESET),
    "greylisting": lambda stage, guest, argument: "451 4.7.1 later" if stage == "rcpt" and guest.number < 9 else None,
    "unknown": always("rcpt", "550 5.1.1 no such user"),
}


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def few_connections(monkeypatch: pytest.MonkeyPatch, short_timeouts: Callable[..., None]) -> None:
    monkeypatch.setattr(lanes, "Budget", lambda _: pool.Budget(CONNECTIONS))


def test_a_send_over_many_sites_and_failures_has_few_files_open_and_leaves_none(
    tmp_path: Path, few_connections: None
) -> None:
    most, people = [0], []
    for name in (*MANNERS, "nobody", "nowhere"):
        for number in range(DOMAINS_EACH):
            people += addresses(2, f"{name}{number}.example")

    async def watch(base: int) -> None:
        while True:
            most[0] = max(most[0], open_files() - base)
            await asyncio.sleep(0.005)

    async def once(internet: Internet, name: str) -> None:
        base = open_files()
        watching = asyncio.create_task(watch(base))
        campaign = internet.campaign(tmp_path / name, people, delivery={"retry": ["1s"], "expire": "3s"})
        summary, _ = await send(campaign, tmp_path / name / "state")
        watching.cancel()
        assert summary.delivered >= 2 * DOMAINS_EACH
        assert summary.bounced >= 2 * DOMAINS_EACH
        assert summary.expired >= 2 * DOMAINS_EACH
        # What the exchangers have accepted is in this process, too; they close a moment later.
        for _ in range(200):
            if open_files() <= base:
                break
            await asyncio.sleep(0.01)
        assert open_files() == base

    async def scene() -> None:
        async with Internet() as internet:
            for name, manners in MANNERS.items():
                mx = await internet.exchanger(f"mx.{name}.example", manners)
                for number in range(DOMAINS_EACH):
                    internet.dns.has(f"{name}{number}.example 300 MX 10 mx.{name}{number}.example.")
                    internet.dns.has(f"mx.{name}{number}.example 300 A {mx.address}")
            for number in range(DOMAINS_EACH):
                # Nobody listens there; the other domains do not exist.
                internet.dns.has(f"nobody{number}.example 300 MX 10 mx.nobody{number}.example.")
                internet.dns.has(f"mx.nobody{number}.example 300 A 127.0.7.250")
            await once(internet, "first")
            await once(internet, "second")

    run(scene(), seconds=40)
    assert CONNECTIONS < most[0] <= 2 * (CONNECTIONS * 3 // 2) + BESIDE, most
