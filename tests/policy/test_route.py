"""From mail exchangers to sites, hosts and what may be tried."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.policy.route import Site, drop_self, fitting_pattern, host_order, roll_ups, site_of

names = st.sampled_from([f"{letter}.example" for letter in "abcdef"])
mx_sets = st.lists(st.tuples(st.integers(0, 3), names), min_size=1, max_size=8)


def test_domains_of_one_provider_are_one_site_whatever_their_hosts() -> None:
    gmail = site_of([(5, "gmail-smtp-in.l.google.com"), (10, "alt1.gmail-smtp-in.l.google.com")])
    hosted = site_of([(1, "ASPMX.L.GOOGLE.COM."), (5, "alt3.aspmx.l.google.com")])
    old = site_of([(1, "aspmx2.googlemail.com")])
    assert gmail.name == hosted.name == old.name == "google"
    assert (hosted.pattern, old.pattern) == ("*.google.com", "*.googlemail.com")


def test_tenants_with_hosts_of_their_own_are_one_site_apart_from_the_consumer_service() -> None:
    tenants = {site_of([(0, f"{name}-example.mail.protection.outlook.com")]).name for name in ("a", "b", "c")}
    assert tenants == {"microsoft-365"}
    assert site_of([(5, "hotmail-com.olc.protection.outlook.com")]).name == "outlook"


@pytest.mark.parametrize("host", ["mx.evilgoogle.com", "google.com", "google.com.evil.example", ".google.com"])
def test_a_name_that_only_looks_like_a_provider_is_its_own_site(host: str) -> None:
    assert site_of([(10, host)]).pattern is None


def test_the_best_hosts_decide_who_the_provider_is() -> None:
    backup = site_of([(1, "aspmx.l.google.com"), (20, "backup.example")])
    only_backup = site_of([(1, "mx.example"), (20, "aspmx.l.google.com")])
    mixed = site_of([(1, "aspmx.l.google.com"), (1, "mx.example")])
    assert backup.name == "google"
    assert only_backup.pattern is None
    assert mixed.pattern is None


def test_domains_with_the_same_hosts_share_a_site_whatever_order_numbers_and_case() -> None:
    one = site_of([(10, "mx1.isp.example"), (10, "mx2.isp.example"), (20, "mx3.isp.example")])
    same = site_of([(5, "MX2.isp.example."), (7, "mx3.isp.example"), (5, "mx1.isp.example")])
    other_order = site_of([(10, "mx1.isp.example"), (20, "mx2.isp.example"), (20, "mx3.isp.example")])
    assert one.name == same.name
    assert one.name.startswith("mx1.isp.example+")
    assert other_order.name != one.name
    assert site_of([(10, "mx1.isp.example")]).name == "mx1.isp.example"


def test_no_mx_set_can_take_the_name_of_a_provider() -> None:
    assert site_of([(10, "google")]).name == "google."
    assert all("." not in roll_up.name for roll_up in roll_ups())
    assert len({roll_up.name for roll_up in roll_ups()}) == len(roll_ups())


def test_a_domain_without_hosts_has_no_site() -> None:
    with pytest.raises(ValueError, match="no site"):
        site_of([])


@given(hosts=mx_sets, seed=st.integers())
def test_a_sites_name_does_not_depend_on_the_order_of_the_answer(hosts: list[tuple[int, str]], seed: int) -> None:
    shuffled = random.Random(seed).sample(hosts, len(hosts))
    assert site_of(shuffled) == site_of(hosts)


@given(hosts=mx_sets, seed=st.integers())
def test_hosts_are_tried_by_preference_and_each_once(hosts: list[tuple[int, str]], seed: int) -> None:
    order = host_order(hosts, random.Random(seed))
    best = {name: min(preference for preference, other in hosts if other == name) for _, name in hosts}
    assert sorted(order) == sorted(best)
    assert [best[name] for name in order] == sorted(best.values())


def test_equal_hosts_are_tried_in_every_order() -> None:
    hosts = [(10, "a.example"), (10, "b.example"), (20, "c.example")]
    seen = {host_order(hosts, random.Random(seed)) for seed in range(32)}
    assert seen == {("a.example", "b.example", "c.example"), ("b.example", "a.example", "c.example")}


def test_hosts_that_are_no_better_than_ourselves_are_dropped() -> None:
    hosts = [(10, "a.example"), (20, "me.example"), (20, "b.example"), (30, "c.example")]
    assert drop_self(hosts, ["ME.example."]) == ((10, "a.example"),)
    assert drop_self(hosts, ["a.example", "me.example"]) == ()
    assert drop_self(hosts, ["elsewhere.example"]) == tuple(sorted(hosts))


@pytest.mark.parametrize(
    ("host", "pattern", "expected"),
    [
        ("mx.google.com", "*.google.com", True),
        ("a.b.google.com.", "*.GOOGLE.com", True),
        ("a.google.com", "*.google.com", True),
        ("google.com", "*.google.com", False),
        ("evilgoogle.com", "*.google.com", False),
        (".google.com", "*.google.com", False),
        ("mx.example", "mx.example", True),
        ("mx.example", "example", False),
    ],
)
def test_a_pattern_fits_whole_labels(host: str, pattern: str, expected: bool) -> None:
    assert (fitting_pattern(host, ("other.example", pattern)) == pattern) is expected


def test_the_best_hosts_of_a_site_are_those_of_the_lowest_preference() -> None:
    site = Site("x.", None, ((5, "a"), (5, "b"), (6, "c")))
    assert site.best_hosts == ("a", "b")


def test_a_provider_is_found_by_a_look_as_by_going_through_all_patterns() -> None:
    names = [pattern.replace("*", host) for one in roll_ups() for pattern in one.hosts for host in ("mx1", "a.b", "")]
    names += [pattern.removeprefix("*.") for one in roll_ups() for pattern in one.hosts]
    names += [f"x{name}" for name in names] + ["mx.shop.example", "com", "[2001:db8::1]:25", "mx.google.com:25"]
    dice = random.Random(7)
    for hosts in [*([name] for name in names), *(dice.sample(names, 2) for _ in range(500))]:
        expected = next(
            (
                (one.name, fitting[0])
                for one in roll_ups()
                if all(fitting := [fitting_pattern(host, one.hosts) for host in sorted(map(str.lower, hosts))])
            ),
            None,
        )
        site = site_of([(10, host) for host in hosts])
        assert (None if site.pattern is None else (site.name, site.pattern)) == expected, hosts
