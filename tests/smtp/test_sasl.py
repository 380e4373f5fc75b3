"""Six mechanisms against the vectors of their RFCs, an independent SCRAM server, and servers that lie."""

import base64
import hashlib
import re

import pytest
import scramp
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.smtp.handshake import Handshake
from bulkmail.smtp.sasl import (
    LEAST_ITERATIONS,
    MOST_ITERATIONS,
    Credentials,
    Plain,
    SaslError,
    ScramSha256,
    challenge_of,
    choose,
)
from bulkmail.smtp.saslprep import saslprep

PASSWORD = Credentials("acme", "s3cret")
TOKEN = Credentials("someuser@example.com", token="ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", host="h", port=587)


def test_plain_is_what_rfc_4616_shows() -> None:
    assert Plain(Credentials("tim", "tanstaaftanstaaf")).initial == b"\0tim\0tanstaaftanstaaf"


def test_cram_md5_is_what_rfc_2195_shows() -> None:
    mechanism = choose(Credentials("tim", "tanstaaftanstaaf"), ["PLAIN", "CRAM-MD5"])
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert mechanism.initial is None
    assert mechanism.respond(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    with pytest.raises(SaslError, match="more than AUTH CRAM-MD5"):
        mechanism.respond(challenge)


def test_scram_is_what_rfc_7677_shows() -> None:
    mechanism = ScramSha256(Credentials("user", "pencil"), nonce="rOprNGfwEbeRWgbNEkqO")
    assert mechanism.initial == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    answer = mechanism.respond(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert answer == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert not mechanism.complete
    assert mechanism.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == b""
    assert mechanism.complete


@pytest.mark.parametrize("name, password", [("user", "pencil"), ("a=b,c", "I\u00adX"), ("münchen", "Ⅸ pass wörd")])
def test_an_independent_scram_server_lets_us_in_and_is_believed(name: str, password: str) -> None:
    server_side = scramp.ScramMechanism("SCRAM-SHA-256")
    auth = server_side.make_auth_info(password, iteration_count=4096)
    asked: list[str] = []
    server = server_side.make_server(lambda user: (asked.append(user), auth)[1])
    client = ScramSha256(Credentials(name, password))
    server.set_client_first(client.initial.decode())
    server.set_client_final(client.respond(server.get_server_first().encode()).decode())
    assert asked == [name] or asked == [name.replace("=", "=3D").replace(",", "=2C")]
    client.respond(server.get_server_final().encode())
    assert client.complete


def test_a_scram_server_that_does_not_know_the_password_is_found_out() -> None:
    client = ScramSha256(PASSWORD, nonce="abc")
    client.respond(b"r=abcdef,s=QSXCR+Q6sek8bf92,i=4096")
    forged = base64.b64encode(hashlib.sha256(b"guess").digest())
    with pytest.raises(SaslError, match="does not know the password"):
        client.respond(b"v=" + forged)
    assert not client.complete


@pytest.mark.parametrize(
    "challenge, complaint",
    [
        (b"r=xbcdef,s=QSXCR+Q6sek8bf92,i=4096", "nonce does not go on"),
        (b"r=abc,s=QSXCR+Q6sek8bf92,i=4096", "nonce does not go on"),
        (b"r=abcdef,s=QSXCR+Q6sek8bf92,i=%d" % (LEAST_ITERATIONS - 1), "4095 iterations"),
        (b"r=abcdef,s=QSXCR+Q6sek8bf92,i=%d" % (MOST_ITERATIONS + 1), "500001 iterations"),
        (b"r=abcdef,s=QSXCR+Q6sek8bf92,i=99999999999999999999", "no number"),
        (b"r=abcdef,s=QSXCR+Q6sek8bf92,i=-1", "no number"),
        (b"r=abcdef,s=!,i=4096", "broken base64"),
        (b"m=ext,r=abcdef,s=QSXCR+Q6sek8bf92,i=4096", "not one of SCRAM"),
        (b"r=abcdef", "not one of SCRAM"),
        (b"r=abcdef,s=,i=4096", "not one of SCRAM"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "not one of SCRAM"),
    ],
)
def test_a_scram_challenge_that_is_none_is_not_answered(challenge: bytes, complaint: str) -> None:
    with pytest.raises(SaslError, match=complaint):
        ScramSha256(PASSWORD, nonce="abc").respond(challenge)


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_whatever_a_server_says_only_its_proof_completes_scram(challenges: list[bytes]) -> None:
    client = ScramSha256(PASSWORD, nonce="abc")
    for challenge in challenges:
        try:
            client.respond(challenge)
        except SaslError:
            break
    assert not client.complete


@given(st.binary(max_size=100))
def test_a_challenge_is_base64_or_refused(text: bytes) -> None:
    try:
        assert isinstance(challenge_of(text), bytes)
    except SaslError:
        pass


def test_tokens_are_sent_as_google_and_rfc_7628_show() -> None:
    old, new = choose(TOKEN, ["PLAIN", "XOAUTH2"]), choose(TOKEN, ["XOAUTH2", "OAUTHBEARER"])
    assert old.initial == b"user=someuser@example.com\1auth=Bearer " + TOKEN.token.encode() + b"\1\1"
    assert old.respond(b'{"status":"401"}') == b""
    assert new.initial == (
        b"n,a=someuser@example.com,\1host=h\1port=587\1auth=Bearer " + TOKEN.token.encode() + b"\1\1"
    )
    assert new.respond(b'{"status":"invalid_token"}') == b"\1"


@pytest.mark.parametrize(
    "offered, chosen",
    [
        (["LOGIN", "PLAIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2"], "SCRAM-SHA-256"),
        (["LOGIN", "PLAIN", "CRAM-MD5"], "CRAM-MD5"),
        (["LOGIN", "PLAIN"], "PLAIN"),
        (["XOAUTH2", "LOGIN"], "LOGIN"),
    ],
)
def test_the_strongest_that_is_offered_is_chosen(offered: list[str], chosen: str) -> None:
    assert choose(PASSWORD, offered).name == chosen


def test_a_pinned_mechanism_is_taken_or_none() -> None:
    pinned = Credentials("acme", "s3cret", mechanism="plain")
    assert choose(pinned, ["SCRAM-SHA-256", "PLAIN"]).name == "PLAIN"
    with pytest.raises(SaslError, match="offers AUTH SCRAM-SHA-256, and not PLAIN"):
        choose(pinned, ["SCRAM-SHA-256"])
    with pytest.raises(SaslError, match="offers AUTH nothing"):
        choose(PASSWORD, [])
    with pytest.raises(SaslError, match="not OAUTHBEARER or XOAUTH2"):
        choose(TOKEN, ["PLAIN"])


# RFC 4013 §3.
@pytest.mark.parametrize(
    "text, prepared",
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u3000b", "a b")],
)
def test_saslprep_is_what_rfc_4013_shows(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "a\x7f", "a\u200eb"])
def test_saslprep_refuses_what_rfc_4013_refuses_and_repeats_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="prohibits") as caught:
        saslprep(text)
    assert text not in str(caught.value)


