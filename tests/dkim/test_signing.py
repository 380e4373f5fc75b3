"""Signatures, held against two foreign verifiers and against tampering."""

import re
from concurrent.futures import ThreadPoolExecutor

import dkim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkmail.dkim.keys import SigningKey
from bulkmail.dkim.signing import Signer
from bulkmail.errors import InternalError
from tests.dkim.material import ed25519_key, rsa_key
from tests.oracles import dkim as oracle

NOW = 1_700_000_000
RSA = SigningKey("garden.example", "s2027", rsa_key(2048))
RSA_SHORT = SigningKey("garden.example", "short", rsa_key(1024))
ED25519 = SigningKey("garden.example", "ed2027", ed25519_key())
SIGNER = Signer([RSA, ED25519])
ZONE = dict(SIGNER.records() + Signer([RSA_SHORT]).records())

HEADER = (
    b"From: Acme Garden <news@garden.example>\r\n"
    b"To: ada@example.org\r\n"
    b"Subject: Ada, your spring\r\n  seeds   are here \r\n"
    b"Date: Mon, 01 Mar 2027 08:15:00 +0000\r\n"
    b"Message-ID: <abc@garden.example>\r\n"
    b"Reply-To: care@garden.example\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"List-Id: <news.garden.example>\r\n"
    b"List-Unsubscribe: <https://garden.example/u/1>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"Feedback-ID: spring:garden\r\n"
    b"X-Campaign: spring\r\n"
)
BODY = b"Hello  Ada, \r\n\r\nyour seeds are here.\t\r\n\r\n\r\n"
SIGNED_NAMES = [line.split(b":")[0] for line in re.split(rb"\r\n(?![ \t])", HEADER) if line][:-1]


def txt(name: str) -> bytes:
    return ZONE[name].encode()


def dkimpy_verifies(message: bytes, index: int = 0) -> bool:
    def dnsfunc(name: bytes, timeout: int = 5) -> bytes:
        return txt(name.decode().rstrip("."))

    try:
        return bool(dkim.DKIM(message).verify(idx=index, dnsfunc=dnsfunc))
    except dkim.DKIMException:
        return False


def signed(header: bytes = HEADER, body: bytes = BODY, signer: Signer = SIGNER) -> bytes:
    return signer.sign(header, body, now=NOW) + header + b"\r\n" + body


def verdicts(message: bytes) -> tuple[bool, ...]:
    """dkimpy on the RSA signature, the oracle on both."""
    return (dkimpy_verifies(message), *oracle.verify(message, txt))


def h_tag(signature: bytes) -> list[str]:
    value = re.sub(rb"\s", b"", oracle.tags_of(signature.partition(b":")[2])[b"h"]).decode()
    return value.split(":")


def test_dkimpy_and_the_oracle_verify_both_signatures() -> None:
    assert verdicts(signed()) == (True, True, True)


def test_signatures_are_the_same_every_time() -> None:
    assert SIGNER.sign(HEADER, BODY, now=NOW) == Signer([RSA, ED25519]).sign(HEADER, BODY, now=NOW)


def test_the_time_of_signing_is_in_the_signature() -> None:
    assert b" t=1700000001;" in Signer([RSA_SHORT]).sign(HEADER, BODY, now=NOW + 1)


def test_without_keys_nothing_is_signed() -> None:
    assert Signer([]).sign(HEADER, BODY, now=NOW) == b""


def test_every_line_stays_below_78_columns_and_only_the_first_starts_at_the_margin() -> None:
    # Domains of many lengths put the folds of h= at many places.
    domains = ["d" * length + ".example" for length in range(1, 40)]
    for key in (RSA, ED25519, *(SigningKey(domain, "s", ed25519_key()) for domain in domains)):
        lines = Signer([key]).sign(HEADER, BODY, now=NOW).split(b"\r\n")
        assert lines.pop() == b""
        assert max(map(len, lines)) < 78
        assert lines[0].startswith(b"DKIM-Signature: v=1;")
        assert all(line.startswith(b"\t") and line.strip() for line in lines[1:])


