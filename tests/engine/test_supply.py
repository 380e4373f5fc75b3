"""How chunks come out of the store: few at a time where the lane is slow, together where they are gone at once."""

import asyncio
from pathlib import Path

import pytest

from bulkmail import Engine
from bulkmail.store.chunks import OpenChunk
from bulkmail.store.store import Store
from tests.engine.scene import Internet, addresses, run, send


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the store was asked, and how many chunks it gave."""
    counted = {"backlog": 0, "chunks": 0}
    claim, backlog = Store.claim_many, Store.backlog

    def counting_claim(self: Store, *arguments: object) -> list[OpenChunk]:
        chunks = claim(self, *arguments)  # type: ignore[arg-type]
        counted["chunks"] += len(chunks)
        return chunks

    def counting_backlog(self: Store, *arguments: object) -> object:
        counted["backlog"] += 1
        return backlog(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "claim_many", counting_claim)
    monkeypatch.setattr(Store, "backlog", counting_backlog)
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
        assert calls["backlog"] < 10

    run(scene())


def test_chunks_that_are_gone_at_once_are_claimed_together_and_all_are_sent(
    tmp_path: Path, calls: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine that runs this.
    monkeypatch.setattr("bulkmail.engine.scheduler.QUICK_SECONDS", 60.0)
    monkeypatch.setattr("bulkmail.engine.scheduler.FOLD_SECONDS", 60.0)

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            summary, _ = await send(internet.campaign(tmp_path, addresses(8000)), tmp_path / "state")
        assert summary.delivered == 8000
        assert sorted(mx.recipients) == sorted(addresses(8000))
        assert calls["chunks"] == 8
        # One, two and four come together, then the last; one by one it was twice a chunk and more.
        assert calls["backlog"] < 14

    run(scene(), seconds=60)