def shake(*replies: bytes, credentials: Credentials) -> tuple[Handshake, list[bytes]]:
    """The handshake after a server under TLS has said these, and what we said."""
    handshake = Handshake(ehlo_name="me.example", encrypted=True, credentials=credentials)
    said = []
    for reply in (b"220 ready", *replies):
        handshake.answer([(int(reply[:3]), reply[4:])])
        said.append(handshake.outgoing())
    return handshake, said[1:]


def test_a_long_token_waits_for_the_server_to_ask() -> None:
    long = Credentials("acme", token="t" * 2000)
    handshake, said = shake(b"250 x\nAUTH XOAUTH2", b"334 ", b"235 welcome", credentials=long)
    assert said[0] == b"AUTH XOAUTH2\r\n"
    assert base64.b64decode(said[1]).endswith(b"t\1\1")
    assert handshake.ready


def test_a_refused_token_is_answered_and_its_535_kept() -> None:
    complaint = base64.b64encode(b'{"status":"401"}')
    handshake, said = shake(b"250 x\nAUTH XOAUTH2", b"334 " + complaint, b"535 5.7.8 no", credentials=TOKEN)
    assert said[1] == b"\r\n"
    assert handshake.failure is not None and handshake.failure.code == 535


@pytest.mark.parametrize(
    ("name", "questions"), [("XOAUTH2", 2), ("OAUTHBEARER", 2), ("LOGIN", 3), ("CRAM-MD5", 2), ("PLAIN", 1)]
)
def test_a_server_that_asks_for_ever_is_left(name: str, questions: int) -> None:
    login = TOKEN if "AUTH" in name else PASSWORD
    handshake, said = shake(b"250 x\nAUTH " + name.encode(), *[b"334 "] * questions, b"501 ok", credentials=login)
    assert said[-2:] == [b"*\r\n", b""]
    assert handshake.failure is not None
    assert f"the server asked for more than AUTH {name} has to say" in handshake.failure.explanation


def test_a_server_that_repeats_our_secrets_does_not_get_them_into_a_log() -> None:
    for echo in (b"535 wrong: s3cret", b"535 " + base64.b64encode(b"\0acme\0s3cret"), b"535 czNjcmV0"):
        handshake, _ = shake(b"250 x\nAUTH PLAIN", echo, credentials=PASSWORD)
        assert handshake.failure is not None
        assert not re.search("s3cret|czNjcmV0|AGFjbWUAczNjcmV0", repr(handshake.failure))
        assert "s3cret" not in repr(PASSWORD)
    client = ScramSha256(PASSWORD, nonce="abc")
    client.respond(b"r=abcdef,s=QSXCR+Q6sek8bf92,i=4096")
    with pytest.raises(SaslError, match=r"the server says not \*\*\*"):
        client.respond(b"e=not s3cret")
    assert TOKEN.token not in repr(TOKEN)


def test_a_broken_off_scram_says_why_and_not_501() -> None:
    handshake, said = shake(
        b"250 x\nAUTH SCRAM-SHA-256", b"334 " + base64.b64encode(b"r=no,s=QSXC,i=1"), b"501 ok", credentials=PASSWORD
    )
    assert said[1] == b"*\r\n"
    assert handshake.failure is not None and "nonce does not go on" in handshake.failure.explanation


def test_a_password_that_cannot_be_prepared_is_not_sent() -> None:
    handshake, said = shake(b"250 x\nAUTH PLAIN", credentials=Credentials("acme", "bell\x07"))
    assert said == [b""]
    assert handshake.failure is not None and "SASLprep" in handshake.failure.explanation
    assert "bell" not in handshake.failure.explanation


def test_replies_are_shown_without_the_secrets_in_them_whole_or_begun() -> None:
    login = Credentials("acme", password="correct horse battery staple")
    told = base64.b64encode(b"\0acme\0correct horse battery staple")
    for text in (told, told[:20], b"correct horse battery staple", b"correct horse batt"):
        assert login.redact(b"what is " + text + b" ?") == b"what is *** ?"
    assert login.redact(b"the horse is correct") == b"the horse is correct"
    assert Credentials("acme").redact(b"535 5.7.8 acme") == b"535 5.7.8 acme"