def test_a_long_domain_and_selector_are_signed_for() -> None:
    key = SigningKey(".".join(["d" * 50] * 4), "s" * 30, rsa_key(1024))
    message = signed(signer=Signer([key]))
    assert max(len(line) for line in message.split(b"\r\n")) < 998
    assert oracle.verify(message, lambda name: {key.record_name: key.record.encode()}[name]) == [True]


def test_h_lists_what_is_present_once_more_and_what_must_not_be_added() -> None:
    listed = h_tag(SIGNER.sign(HEADER, BODY, now=NOW).split(b"\r\nDKIM-Signature")[0])
    for name in SIGNED_NAMES:
        assert listed.count(name.decode()) == 2, name
    assert listed.count("Cc") == 1
    assert "Sender" not in listed and "X-Campaign" not in listed
    assert not {"Return-Path", "Received"} & set(listed)
    bare = h_tag(Signer([RSA]).sign(b"From: a@garden.example\r\n", b"", now=NOW))
    assert " ".join(bare) == (
        "From From To Cc Subject Date Message-ID Reply-To List-Id List-Unsubscribe List-Unsubscribe-Post"
    )


def test_no_tag_limits_the_body_or_the_life_of_a_signature() -> None:
    tags = oracle.tags_of(Signer([RSA]).sign(HEADER, BODY, now=NOW).partition(b":")[2])
    assert set(tags) == {b"v", b"a", b"c", b"d", b"s", b"t", b"bh", b"h", b"b"}
    assert (tags[b"v"], tags[b"a"], tags[b"c"]) == (b"1", b"rsa-sha256", b"relaxed/relaxed")


@pytest.mark.parametrize("name", SIGNED_NAMES)
def test_a_change_in_a_signed_header_breaks_every_signature(name: bytes) -> None:
    original = signed()
    changed = original.replace(b"\r\n" + name + b": ", b"\r\n" + name + b": x")
    assert changed != original
    assert verdicts(changed) == (False, False, False)


@pytest.mark.parametrize("name", SIGNED_NAMES)
def test_a_signed_header_taken_away_breaks_every_signature(name: bytes) -> None:
    original = signed()
    removed = re.sub(rb"\r\n" + name + rb":.*?\r\n(?![ \t])", b"\r\n", original, count=1, flags=re.DOTALL)
    assert len(removed) < len(original)
    assert verdicts(removed) == (False, False, False)


@pytest.mark.parametrize("name", [*SIGNED_NAMES, b"Cc"])
def test_a_header_added_a_second_time_breaks_every_signature(name: bytes) -> None:
    signatures = SIGNER.sign(HEADER, BODY, now=NOW)
    extra = name + b": evil@example.net\r\n"
    for message in (
        extra + signatures + HEADER + b"\r\n" + BODY,
        signatures + extra + HEADER + b"\r\n" + BODY,
        signatures + HEADER + extra + b"\r\n" + BODY,
    ):
        assert verdicts(message) == (False, False, False)


def test_what_relays_add_breaks_nothing() -> None:
    message = b"Return-Path: <b@garden.example>\r\nReceived: from a by b;\r\n\tnow\r\n" + signed()
    assert verdicts(message) == (True, True, True)


def test_a_changed_body_breaks_every_signature() -> None:
    assert verdicts(signed() + b"PS\r\n") == (False, False, False)
    assert verdicts(signed().replace(b"seeds are here.", b"seeds were here.")) == (False, False, False)


def test_white_space_that_relays_may_change_breaks_nothing() -> None:
    message = signed().replace(b"Subject: Ada, your spring\r\n  seeds", b"SUBJECT:Ada, your\r\n\tspring seeds")
    message = message.replace(b"Hello  Ada, \r\n", b"Hello Ada,\r\n").removesuffix(b"\r\n\r\n")
    assert message != signed()
    assert verdicts(message) == (True, True, True)


