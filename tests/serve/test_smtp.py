"""The SMTP listener: what it takes has its effect before 250, what is not for it it does not take."""

import random
import re
import shutil
import smtplib
import socket
import ssl
import subprocess

import pytest

from bulkmail.store.quarantine import QUARANTINE
from tests.engine.test_feedback import ADDRESSES, ANNA, BERT, Sent
from tests.feedback import messages
from tests.serve.conftest import BOUNCES, COMPLAINTS, UNSUBSCRIBE, Listening


def with_token(address: str, token: str) -> str:
    local, _, domain = address.partition("@")
    return f"{local}+{token}@{domain}"


def send(client: smtplib.SMTP, to: str, data: bytes, sender: str = "") -> None:
    client.sendmail(sender, [to], re.sub(rb"\r?\n", b"\r\n", data))


def kept(sent: Sent) -> list[str]:
    folder = sent.path / QUARANTINE
    return sorted(file.read_text().splitlines()[0] for file in folder.glob("*.txt")) if folder.exists() else []


def talk(connection: socket.socket, data: bytes) -> bytes:
    """Everything that is said until the other side closes."""
    connection.sendall(data)
    said = b""
    try:
        while piece := connection.recv(65536):
            said += piece
    except ConnectionResetError:
        pass
    connection.close()
    return said


def test_a_bounce_has_its_effect_before_it_is_answered(listening: Listening, sent: Sent) -> None:
    with listening.smtp() as client:
        send(client, with_token(BOUNCES, sent.token(ANNA)), sent.about("standard"))
        assert sent.suppressed(ANNA)
    assert [event["event"] for event in sent.events()] == ["bounce"]
    assert not (sent.path / QUARANTINE).exists()


def test_the_address_alone_leads_to_the_recipient_in_capitals_too(listening: Listening, sent: Sent) -> None:
    with listening.smtp() as client:
        send(client, with_token(BOUNCES, sent.token(ANNA)).upper(), messages.STANDARD)
    assert sent.suppressed(ANNA)


def test_a_complaint_and_mail_to_unsubscribe_have_their_effects(listening: Listening, sent: Sent) -> None:
    with listening.smtp() as client:
        send(client, COMPLAINTS, sent.about("complaint", BERT), sender="fbl@provider.example")
        subject = f"Subject: unsubscribe {sent.link(ANNA)}\r\n\r\n\r\n".encode()
        send(client, UNSUBSCRIBE, subject, sender="anna@house.example")
    assert sent.suppressed(ANNA) and sent.suppressed(BERT)
    assert {event["event"] for event in sent.events()} == {"complaint", "unsubscribe"}


def test_what_everybody_on_the_way_can_read_unsubscribes_nobody(listening: Listening, sent: Sent) -> None:
    with listening.smtp() as client:
        send(client, with_token(UNSUBSCRIBE, sent.token(ANNA)), b"Subject: unsubscribe\r\n\r\n", sender="x@y.example")
        send(client, UNSUBSCRIBE, b"From: anna@house.example\r\nSubject: stop\r\n\r\n", sender="anna@house.example")
    assert not sent.suppressed(ANNA)
    assert kept(sent) == ["no token in it is a link of ours"] * 2


RELAYS = [
    "<user@evil.example>",
    "<user%evil.example@garden.example>",
    "<user%evil.example@mail.garden.example>",
    "<@garden.example:user@evil.example>",
    "<@evil.example:bounces@mail.garden.example>",
    '<"user@evil.example"@garden.example>',
    '<"user%evil.example"@garden.example>',
    "<user@evil.example@garden.example>",
    "<evil.example!user@garden.example>",
    "<garden.example!evil.example!user>",
    "<user@[127.0.0.1]>",
    "<user@127.0.0.1>",
    "<user@localhost>",
    "<user>",
    '<"user@evil.example">',
    '<"user%evil.example">',
    "<bounces@mail.garden.example.evil.example>",
    "<bounces@garden.еxample>",
    "<bounces@mail.garden.example>@evil.example",
    "user@evil.example",
    "<>",
    "<bounces @mail.garden.example>",
    "<bounces@mail.garden.example\x00@evil.example>",
    "<BOUNCES%40evil.example@mail.garden.example>",
]


