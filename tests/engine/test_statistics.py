"""Counts of sites: of those that matter, however many there are."""

import asyncio
from pathlib import Path

import pytest

from bulkmail.clock import Clock
from bulkmail.config.load import load_campaign
from bulkmail.engine.statistics import SiteCount, Snapshot, Statistics
from bulkmail.engine.windows import MOST_WINDOWS, Windows
from bulkmail.model.delivery import Disposition
from bulkmail.policy.route import Site
from tests.engine.scene import write_campaign
from tests.simulation.playing import SmallSend, play

OPEN, DELIVERED, DEFERRED = Disposition.OPEN, Disposition.DELIVERED, Disposition.DEFERRED


@pytest.fixture
def statistics(tmp_path: Path) -> Statistics:
    campaign = load_campaign(write_campaign(tmp_path, ["a@shop.example"]))
    return Statistics(campaign, "trial-1", now=0.0, most_sites=10)


def test_of_many_sites_those_are_counted_where_mail_waits_and_those_with_most(statistics: Statistics) -> None:
    statistics.moved(OPEN, DEFERRED, "waiting.example")
    for _ in range(3):
        statistics.moved(OPEN, DELIVERED, "large.example")
    assert not statistics.more_sites
    for number in range(100):
        statistics.moved(OPEN, DELIVERED, f"small{number}.example")
        assert len(statistics.sites) <= 10
    assert statistics.more_sites
    assert statistics.sites["waiting.example"] == SiteCount(deferred=1)
    assert statistics.sites["large.example"] == SiteCount(delivered=3)
    assert statistics.totals[DELIVERED] == statistics.delivered_here == 103


def test_a_site_that_was_forgotten_is_counted_from_then_on(statistics: Statistics) -> None:
    statistics.moved(OPEN, DEFERRED, "a.example")
    for number in range(20):
        statistics.moved(OPEN, DEFERRED, f"b{number}.example", 2)
    assert "a.example" not in statistics.sites
    statistics.moved(DEFERRED, DELIVERED, "a.example")
    assert statistics.sites["a.example"] == SiteCount(delivered=1)


def test_windows_are_remembered_of_so_many_sites_and_no_more() -> None:
    windows = Windows({}, recorder=None, keep=lambda site, what: None)  # type: ignore[arg-type]
    sites = [Site(f"s{number}.example", None, ((10, f"s{number}.example"),)) for number in range(MOST_WINDOWS + 1)]
    first = windows.of(sites[0], 16)
    assert windows.of(sites[0], 16) is first
    for site in sites[1:]:
        windows.of(site, 16)
    assert len(windows._windows) == MOST_WINDOWS
    assert windows.of(sites[0], 16) is not first
    assert windows.of(sites[-1], 16) is windows.of(sites[-1], 16)


def test_of_many_lanes_the_busiest_are_told_of_and_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at 10,000 of them held the loop up for 58 ms."""
    monkeypatch.setattr("bulkmail.engine.lanes.MOST_LANES", 3)
    sends: list[SmallSend] = []
    found: list[Snapshot | None] = []

    class Watched(SmallSend):
        async def _open(self) -> None:
            await super()._open()
            sends.append(self)

    def act(_: Clock) -> None:
        asyncio.get_running_loop().call_later(1.0, lambda: found.append(sends[0].snapshot()))

    rows = [f"r{number}@own-{number % 10}.test" for number in range(20)]
    rows += [f"b{number}@own-7.test" for number in range(3)]
    play(tmp_path, rows, act=act, kind=Watched, limits={"default": {"messages": "6/h"}})
    (snapshot,) = found
    assert snapshot is not None
    assert snapshot.lane_count == 10
    assert [lane.waiting for lane in snapshot.lanes] == [4, 1, 1]
