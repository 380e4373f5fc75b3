"""What a connection has to prove, from everything that is known of domain and host."""

import itertools

import pytest

from bulkmail.model.campaign import TlsMode
from bulkmail.policy.encryption import Barred, Demand, Protection, TlsaFacts, demand, failure_result
from bulkmail.smtp.tlsa import TlsaRecord

HOST = "mx.shop.example"
GOOD = TlsaRecord(3, 1, 1, b"x" * 32)
USELESS = TlsaRecord(1, 1, 1, b"x" * 32)
MODES: tuple[TlsMode, ...] = ("none", "opportunistic", "required", "verified")
RECORDS = TlsaFacts(records=(GOOD, USELESS), names=(HOST,))
ENFORCE = Protection(sts="enforce", mx=(HOST,))
TESTING = Protection(sts="testing", mx=(HOST,))


@pytest.mark.parametrize("mode", MODES)
def test_without_any_policy_the_campaign_alone_says(mode: TlsMode) -> None:
    found = demand(Protection(), HOST, mode, TlsaFacts())
    assert found == Demand(mode=mode, proof="verified" if mode == "verified" else "")


def test_the_campaigns_word_for_a_domain_comes_before_that_for_a_host() -> None:
    found = demand(Protection(mode="required"), HOST, "verified", TlsaFacts())
    assert found == Demand(mode="required")


def test_an_enforced_policy_demands_a_certificate_of_its_hosts() -> None:
    assert demand(ENFORCE, HOST, "opportunistic", TlsaFacts()) == Demand(mode="verified", proof="sts", counted="sts")


def test_a_host_outside_an_enforced_policy_is_barred() -> None:
    found = demand(ENFORCE, "mx.evil.example", "opportunistic", TlsaFacts())
    assert isinstance(found, Barred)
    assert "mx.evil.example" in found.explanation


def test_a_policy_in_testing_changes_nothing_but_what_is_looked_at() -> None:
    found = demand(TESTING, HOST, "opportunistic", TlsaFacts())
    assert found == Demand(mode="opportunistic", proof="sts", lenient=True, counted="sts")
    other = demand(TESTING, "mx.evil.example", "opportunistic", TlsaFacts())
    assert isinstance(other, Demand) and other.lenient and other.note


def test_a_policy_in_testing_does_not_soften_what_the_campaign_asks_for() -> None:
    found = demand(TESTING, HOST, "verified", TlsaFacts())
    assert isinstance(found, Demand) and not found.lenient


def test_dane_comes_before_mta_sts() -> None:
    found = demand(Protection(sts="enforce", mx=("other.example",)), HOST, "opportunistic", RECORDS)
    assert found == Demand(mode="required", proof="dane", records=(GOOD,), names=(HOST,), counted="tlsa")


def test_records_that_cannot_be_used_leave_mta_sts_its_say() -> None:
    useless = TlsaFacts(records=(USELESS,), names=(HOST,))
    assert demand(Protection(), HOST, "opportunistic", useless) == Demand(mode="required", counted="tlsa")
    assert demand(ENFORCE, HOST, "opportunistic", useless) == Demand(mode="verified", proof="sts", counted="sts")


def test_records_that_cannot_be_had_bar_the_host() -> None:
    found = demand(ENFORCE, HOST, "opportunistic", TlsaFacts(failure="SERVFAIL"))
    assert isinstance(found, Barred) and found.result == "dnssec-invalid"


def test_none_in_the_campaign_is_the_one_way_to_do_without() -> None:
    protection = Protection(mode="none", sts="enforce", mx=(HOST,), secure=True)
    assert demand(protection, HOST, "verified", RECORDS) == Demand(mode="none")


@pytest.mark.parametrize("mode", MODES[1:])
def test_whatever_is_published_never_asks_for_less(mode: TlsMode) -> None:
    protections = (Protection(), Protection(announced=True), ENFORCE, TESTING)
    facts = (TlsaFacts(), RECORDS, TlsaFacts(records=(USELESS,), names=(HOST,)), TlsaFacts(failure="x"))
    for protection, fact in itertools.product(protections, facts):
        found = demand(protection, HOST, mode, fact)
        if isinstance(found, Barred):
            continue
        # DANE proves the host as well as a certificate would.
        proved = found.proof in ("dane", "sts", "verified") and not found.lenient
        assert proved or MODES.index(found.mode) >= MODES.index(mode)
        if protection.announced or fact.records:
            assert MODES.index(found.mode) >= MODES.index("required")


@pytest.mark.parametrize(
    ("code", "offered", "result"),
    [
        (None, False, "starttls-not-supported"),
        (62, True, "certificate-host-mismatch"),
        (10, True, "certificate-expired"),
        (18, True, "certificate-not-trusted"),
        (19, True, "certificate-not-trusted"),
        (None, True, "validation-failure"),
    ],
)
def test_failures_have_the_words_of_the_report(code: int | None, offered: bool, result: str) -> None:
    assert failure_result(code, offered=offered) == result


def test_the_names_of_the_domain_come_behind_those_of_the_host() -> None:
    found = demand(Protection(secure=True, names=("shop.example", HOST)), HOST, "opportunistic", RECORDS)
    assert isinstance(found, Demand)
    assert found.names == (HOST, "shop.example")
