"""How long a campaign's limits make it take, site by site."""

from pathlib import Path
from typing import Any

import pytest

from bulkmail.bench.lanes import MESSAGE_SECONDS, Lanes, SiteTime, measure_lanes, site_times
from bulkmail.compilation import compile_for
from bulkmail.config.load import load_campaign
from bulkmail.engine.ways import Way, Ways
from bulkmail.model.campaign import Campaign
from bulkmail.policy.route import site_of
from tests.engine.scene import Internet, addresses, run, write_campaign


def campaign_of(folder: Path, **changes: Any) -> Campaign:
    default = {"connections": 1000, "messages_per_connection": 10, "messages": "100000/s", "connects": "100000/s"}
    limits = {"default": default} | changes.pop("limits", {})
    return load_campaign(str(write_campaign(folder, ["a@x.example"], limits=limits, **changes)))


def way(host: str = "mx.shop.example", **more: Any) -> Way:
    return Way(site=site_of([(10, host)]), **more)


def only(campaign: Campaign, count: int, *ways: Way) -> SiteTime:
    return site_times(campaign, {"shop.example": count}, {"shop.example": ways})[0]


@pytest.mark.parametrize(
    ("limits", "per_second", "limit"),
    [
        ({"messages": "20/s"}, 20.0, "20 messages/s"),
        ({"connections": 3}, 3 / MESSAGE_SECONDS, "3 connections"),
        ({"connects": "2/s", "messages_per_connection": 4}, 8.0, "2 connects/s with 4 messages each"),
    ],
)
def test_the_lowest_of_a_sites_limits_says_how_long_it_takes(
    tmp_path: Path, limits: dict[str, Any], per_second: float, limit: str
) -> None:
    found = only(campaign_of(tmp_path, limits={"sites": {"mx.shop.example": limits}}), 1000, way())
    assert (found.recipients, found.limit) == (1000, limit)
    assert found.per_second == pytest.approx(per_second) and found.seconds == pytest.approx(1000 / per_second)


def test_domains_of_one_site_share_its_limit_and_the_longest_comes_first(tmp_path: Path) -> None:
    campaign = campaign_of(tmp_path, limits={"sites": {"*.shop.example": {"messages": "10/s"}}})
    counts = {"one.example": 300, "two.example": 200, "three.example": 400}
    ways = {"one.example": [way()], "two.example": [way()], "three.example": [way("mx.other.example")]}
    first, second = site_times(campaign, counts, ways)
    assert (first.recipients, first.seconds) == (500, 50.0)
    assert second.recipients == 400 and second.seconds < 1


def test_a_domain_with_a_rate_of_its_own_is_a_line_of_its_own(tmp_path: Path) -> None:
    campaign = campaign_of(tmp_path, limits={"domains": {"shop.example": {"messages": "2/s"}}})
    found = only(campaign, 100, way())
    assert (found.site, found.seconds, found.limit) == ("shop.example", 50.0, "limits.domains: 2 messages/s")


def test_two_sources_are_two_lanes_and_the_one_with_more_to_do_ends_it(tmp_path: Path) -> None:
    sources = [{"address": "127.0.0.1", "weight": 3}, {"address": "127.0.0.2"}]
    limits = {"sites": {"*.shop.example": {"messages": "10/s"}}}
    campaign = campaign_of(tmp_path, limits=limits, delivery={"route": "mx", "sources": sources})
    found = only(campaign, 400, way())
    # 300 of them from the first, at 10 a second.
    assert found.seconds == pytest.approx(30.0)


def test_relays_share_by_weight_and_the_spare_one_has_nothing(tmp_path: Path) -> None:
    relay = [
        {"host": "one.example", "weight": 3, "limits": {"messages": "10/s"}},
        {"host": "two.example", "limits": {"messages": "100/s"}},
        {"host": "spare.example", "priority": 1},
    ]
    campaign = campaign_of(tmp_path, delivery={"route": "relay", "relay": relay})
    ways = Ways(campaign.delivery).of("shop.example")
    assert ways is not None
    found = site_times(campaign, {"shop.example": 400}, {"shop.example": ways})
    assert [(one.site.partition(":")[0], one.recipients) for one in found] == [
        ("one.example", 300),
        ("two.example", 100),
    ]
    assert found[0].seconds == pytest.approx(30.0)


def measured(file: Path, seconds: float = 3.0) -> Lanes:
    campaign = load_campaign(str(file))
    return run(measure_lanes(campaign, compile_for(campaign), seconds=seconds))


def test_the_dns_says_which_domains_are_one_site_and_nobody_is_connected_to(tmp_path: Path) -> None:
    async def scene() -> tuple[Lanes, int]:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example", "also.example")
            people = [*addresses(30), *addresses(20, "also.example"), *addresses(5, "gone.example")]
            file = internet.campaign(tmp_path, people, limits={"default": {"messages": "10/s"}})
            campaign = load_campaign(str(file))
            found = await measure_lanes(campaign, compile_for(campaign), seconds=4.0)
            return found, len(mx.guests)

    found, guests = run(scene())
    assert guests == 0
    assert (found.recipients, found.unknown, found.whole) == (55, 5, True)
    assert [(one.site, one.recipients, one.seconds) for one in found.sites] == [("mx.shop.example", 50, 5.0)]
    assert found.names is not None
    assert (found.names.asked, found.names.failed) == (3, 1) and found.names.per_second > 0


def test_a_dns_server_that_is_silent_ends_with_the_time(tmp_path: Path) -> None:
    async def scene() -> Lanes:
        async with Internet() as internet:
            internet.dns.held = True
            campaign = load_campaign(str(internet.campaign(tmp_path, addresses(3))))
            return await measure_lanes(campaign, compile_for(campaign), seconds=0.4)

    found = run(scene(), seconds=5.0)
    assert (found.recipients, found.unknown, found.sites) == (3, 3, [])
    assert found.names is not None and found.names.failed == 1


def test_a_list_too_long_for_the_time_is_counted_as_far_as_it_went(tmp_path: Path) -> None:
    file = write_campaign(tmp_path, addresses(20_000), delivery={"route": "sandbox"})
    found = measured(file, seconds=0.0)
    assert not found.whole and 0 < found.recipients < 20_000


def test_for_the_sandbox_nobody_is_asked(tmp_path: Path) -> None:
    file = write_campaign(tmp_path, addresses(3), delivery={"route": "sandbox"}, dns={"servers": ["127.0.0.1:1"]})
    found = measured(file)
    assert (found.recipients, found.names, found.sites) == (3, None, [])
