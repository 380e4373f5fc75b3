"""Hosts the campaign names, domains with a way of their own, shares by weight, limits of relays and sources."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.model.campaign import SiteLimits
from bulkmail.model.units import PerSecond
from bulkmail.policy.limits import EffectiveLimits, narrowed
from bulkmail.policy.route import balanced, endpoint_name, endpoint_of, fitting_pattern, route_for
from bulkmail.policy.spread import pattern_of, spread

WEIGHTS = st.lists(st.integers(1, 30), min_size=1, max_size=6).map(tuple)


@pytest.mark.parametrize(
    "text, endpoint",
    [
        ("mx1.example", ("mx1.example", 25)),
        ("mx1.example:2525", ("mx1.example", 2525)),
        ("192.0.2.1:26", ("192.0.2.1", 26)),
        ("2001:db8::1", ("2001:db8::1", 25)),
        ("[2001:db8::1]", ("2001:db8::1", 25)),
        ("[2001:db8::1]:587", ("2001:db8::1", 587)),
        ("mx1.example:0", ("mx1.example:0", 25)),
        ("mx1.example:smtp", ("mx1.example:smtp", 25)),
        ("mx1.example:", ("mx1.example:", 25)),
        ("[::1]:99999", ("[::1]:99999", 25)),
    ],
)
def test_a_host_may_have_a_port_and_a_bad_port_spoils_it(text: str, endpoint: tuple[str, int]) -> None:
    assert endpoint_of(text, 25) == endpoint


@given(st.text(max_size=30), st.integers(1, 65535))
def test_no_host_is_beyond_reading(text: str, port: int) -> None:
    host, found = endpoint_of(text, port)
    assert 1 <= found <= 65535 and isinstance(host, str)


def test_a_given_host_is_found_by_limits_without_its_port() -> None:
    assert fitting_pattern(endpoint_name("SMTP.relay.example", 587), ["*.relay.example"]) == "*.relay.example"
    assert fitting_pattern("smtp.relay.example:587#2", ["smtp.relay.example"]) == "smtp.relay.example"


def test_the_most_exact_pattern_of_a_domain_counts_and_a_star_leaves_the_domain_itself_out() -> None:
    patterns = {"example.org", "*.example.org", "*.deep.example.org", "*.org"}
    assert route_for("example.org", patterns) == "example.org"
    assert route_for("a.example.org", patterns) == "*.example.org"
    assert route_for("a.b.example.org", patterns) == "*.example.org"
    assert route_for("x.deep.example.org", patterns) == "*.deep.example.org"
    assert route_for("other.org", patterns) == "*.org"
    assert route_for("notexample.com", patterns) is None
    assert route_for("corp.example", {"*.corp.example"}) is None


@given(WEIGHTS)
def test_a_pattern_has_each_as_often_as_its_weight_says(weights: tuple[int, ...]) -> None:
    pattern = pattern_of(weights)
    times = Counter(pattern)
    assert {position: times[position] * sum(weights) for position in range(len(weights))} == {
        position: weight * len(pattern) for position, weight in enumerate(weights)
    }


@given(WEIGHTS, st.lists(st.integers(0, 999), unique=True), st.integers(0, 10**6))
def test_a_recipient_keeps_its_share_and_none_is_lost(weights: tuple[int, ...], places: list[int], offset: int) -> None:
    shares = spread(places, weights, offset=offset)
    assert sorted(place for share in shares for place in share) == sorted(places)
    for place in places:
        (alone,) = [position for position, share in enumerate(spread([place], weights, offset=offset)) if share]
        assert place in shares[alone]


def test_chunks_of_one_recipient_are_spread_too() -> None:
    used = Counter(
        next(position for position, share in enumerate(spread([0], (3, 1), offset=chunk)) if share)
        for chunk in range(400)
    )
    assert used == {0: 300, 1: 100}


def test_families_take_turns_so_that_a_bound_leaves_none_out() -> None:
    assert balanced(("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1")) == (
        "192.0.2.1",
        "2001:db8::1",
        "192.0.2.2",
        "192.0.2.3",
    )
    assert balanced(("2001:db8::1", "2001:db8::2")) == ("2001:db8::1", "2001:db8::2")
    assert balanced(()) == ()


def test_a_relays_limits_replace_and_a_sources_only_lower() -> None:
    usual = EffectiveLimits(connections=10, messages_per_second=100.0)
    relay = SiteLimits(connections=40, messages=PerSecond(500))
    source = SiteLimits(connections=20, connects=PerSecond(1), messages=PerSecond(1000))
    found = narrowed(usual, relay, source)
    assert (found.connections, found.messages_per_second, found.connects_per_second) == (20, 500.0, 1.0)
    assert narrowed(usual, None, None) == usual
