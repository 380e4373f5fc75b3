"""What a server offers, as it says it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.smtp.capabilities import Capabilities, parse_ehlo


def test_each_extension_is_known_by_its_keyword() -> None:
    lines = "mx.example hello\nPIPELINING\nchunking\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nSTARTTLS\nSIZE 1000\nDSN"
    assert parse_ehlo(f"{lines}\nREQUIRETLS\nLIMITS MAILMAX=50 RCPTMAX=20 RCPTDOMAINMAX=1\nAUTH PLAIN") == Capabilities(
        host="mx.example",
        pipelining=True,
        chunking=True,
        eight_bit_mime=True,
        smtputf8=True,
        enhanced_status_codes=True,
        starttls=True,
        size=True,
        size_bytes=1000,
        dsn=True,
        requiretls=True,
        mail_max=50,
        rcpt_max=20,
        rcpt_domain_max=1,
        auth=("PLAIN",),
    )


@pytest.mark.parametrize("words", ["MAILMAX", "MAILMAX=", "MAILMAX=0", "MAILMAX=-1", "MAILMAX=1000000", "=5", "²=²"])
def test_a_limit_that_is_none_is_not_kept_to(words: str) -> None:
    assert parse_ehlo(f"mx\nLIMITS {words}").mail_max is None


def test_limits_are_named_in_any_case_and_unknown_ones_ignored() -> None:
    found = parse_ehlo("mx\nlimits mailmax=7 TEAMAX=3 rcptMax=2")
    assert (found.mail_max, found.rcpt_max, found.rcpt_domain_max) == (7, 2, None)


@given(st.text(max_size=200))
def test_no_reply_to_ehlo_is_too_strange(text: str) -> None:
    found = parse_ehlo(text)
    assert found.mail_max is None or 1 <= found.mail_max <= 999_999
    assert found.size_bytes is None or found.size_bytes > 0


@pytest.mark.parametrize("line", ["AUTH=LOGIN PLAIN", "auth=login plain", "Auth=Login PLAIN", "AUTH LOGIN PLAIN"])
def test_auth_is_understood_as_servers_of_the_nineties_write_it(line: str) -> None:
    assert parse_ehlo(f"old.example\n{line}").auth == ("LOGIN", "PLAIN")
