"""Counts of sites: of those that matter, however many there are."""

from pathlib import Path

import pytest

from bulkmail.config.load import load_campaign
from bulkmail.engine.statistics import SiteCount, Statistics
from bulkmail.engine.windows import MOST_WINDOWS, Windows
from bulkmail.model.delivery import Disposition
from bulkmail.policy.route import Site
from tests.engine.scene import write_campaign

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
