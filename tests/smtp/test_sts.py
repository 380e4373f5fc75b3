"""MTA-STS as text: announcements, policies, and the hosts they let through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.smtp.sts import MAX_AGE_SECONDS, StsError, StsPolicy, announced_id, parse_policy

GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        ([b"v=STSv1; id=20160831085700Z"], "20160831085700Z"),
        ([b"v=STSv1;id=1"], "1"),
        ([b"v=STSv1 ; future=x/y; id=1 ; "], "1"),
        ([b"v=spf1 -all", b"v=STSv1; id=2"], "2"),
        ([], None),
        ([b"v=spf1 -all"], None),
        ([b"v=STSv1"], None),
        ([b"v=STSv1;"], None),
        ([b"v=STSv1; id="], None),
        ([b"v=STSv1; id=has-a-dash"], None),
        ([b"v=STSv1; id=" + b"1" * 33], None),
        ([b"v=STSv1; id=1; id=2"], "1"),
        ([b"v=STSv1; id=1; what is this"], None),
        ([b"v=STSv1; id=1", b"v=STSv1; id=2"], None),
        ([b"V=STSv1; id=1"], None),
        ([b" v=STSv1; id=1"], None),
        ([b"v=STSv10; id=1"], None),
    ],
)
def test_the_announcement_in_the_dns(texts: list[bytes], expected: str | None) -> None:
    assert announced_id(texts) == expected


def test_a_policy_is_read() -> None:
    expected = StsPolicy(mode="enforce", mx=("mail.example.com", "*.example.net"), max_age_seconds=604800)
    assert parse_policy(GOOD) == expected
    assert parse_policy(GOOD.replace(b"\r\n", b"\n").rstrip(b"\n")) == expected
    assert parse_policy(GOOD.replace(b": ", b":  ").replace(b"mail.example.com", b"MAIL.Example.com.")) == expected


def test_the_first_of_two_fields_counts_and_unknown_ones_do_not() -> None:
    policy = parse_policy(GOOD + b"mode: none\nmax_age: 1\nextra: a:b\n")
    assert (policy.mode, policy.max_age_seconds) == ("enforce", 604800)


def test_max_age_is_cut_to_a_year() -> None:
    assert parse_policy(GOOD.replace(b"604800", b"9999999999")).max_age_seconds == MAX_AGE_SECONDS


def test_mode_none_needs_no_mx() -> None:
    assert parse_policy(b"version: STSv1\nmode: none\nmax_age: 86400\n").mx == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>404</html>",
        b"mode: enforce\nmx: a.example\nmax_age: 1\n",
        GOOD.replace(b"STSv1", b"STSv2"),
        GOOD.replace(b"enforce", b"enforced"),
        GOOD.replace(b"604800", b"a week"),
        GOOD.replace(b"604800", b"-1"),
        GOOD.replace(b"604800", b"12345678901"),
        b"version: STSv1\nmode: enforce\nmax_age: 86400\n",
        GOOD.replace(b"mail.example.com", b"mail.*.com"),
        GOOD.replace(b"mail.example.com", b"*"),
        GOOD.replace(b"mail.example.com", b"mail example com"),
        GOOD + b"\xff\n",
        GOOD + b"mx: a.example\n" + b"".join(b"mx: m%d.example\n" % number for number in range(600)),
    ],
)
def test_what_is_no_policy_is_refused(body: bytes) -> None:
    with pytest.raises(StsError):
        parse_policy(body)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mail.example.com", True),
        ("MAIL.example.COM.", True),
        ("a.mail.example.com", False),
        ("example.com", False),
        ("mx1.example.net", True),
        ("example.net", False),
        ("a.b.example.net", False),
        (".example.net", False),
        ("mx1.example.net.evil.example", False),
        ("", False),
    ],
)
def test_a_host_is_in_the_policy_or_not(host: str, allowed: bool) -> None:
    # RFC 8461 §4.1: the wildcard stands for exactly one label.
    assert parse_policy(GOOD).allows(host) is allowed


@given(
    st.binary(max_size=400)
    | st.text(max_size=200).map(str.encode)
    | st.lists(st.sampled_from(GOOD.split())).map(b"\n".join)
)
def test_no_bytes_make_the_parser_fail_otherwise(body: bytes) -> None:
    announced_id([body])
    try:
        policy = parse_policy(body)
    except StsError as error:
        assert str(error)
    else:
        assert policy.mode == "none" or policy.mx
