"""Domains, exchangers and addresses."""

from ipaddress import ip_address, ip_network

import pytest

from bulkmail.sandbox.profiles import OPEN_HOUSE, load_profiles
from bulkmail.sandbox.zone import WEBSITE, Kind, Zone

PROFILES = load_profiles()
DOMAINS = [f"company-{number}.example" for number in range(4000)]


@pytest.fixture(scope="module")
def zone() -> Zone:
    return Zone(PROFILES, seed=1)


@pytest.mark.parametrize(
    ("domain", "suffix"),
    [
        ("gmail.com", ".google.com"),
        ("yahoo.com", ".yahoodns.net"),
        ("aol.com", ".yahoodns.net"),
        ("hotmail.com", "hotmail-com.olc.protection.outlook.com"),
        ("icloud.com", ".icloud.com"),
        ("gmx.de", ".gmx.net"),
        ("web.de", ".web.de"),
        ("comcast.net", ".comcast.net"),
        ("orange.fr", ".orange.fr"),
        ("qq.com", ".qq.com"),
        ("163.com", ".netease.com"),
        ("mail.ru", ".mail.ru"),
    ],
)
def test_providers_have_exchangers_by_their_known_names(zone: Zone, domain: str, suffix: str) -> None:
    place = zone.place(domain)
    assert place.exchangers
    for _, host in place.exchangers:
        assert host.endswith(suffix)
        address = zone.exchanger_address(host)
        assert address is not None
        assert zone.serves(address, domain)
        assert not zone.serves(address, "a-stranger.invalid")


def test_other_domains_are_spread_over_groups_and_oddities_by_share(zone: Zone) -> None:
    places = [zone.place(domain) for domain in DOMAINS]
    for kind in (Kind.NXDOMAIN, Kind.NULLMX, Kind.IMPLICIT, Kind.FLAKY, Kind.DEADFIRST, Kind.CNAME):
        share = getattr(PROFILES.odd, kind.value)
        found = sum(place.kind is kind for place in places) / len(places)
        assert share / 3 < found < share * 2 + 0.001
    groups = {name: sum(place.group == name for place in places) / len(places) for name in PROFILES.group}
    assert 0.2 < groups["workspace"] < 0.26
    assert 0.2 < groups["microsoft365"] < 0.26
    assert groups["gmail"] == groups["silent"] == 0
    assert all(groups[name] for name, group in PROFILES.group.items() if group.share)


def test_every_exchanger_of_every_domain_has_an_address_and_only_dead_ones_no_listener(zone: Zone) -> None:
    listening = {listener.ip for listener in zone.listeners}
    for domain in DOMAINS:
        place = zone.place(domain)
        for at, (_, host) in enumerate(place.exchangers):
            address = zone.exchanger_address(host)
            assert address is not None, host
            dead = place.kind is Kind.DEAD or (place.kind is Kind.DEADFIRST and at == 0)
            assert (address in listening) is not dead
            assert zone.serves(address, domain)


def test_tenants_of_microsoft_have_each_their_own_exchanger(zone: Zone) -> None:
    hosts = [
        host
        for domain in DOMAINS
        if zone.place(domain).group == "microsoft365"
        for _, host in zone.place(domain).exchangers
    ]
    assert len(set(hosts)) == len(hosts) > 100
    assert all(host.endswith(".mail.protection.outlook.com") for host in hosts)


@pytest.mark.parametrize("path", [None, OPEN_HOUSE])
def test_all_addresses_are_loopback_and_of_one_listener_each(path: None) -> None:
    listeners = Zone(load_profiles(path), seed=1).listeners
    addresses = [listener.ip for listener in listeners]
    assert len(set(addresses)) == len(addresses)
    assert all(ip_address(address) in ip_network("127.0.0.0/8") for address in addresses)
    assert len(addresses) < 200


def test_the_same_seed_gives_the_same_places_and_another_seed_others() -> None:
    first, again, other = (Zone(PROFILES, seed=seed) for seed in (1, 1, 2))
    assert [first.place(domain) for domain in DOMAINS] == [again.place(domain) for domain in DOMAINS]
    differing = sum(first.place(domain).group != other.place(domain).group for domain in DOMAINS)
    assert differing > len(DOMAINS) / 2


@pytest.mark.parametrize(
    ("domain", "kind", "group"),
    [
        ("nxdomain-1.test", Kind.NXDOMAIN, None),
        ("nullmx.test", Kind.NULLMX, None),
        ("servfail7.test", Kind.SERVFAIL, None),
        ("flaky-a.test", Kind.FLAKY, "own-modern"),
        ("implicit-a.test", Kind.IMPLICIT, "own-modern"),
        ("deadfirst-a.test", Kind.DEADFIRST, "own-modern"),
        ("dead.test", Kind.DEAD, "own-modern"),
        ("slow.test", Kind.HOSTED, "own-slow"),
        ("silent.test", Kind.HOSTED, "silent"),
        ("greylisting-3.test", Kind.HOSTED, "own-greylisting"),
        ("own.test", Kind.HOSTED, "own-modern"),
        ("some.invalid", Kind.NXDOMAIN, None),
        ("localhost", Kind.NXDOMAIN, None),
        ("_dmarc.gmail.com", Kind.NXDOMAIN, None),
        ("a..b.test", Kind.NXDOMAIN, None),
        ("-a.test", Kind.NXDOMAIN, None),
    ],
)
def test_a_domain_may_ask_for_its_kind(zone: Zone, domain: str, kind: Kind, group: str | None) -> None:
    place = zone.place(domain)
    assert (place.kind, place.group) == (kind, group)


def test_a_word_is_a_whole_label_or_ends_before_a_dash_or_digit() -> None:
    for seed in range(20):
        assert Zone(PROFILES, seed=seed).place("slowfood.example").group != "own-slow"


def test_an_alias_leads_to_a_plain_place_that_takes_its_mail(zone: Zone) -> None:
    alias = zone.place("cname-1.test").alias
    assert alias is not None
    place = zone.place(alias)
    assert place.kind is Kind.HOSTED
    address = zone.exchanger_address(place.exchangers[0][1])
    assert address is not None
    assert zone.serves(address, "cname-1.test")


def test_a_domain_without_mx_is_its_own_exchanger(zone: Zone) -> None:
    address = zone.domain_address("implicit-1.test")
    assert address is not None
    assert address != WEBSITE
    assert zone.serves(address, "implicit-1.test")
    assert zone.domain_address("gmail.com") == WEBSITE
    assert zone.domain_address("nxdomain.test") is None


def test_an_adopted_domain_exists_whatever_its_hash_says(zone: Zone) -> None:
    lost = next(domain for domain in DOMAINS if zone.place(domain).kind is Kind.NXDOMAIN)
    fresh = Zone(PROFILES, seed=1)
    assert fresh.place(lost).kind is Kind.NXDOMAIN
    fresh.adopt(f"s1._domainkey.{lost}")
    assert fresh.place(lost).kind is Kind.HOSTED
    assert fresh.place("company-1.example") == zone.place("company-1.example")


def test_exchangers_of_one_house_take_mail_for_each_other_and_those_of_two_do_not(zone: Zone) -> None:
    hosted = next(domain for domain in DOMAINS if zone.place(domain).group == "workspace")
    hoster = next(domain for domain in DOMAINS if zone.place(domain).group == "harbour")
    address = zone.exchanger_address("gmail-smtp-in.l.google.com")
    assert address is not None
    assert zone.serves(address, hosted)
    assert not zone.serves(address, hoster)
    assert not zone.serves(zone.exchanger_address("mx.lighthouse-mail.com") or "", hoster)
