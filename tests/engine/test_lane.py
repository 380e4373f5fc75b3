"""What a lane keeps in mind, and for how long."""

from bulkmail.engine.exchange import Exchange
from bulkmail.engine.lane import KEPT_SECONDS, LEARNED_SECONDS, Lane
from bulkmail.model.campaign import EgressSource
from bulkmail.policy.limits import EffectiveLimits
from bulkmail.policy.pacing import Pacer
from bulkmail.policy.route import site_of

SITE = site_of([(10, "mx.shop.example")])
SOON, LATER = 2 * KEPT_SECONDS, 2 * LEARNED_SECONDS


def lane_of(**limits: float | None) -> tuple[Lane, Exchange]:
    lane = Lane(SITE, EgressSource(), EffectiveLimits(**limits), Pacer([300.0]), now=0.0)  # type: ignore[arg-type]
    exchange = lane.exchanges[SITE.hosts, "", SITE.protection] = Exchange(lane, SITE.hosts)
    return lane, exchange


def test_an_idle_lane_that_has_learned_nothing_is_forgotten_soon() -> None:
    lane, _ = lane_of()
    assert not lane.is_forgettable(0.0)
    assert lane.is_forgettable(SOON)


def test_a_lane_with_mail_or_a_connection_is_kept() -> None:
    lane, _ = lane_of()
    lane.waiting = 1
    assert not lane.is_forgettable(LATER)
    lane.waiting, lane.connections = 0, 1
    assert not lane.is_forgettable(LATER)


def test_a_lane_that_was_told_to_go_slow_is_remembered_longer() -> None:
    lane, _ = lane_of()
    lane.pacer.on_message_limit(20)
    assert not lane.is_forgettable(SOON)
    assert lane.is_forgettable(LATER)


def test_a_closed_lane_is_kept_until_well_after_it_opens_so_that_the_next_pause_is_a_longer_one() -> None:
    lane, exchange = lane_of()
    exchange.closed_until, exchange.failed_connects = 1000.0, 1
    assert not lane.is_forgettable(1000.0 + SOON)
    assert lane.is_forgettable(1000.0 + LATER)


def test_a_lane_is_not_forgotten_while_it_owes_tokens_or_its_limit_would_be_passed() -> None:
    lane, _ = lane_of(messages_per_second=1 / 600)
    lane.spend(0.0)
    assert not lane.is_forgettable(LATER)
    assert lane.is_forgettable(601.0)


def test_what_waits_for_a_domains_own_rate_counts_apart() -> None:
    lane, exchange = lane_of()
    bucket = lane.domain_bucket("slow.example", 1.0, 0.0)
    held = Exchange(lane, SITE.hosts, bucket)
    held.put([(None, index) for index in range(5)])  # type: ignore[misc]
    exchange.put([(None, 9)])  # type: ignore[list-item]
    assert (lane.waiting, held.supply, exchange.supply) == (6, 5, 1)
    assert lane.domain_bucket("slow.example", 1.0, 0.0) is bucket
    held.clear()
    assert (lane.waiting, exchange.supply) == (1, 1)
