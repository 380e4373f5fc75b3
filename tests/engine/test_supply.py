"""How chunks come out of the store: few at a time where the lane is slow, together where they are gone at once."""

import asyncio
from pathlib import Path

import pytest

from bulkmail import Engine
from bulkmail.engine.agenda import Agenda
from bulkmail.store.chunks import OpenChunk, Waiting
from bulkmail.store.store import Store
from tests.engine.exchanger import Guest
from tests.engine.scene import Internet, addresses, run, send


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many rounds there were, how often all of the store was looked at, and how many chunks it gave."""
    counted = {"rounds": 0, "readings": 0, "chunks": 0}
    claim, waiting, advance = Store.claim_many, Store.waiting, Agenda.advance

    def counting_claim(self: Store, *arguments: object) -> list[OpenChunk]:
        chunks = claim(self, *arguments)  # type: ignore[arg-type]
        counted["chunks"] += len(chunks)
        return chunks

    def counting_waiting(self: Store, *arguments: object) -> Waiting:
        counted["readings"] += 1
        return waiting(self, *arguments)  # type: ignore[arg-type]

    def counting_rounds(self: Agenda, *arguments: object) -> None:
        counted["rounds"] += 1
        advance(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "claim_many", counting_claim)
    monkeypatch.setattr(Store, "waiting", counting_waiting)
    monkeypatch.setattr(Agenda, "advance", counting_rounds)
    return counted


def test_a_slow_lane_has_one_chunk_of_many(tmp_path: Path, calls: dict[str, int]) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(4000), limits={"default": {"messages": "50/s"}})
            async with Engine(tmp_path / "state") as engine:
                asyncio.get_running_loop().call_later(1.5, engine.stop)
                async for _ in engine.send(campaign):
                    pass
        assert calls["chunks"] == 1
        # A round for it, and one for each thing that may have changed: nothing polls.
        assert calls["rounds"] < 10

    run(scene())


def test_chunks_that_are_gone_at_once_are_claimed_together_and_all_are_sent(
    tmp_path: Path, calls: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine that runs this.
    monkeypatch.setattr("bulkmail.engine.claims.QUICK_SECONDS", 60.0)
    monkeypatch.setattr("bulkmail.engine.scheduler.FOLD_SECONDS", 60.0)

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            summary, _ = await send(internet.campaign(tmp_path, addresses(8000)), tmp_path / "state")
        assert summary.delivered == 8000
        assert sorted(mx.recipients) == sorted(addresses(8000))
        assert calls["chunks"] == 8
        # One, two and four come together, then the last; one by one it was twice a chunk and more.
        assert calls["rounds"] < 14

    run(scene(), seconds=60)


def test_domains_that_share_a_slow_lane_are_claimed_as_it_takes_them(tmp_path: Path, calls: dict[str, int]) -> None:
    domains = [f"shop-{number}.example" for number in range(20)]
    rows = [address for domain in domains for address in addresses(100, domain)]

    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", lambda *_: None, *domains)
            campaign = internet.campaign(tmp_path, rows, limits={"default": {"messages": "50/s"}})
            async with Engine(tmp_path / "state") as engine:
                asyncio.get_running_loop().call_later(1.5, engine.stop)
                async for _ in engine.send(campaign):
                    pass
        # Five hundred recipients are enough for a lane, and a chunk of these has a hundred.
        assert 5 <= calls["chunks"] <= 7
        assert calls["readings"] == 1

    run(scene())


def test_many_sites_with_chunks_of_their_own_are_all_sent_to_and_the_store_is_looked_through_once(
    tmp_path: Path, calls: dict[str, int]
) -> None:
    domains = [f"shop-{number}.example" for number in range(40)]
    rows = [address for domain in domains for address in addresses(50, domain)]
    deferred = {f"r1@{domain}" for domain in domains[:5]}

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        if stage == "rcpt" and argument in deferred:
            deferred.discard(argument)
            return "450 4.2.1 try again later"
        return None

    async def scene() -> None:
        async with Internet() as internet:
            mx = [await internet.exchanger(f"mx.{domain}", behave, domain) for domain in domains]
            summary, _ = await send(internet.campaign(tmp_path, rows), tmp_path / "state")
        assert summary.delivered == len(rows)
        assert sorted(one for exchanger in mx for one in exchanger.recipients) == sorted(rows)
        # Each once, and those with somebody who was deferred once more.
        assert (calls["chunks"], calls["readings"]) == (45, 1)

    run(scene(), seconds=60)
