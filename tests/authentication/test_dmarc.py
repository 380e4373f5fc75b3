"""DMARC records, the tree walk and the organizational domain."""

import pytest

from bulkmail.authentication.dmarc import organizational_domain, policy_of, read_record, walk


def records(**texts: str):
    return {name.replace("__", "."): read_record([text]) for name, text in texts.items()}


def test_a_record_is_read_with_its_defaults() -> None:
    record = read_record(["something else", "v=DMARC1; p=reject; rua=mailto:a@x.example, mailto:b@x.example; adkim=s"])
    assert record is not None
    assert (record.policy, record.subdomain_policy, record.strict_dkim, record.strict_spf) == (
        "reject",
        "reject",
        True,
        False,
    )
    assert record.reports_to == ("mailto:a@x.example", "mailto:b@x.example")
    assert record.problems == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v=DMARC1; p=block", "p=block is no policy"),
        ("v=DMARC1; rua=mailto:a@x.example", "p= is missing"),
        ("v=DMARC1; p=none; sp=deny", "sp=deny is no policy"),
        ("v=DMARC1; p=none; aspf=strict", "aspf=strict is neither r nor s"),
        ("v=DMARC1; p=none; rua=a@x.example", "rua=a@x.example is no mailto: address"),
        ("v=DMARC1; p=none; reject all", "'reject all' is no tag"),
    ],
)
def test_mistakes_are_named(text: str, said: str) -> None:
    record = read_record([text])
    assert record is not None and record.problems == (said,)


def test_none_and_two_are_no_record() -> None:
    assert read_record([]) is None
    assert read_record(["v=DMARC1; p=none"] * 2) is None
    assert read_record(["v=DMARC12; p=none"]) is None


def test_the_walk_goes_up_in_at_most_eight_questions() -> None:
    assert walk("a.mail.example.com") == ("a.mail.example.com", "mail.example.com", "example.com", "com")
    assert walk("a.b.c.d.e.f.g.h.i.j.mail.example.com") == (
        "a.b.c.d.e.f.g.h.i.j.mail.example.com",
        "g.h.i.j.mail.example.com",
        "h.i.j.mail.example.com",
        "i.j.mail.example.com",
        "j.mail.example.com",
        "mail.example.com",
        "example.com",
        "com",
    )


def test_the_organizational_domain_is_the_highest_with_a_record() -> None:
    found = records(a__example__com="v=DMARC1; p=none", example__com="v=DMARC1; p=none")
    assert organizational_domain("x.a.example.com", found) == "example.com"
    assert organizational_domain("x.other.org", found) == "x.other.org"


def test_psd_marks_where_the_walk_ends() -> None:
    found = records(a__example__com="v=DMARC1; p=none; psd=n", example__com="v=DMARC1; p=none")
    assert organizational_domain("x.a.example.com", found) == "a.example.com"
    found = records(bank="v=DMARC1; p=reject; psd=y")
    assert organizational_domain("mail.giant.bank", found) == "giant.bank"
    assert policy_of("mail.giant.bank", found) == ("bank", found["bank"])


def test_the_own_record_holds_before_the_parents() -> None:
    found = records(a__example__com="v=DMARC1; p=none", example__com="v=DMARC1; p=reject")
    assert policy_of("a.example.com", found) == ("a.example.com", found["a.example.com"])
    assert policy_of("b.example.com", found) == ("example.com", found["example.com"])
    assert policy_of("b.example.org", found) is None