def test_a_batch_is_signed_as_its_messages_alone() -> None:
    messages = [(HEADER, BODY), (HEADER.replace(b"Ada", b"Bob"), BODY), (HEADER, BODY + b"PS\r\n"), (HEADER, b"")]
    alone = [SIGNER.sign(header, body, now=NOW) for header, body in messages]
    whole = [b"%b\r\n%b" % message for message in messages]
    assert SIGNER.sign_many(whole, now=NOW) == alone
    assert SIGNER.sign_many(whole * 9, now=NOW) == alone * 9
    assert Signer([]).sign_many(whole, now=NOW) == [b""] * 4
    assert SIGNER.sign_many([], now=NOW) == []


def test_the_hash_of_an_empty_body_is_that_of_rfc_6376() -> None:
    # RFC 6376 §3.4.4.
    assert Signer.body_hash(b"") == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize("header", [b"To: a@b.example\r\n", b"From: a@b.example\r\nfrom: c@d.example\r\n"])
def test_a_message_without_exactly_one_from_is_not_signed(header: bytes) -> None:
    with pytest.raises(InternalError, match="exactly one From"):
        SIGNER.sign(header, BODY, now=NOW)


def test_more_header_layouts_than_are_remembered_are_all_signed_rightly() -> None:
    signer = Signer([ED25519])
    for count in (*range(300), 0, 299):
        header = HEADER + b"X-Extra: 1\r\n" * count
        assert oracle.verify(signed(header, signer=signer), txt) == [True]
        assert len(signer._layouts) <= 256


def test_threads_share_a_signer() -> None:
    expected = {count: SIGNER.sign(HEADER + b"X-Extra: 1\r\n" * count, BODY, now=NOW) for count in range(8)}
    fresh = Signer([RSA, ED25519])
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda n: (n, fresh.sign(HEADER + b"X-Extra: 1\r\n" * n, BODY, now=NOW)), [*range(8)] * 4)
        assert all(expected[count] == signature for count, signature in results)


def test_the_records_to_publish_are_those_of_the_keys() -> None:
    assert SIGNER.records() == [(RSA.record_name, RSA.record), (ED25519.record_name, ED25519.record)]


word = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1, max_size=12)
value = st.lists(
    st.tuples(
        st.sampled_from([" ", "  ", "\t", "\r\n ", "\r\n\t ", " \r\n  "]),
        st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=6,
).map(lambda parts: "".join(space + text for space, text in parts))
names = st.one_of(st.sampled_from([name.decode() for name in SIGNED_NAMES if name != b"From"] + ["Cc", "SENDER"]), word)
fields = st.lists(
    st.tuples(names, value).filter(lambda field: field[0].lower() not in ("from", "dkim-signature")), max_size=8
)
bodies = st.lists(
    st.one_of(st.sampled_from(["", " ", "\t", " a  b\t", ".", "..", "a" * 300]), st.text(max_size=20)), max_size=8
).map(lambda lines: "".join(re.sub(r"[\r\n]", "", line) + "\r\n" for line in lines).encode("utf-8", "replace"))


@settings(max_examples=60, deadline=None)
@given(before=fields, after=fields, sender=value, body=bodies)
def test_any_message_that_is_signed_verifies_and_tampering_shows(
    before: list[tuple[str, str]], after: list[tuple[str, str]], sender: str, body: bytes
) -> None:
    lines = [f"{name}:{content}\r\n" for name, content in [*before, ("From", sender), *after]]
    header = "".join(lines).encode()
    signer = Signer([RSA_SHORT, ED25519])
    message = signed(header, body, signer)
    assert verdicts(message) == (True, True, True)
    assert verdicts(message + b"\r\n.") == (False, False, False)
    assert verdicts(b"From: evil@example.net\r\n" + message) == (False, False, False)
    assert verdicts(message.replace(b"\r\nFrom:", b"\r\nFrom: x", 1)) == (False, False, False)


def test_the_oracle_verifies_the_sample_of_rfc_8463() -> None:
    # RFC 8463 appendix A.3.
    message = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
    zone = {"brisbane._domainkey.football.example.com": b"p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}
    assert oracle.verify(message, zone.__getitem__) == [True]
    assert oracle.verify(message.replace(b"Joe.", b"Jim."), zone.__getitem__) == [False]
    assert oracle.verify(message.replace(b"dinner", b"supper"), zone.__getitem__) == [False]