@pytest.mark.parametrize("form", RELAYS)
def test_no_form_of_address_is_relayed(listening: Listening, form: str) -> None:
    lines = [b"EHLO x.example", b"MAIL FROM:<a@b.example>", b"RCPT TO:" + form.encode(), b"DATA", b"QUIT", b""]
    said = talk(listening.socket(), b"\r\n".join(lines))
    codes = re.findall(rb"^(\d\d\d) ", said, re.MULTILINE)
    assert codes[:3] == [b"220", b"250", b"250"]
    assert codes[3][:1] == b"5" and codes[4] == b"503"


def test_a_peer_that_tries_many_mailboxes_is_sent_away(listening: Listening) -> None:
    with listening.smtp() as client:
        client.ehlo()
        client.mail("a@b.example")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            for number in range(30):
                client.rcpt(f"user{number}@evil.example")


@pytest.mark.parametrize("bare", [b"\n", b"\r"])
def test_bare_line_ends_are_refused_wherever_they_stand(listening: Listening, sent: Sent, bare: bytes) -> None:
    data = b"Subject: x\r\n\r\nline" + bare + b"." + bare + b"\r\nMAIL FROM:<evil@evil.example>\r\n.\r\n"
    lines = f"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<{BOUNCES}>\r\nDATA\r\n".encode()
    said = talk(listening.socket(), lines + data + b"QUIT\r\n")
    assert b"550 5.6.11" in said
    assert said.count(b"250 2.1.0") == 1
    assert kept(sent) == []


@pytest.mark.parametrize("end", [b"\n", b"\r\r\n", b"\rRSET\r\n"])
def test_a_command_that_does_not_end_in_crlf_ends_the_connection(listening: Listening, end: bytes) -> None:
    said = talk(listening.socket(), b"EHLO x.example\r\nNOOP" + end + b"MAIL FROM:<>\r\nQUIT\r\n")
    assert b"421 5.5.2" in said and b"250 2.1.0" not in said and b"221" not in said


ENDS = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r\r\n.\r\r\n", b"\r\n\x00.\r\n"]


@pytest.mark.parametrize("end", ENDS)
def test_a_smuggled_end_of_data_ends_nothing_split_at_every_byte(listening: Listening, sent: Sent, end: bytes) -> None:
    opening = f"EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<{BOUNCES}>\r\nDATA\r\n".encode()
    second = f"MAIL FROM:<>\r\nRCPT TO:<{COMPLAINTS}>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n".encode()
    smuggled = b"Subject: x\r\n\r\nx" + end + second
    connection = listening.socket()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(opening)
    for at in range(len(smuggled) - 1):
        connection.sendall(smuggled[at : at + 1])
    said = talk(connection, smuggled[-1:])
    assert said.count(b"250 2.1.0") == 1, said
    assert said.count(b"354") == 1, said
    assert said.count(b"250 2.0.0") == (1 if end == b"\r\n\x00.\r\n" else 0)


def test_tls_is_taken_up_and_forgets_what_was_said_before(listening: Listening, sent: Sent) -> None:
    trusting = ssl._create_unverified_context()
    with listening.smtp() as client:
        client.starttls(context=trusting)
        assert client.docmd("MAIL FROM:<>")[0] == 503
        client.ehlo()
        assert not client.has_extn("starttls") and not client.has_extn("auth")
        send(client, with_token(BOUNCES, sent.token(ANNA)), sent.about("standard"))
    assert sent.suppressed(ANNA)


@pytest.mark.parametrize("behind", [b"MAIL FROM:<>\r\n", b"M", b"\r\n"])
def test_what_stands_behind_starttls_ends_the_connection(listening: Listening, behind: bytes) -> None:
    said = talk(listening.socket(), b"EHLO x.example\r\nSTARTTLS\r\n" + behind)
    assert b"250 2.1.0" not in said
    assert said.splitlines()[-1].startswith((b"421", b"220 2.0.0"))


def test_no_secret_is_asked_for_and_no_address_confirmed(listening: Listening) -> None:
    said = talk(listening.socket(), b"EHLO x.example\r\nAUTH PLAIN AGEAYg==\r\nVRFY bounces\r\nEXPN all\r\nQUIT\r\n")
    codes = re.findall(rb"^(\d\d\d) ", said, re.MULTILINE)
    assert codes == [b"220", b"250", b"500", b"252", b"500", b"221"]


