"""Which limits hold, and that buckets keep to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.model.campaign import Limits, SiteLimits
from bulkmail.model.units import PerSecond
from bulkmail.native.buckets import TokenBucket
from bulkmail.policy.limits import EffectiveLimits, effective_limits, provider_limits
from bulkmail.policy.route import roll_ups, site_of

GOOGLE = site_of([(5, "gmail-smtp-in.l.google.com")])
OLD_GOOGLE = site_of([(5, "aspmx2.googlemail.com")])
COMCAST = site_of([(5, "mx1a1.comcast.net")])
UNKNOWN = site_of([(10, "mx1.isp.example"), (10, "mx2.isp.example"), (20, "backup.other.example")])


def test_without_any_word_the_built_in_limits_hold() -> None:
    assert effective_limits(UNKNOWN, Limits()) == EffectiveLimits(
        connections=10, messages_per_connection=100, messages_per_second=100.0, connects_per_second=20.0
    )


def test_a_provider_we_know_gets_what_it_likes() -> None:
    limits = effective_limits(GOOGLE, Limits())
    assert (limits.connections, limits.messages_per_connection) == (5, 50)
    assert limits.messages_per_second == 100.0
    assert effective_limits(COMCAST, Limits()).connections == 25


def test_the_campaigns_default_only_ever_makes_a_provider_slower() -> None:
    default = SiteLimits(connections=8, messages=PerSecond(1))
    assert effective_limits(UNKNOWN, Limits(default=default)).connections == 8
    assert effective_limits(GOOGLE, Limits(default=default)).connections == 5
    assert effective_limits(COMCAST, Limits(default=default)).connections == 8
    assert effective_limits(GOOGLE, Limits(default=default)).messages_per_second == 1.0


def test_the_campaigns_pattern_beats_what_we_know_and_leaves_the_rest() -> None:
    limits = Limits(
        default=SiteLimits(connections=1, connects=PerSecond(3)), sites={"*.google.com": SiteLimits(connections=40)}
    )
    for site in (GOOGLE, OLD_GOOGLE):
        found = effective_limits(site, limits)
        assert (found.connections, found.messages_per_connection, found.connects_per_second) == (40, 50, 3.0)
    assert effective_limits(UNKNOWN, limits).connections == 1


def test_the_longest_pattern_that_fits_all_best_hosts_speaks_first() -> None:
    limits = Limits(
        sites={
            "*.example": SiteLimits(connections=2, messages_per_connection=7),
            "*.isp.example": SiteLimits(connections=3),
            "mx1.isp.example": SiteLimits(connections=4),
            "*.other.example": SiteLimits(connections=5),
        }
    )
    found = effective_limits(UNKNOWN, limits)
    assert (found.connections, found.messages_per_connection) == (3, 7)


def test_limits_are_known_for_sites_only() -> None:
    assert set(provider_limits()) <= {roll_up.name for roll_up in roll_ups()}


class TestTokenBucket:
    @given(
        rate=st.floats(0.001, 10_000),
        burst=st.none() | st.floats(1, 50),
        steps=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 20)), min_size=1, max_size=60),
        start=st.floats(0, 1e7),
    )
    def test_it_never_lets_through_more_than_rate_and_burst_allow_in_any_window(
        self, rate: float, burst: float | None, steps: list[tuple[float, int]], start: float
    ) -> None:
        bucket = TokenBucket(rate, burst, start)
        allowed = max(1.0, rate * 0.1) if burst is None else burst
        now, taken = start, []
        for pause, wanted in steps:
            now += pause
            taken += [now] * bucket.take_up_to(now, wanted)
        for first, since in enumerate(taken):
            for last in range(first, len(taken)):
                most = allowed + rate * (taken[last] - since + 2e-6)
                assert last - first + 1 <= most + 1e-6

    @given(rate=st.floats(0.001, 10_000), start=st.floats(0, 1e9), count=st.integers(1, 20))
    def test_after_the_wait_it_says_yes_and_not_much_before(self, rate: float, start: float, count: int) -> None:
        bucket = TokenBucket(rate, 1, start)
        now = start
        for _ in range(count):
            wait = bucket.wait_seconds(now)
            if wait > 1e-4:
                assert not bucket.take(now + wait * 0.9)
            now += wait
            assert bucket.take(now)

    def test_it_reaches_the_rate(self) -> None:
        bucket, now, taken = TokenBucket(7.0, 1, 0.0), 0.0, 0
        while now < 100.0:
            taken += bucket.take(now)
            now += bucket.wait_seconds(now)
        assert 699 <= taken <= 701

    def test_a_rate_below_one_a_second_works(self) -> None:
        bucket = TokenBucket(1 / 60, now=100.0)
        assert bucket.take(100.0)
        assert bucket.wait_seconds(100.0) == pytest.approx(60.0)
        assert not bucket.take(159.9)
        assert bucket.take(160.0)

    def test_the_burst_is_a_tenth_of_a_second_unless_said(self) -> None:
        assert TokenBucket(200.0).take_up_to(0.0, 1000) == 20
        assert TokenBucket(5.0).take_up_to(0.0, 1000) == 1
        assert TokenBucket(5.0, 30).take_up_to(0.0, 1000) == 30

    def test_a_burst_is_waited_for_only_when_it_is_used_up(self) -> None:
        bucket = TokenBucket(10.0, 5, 0.0)
        assert bucket.take_up_to(0.0, 4) == 4
        assert bucket.wait_seconds(0.0) == 0.0
        assert bucket.take(0.0)
        assert bucket.wait_seconds(0.0) == pytest.approx(0.1)

    def test_idle_time_fills_no_more_than_the_burst(self) -> None:
        bucket = TokenBucket(10.0, 5, 0.0)
        assert bucket.take_up_to(1000.0, 100) == 5

    def test_a_new_rate_keeps_what_is_owed(self) -> None:
        bucket = TokenBucket(10.0, 1, 0.0)
        assert bucket.take(0.0)
        bucket.set_rate(0.5, 0.0)
        assert bucket.rate_per_second == pytest.approx(0.5)
        assert bucket.wait_seconds(0.0) == pytest.approx(2.0)
        bucket.set_rate(10.0, 1.0)
        assert bucket.wait_seconds(1.0) == pytest.approx(0.05)
        assert bucket.take(1.05)

    def test_changing_the_rate_to_and_fro_gives_nothing_away(self) -> None:
        bucket, taken = TokenBucket(1.0, 1, 0.0), 0
        for step in range(100):
            bucket.set_rate(1.0 if step % 2 else 0.999, step * 0.1)
            taken += bucket.take(step * 0.1)
        assert taken <= 11

    @pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
    def test_a_rate_of_nothing_is_refused(self, rate: float) -> None:
        with pytest.raises(ValueError, match="above 0"):
            TokenBucket(rate)
