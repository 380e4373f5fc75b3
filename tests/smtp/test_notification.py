"""The parameters of DSN, read back by their grammar (RFC 3461 §4, RFC 6533 §3)."""

import re

from hypothesis import given
from hypothesis import strategies as st

from bulkmail.model.campaign import Dsn
from bulkmail.smtp.notification import mail_parameters, recipient_parameters, utf8_xtext, xtext

ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def test_everything_asked_for_stands_in_its_command() -> None:
    dsn = Dsn(notify=("failure", "delay"), ret="full")
    assert mail_parameters(dsn, "k3vq+1") == b" RET=FULL ENVID=k3vq+2B1"
    assert recipient_parameters(dsn, "a+b=c@x.example") == b" NOTIFY=FAILURE,DELAY ORCPT=rfc822;a+2Bb+3Dc@x.example"


def test_what_was_not_asked_for_does_not() -> None:
    dsn = Dsn(notify=("never",), envid=False, orcpt=False)
    assert mail_parameters(dsn, "k3vq") == b" RET=HDRS"
    assert recipient_parameters(dsn, "a@x.example") == b" NOTIFY=NEVER"


def test_an_address_beyond_ascii_is_of_another_type() -> None:
    assert recipient_parameters(Dsn(), "jürgen+x@b.example") == (
        b" NOTIFY=FAILURE ORCPT=utf-8;j\\x{FC}rgen\\x{2B}x@b.example"
    )


def test_what_is_too_long_is_left_out_and_not_cut() -> None:
    assert mail_parameters(Dsn(), "x" * 100) == b" RET=HDRS ENVID=" + b"x" * 100
    assert mail_parameters(Dsn(), "x" * 101) == b" RET=HDRS"
    assert mail_parameters(Dsn(), "=" * 34) == b" RET=HDRS"
    assert recipient_parameters(Dsn(), "ü" * 90 + "@b.example") == b" NOTIFY=FAILURE"


@given(ANY)
def test_xtext_is_printable_ascii_and_can_be_read_back(text: str) -> None:
    encoded = xtext(text)
    assert re.fullmatch(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", encoded)
    assert re.sub(r"\+(..)", lambda found: chr(int(found[1], 16)), encoded).encode("latin-1").decode() == text


@given(ANY)
def test_utf8_xtext_is_printable_ascii_and_can_be_read_back(text: str) -> None:
    encoded = utf8_xtext(text)
    assert re.fullmatch(r"(?:[!-*,-<>-\[\]-~]|\\x\{[1-9A-F][0-9A-F]*\}|\\x\{0\})*", encoded)
    assert re.sub(r"\\x\{(\w+)\}", lambda found: chr(int(found[1], 16)), encoded) == text