def test_too_large_a_message_is_refused_at_once_and_after_it_came(listening: Listening, sent: Sent) -> None:
    with listening.smtp() as client:
        client.ehlo()
        assert client.docmd(f"MAIL FROM:<> SIZE={11 << 20}")[0] == 552
        client.mail("")
        client.rcpt(BOUNCES)
        assert client.data(b"X: y\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 998 + b"\r\n") * (11 << 10))[0] == 552
        send(client, with_token(BOUNCES, sent.token(ANNA)), sent.about("standard"))
    assert sent.suppressed(ANNA)


def test_what_cannot_be_understood_is_kept_with_its_reason_once(listening: Listening, sent: Sent) -> None:
    with listening.smtp() as client:
        for _ in range(2):
            send(client, BOUNCES, b"Subject: hello\r\n\r\nWhen do you open?\r\n")
            send(client, BOUNCES, b"X: y\r\n" * 100_000 + b"\r\n\r\n")
            send(client, BOUNCES, messages.STANDARD)
        send(client, "postmaster@garden.example", b"Subject: to you\r\n\r\nx\r\n")
    assert kept(sent) == [
        "for the postmaster", "more than 256 KB of headers", "no bounce and no complaint", "no token in it is ours",
    ]  # fmt: skip


def bomb(kind: str) -> bytes:
    if kind == "parts":
        return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000 + b"--b--\r\n"
    if kind == "depth":
        return b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(5_000))
    if kind == "words":
        return b"Subject: " + b" =?utf-8?b?" + b"YWFh" * 10_000 + b"?=\r\n\r\nx\r\n"
    if kind == "parameters":
        parameters = b"".join(b"\r\n b*%d*=%%41;" % n for n in range(8_000))
        return b"Content-Type: multipart/report;" + parameters + b"\r\n\r\nx"
    return b"Content-Transfer-Encoding: base64\r\n\r\n" + (b"QUFB" * 18 + b"\r\n") * 100_000


@pytest.mark.parametrize("kind", ["parts", "depth", "words", "parameters", "base64"])
def test_a_bomb_is_refused_or_kept_and_the_listener_goes_on(listening: Listening, sent: Sent, kind: str) -> None:
    with listening.smtp() as client:
        send(client, BOUNCES, bomb(kind))
        send(client, with_token(BOUNCES, sent.token(ANNA)), sent.about("standard"))
    assert len(kept(sent)) == 1
    assert sent.suppressed(ANNA)


def test_forged_tokens_have_no_effect_by_mail(listening: Listening, sent: Sent) -> None:
    chance, token = random.Random(3), sent.token(ANNA)
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    forged = [token[:at] + chance.choice(alphabet.replace(token[at], "")) + token[at + 1 :] for at in range(32)]
    forged += ["".join(chance.choices(alphabet, k=32)) for _ in range(40)] + [token[:at] for at in range(1, 32)]
    with listening.smtp() as client:
        for each in forged:
            send(client, with_token(BOUNCES, each), messages.STANDARD)
    assert sent.events() == [] and not sent.suppressed(ANNA)


def test_a_peer_that_sends_too_much_is_asked_to_come_again(cramped: Listening) -> None:
    with cramped.smtp() as client:
        client.ehlo()
        codes = []
        for _ in range(8):
            codes.append(client.mail("")[0])
            client.rset()
    assert 250 in codes and codes[-1] == 450


def test_a_full_quarantine_refuses_for_now(listening: Listening, sent: Sent) -> None:
    worker = listening.listeners._worker
    assert worker._incoming is not None
    worker._incoming._quarantine._room = 0
    with listening.smtp() as client, pytest.raises(smtplib.SMTPDataError) as refused:
        send(client, BOUNCES, b"Subject: hello\r\n\r\nx\r\n")
    assert refused.value.smtp_code == 452
    with listening.smtp() as client:
        send(client, with_token(BOUNCES, sent.token(ANNA)), sent.about("standard"))
    assert sent.suppressed(ANNA)


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed (apt-get install swaks)")
@pytest.mark.parametrize("options", [[], ["--tls"], ["--pipeline"], ["--protocol", "SMTP"]])
def test_swaks_delivers_a_bounce(listening: Listening, sent: Sent, options: list[str], tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "bounce.eml").write_bytes(sent.about("standard"))
    done = subprocess.run(
        [
            "swaks", "--server", f"127.0.0.1:{listening.smtp_port}", "--from", "<>", "--ehlo", "peer.example",
            "--to", with_token(BOUNCES, sent.token(ANNA)), "--data", f"@{tmp_path / 'bounce.eml'}", *options,
        ],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "250 2.0.0 Taken" in done.stdout
    assert sent.suppressed(ANNA) and ADDRESSES[ANNA] not in done.stderr
