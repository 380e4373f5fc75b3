"""`bounces fetch` against Dovecot: what is deleted there is recorded here, and nothing else is deleted."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bulkmail.cli.main import command_line
from bulkmail.engine.incoming import Incoming
from bulkmail.errors import DiskFull
from bulkmail.mailbox import parse_place
from bulkmail.serve.settings import Certificate
from bulkmail.store.quarantine import QUARANTINE
from tests.engine.test_feedback import ANNA, BERT, Sent
from tests.mailbox.dovecot import PASSWORD, USER, Dovecot

PROTOCOLS = ["imaps", "pop3s"]


def url(dovecot: Dovecot, protocol: str, folder: str = "INBOX") -> str:
    port = dovecot.imaps if protocol == "imaps" else dovecot.pop3s
    return f"{protocol}://{USER}@localhost:{port}" + (f"/{folder}" if protocol == "imaps" else "")


@pytest.fixture
def fetch(dovecot: Dovecot, sent: Sent, certificate: Certificate, tmp_path: Path):  # type: ignore[no-untyped-def]
    (tmp_path / "password").write_text(PASSWORD + "\n", encoding="utf-8")

    def call(where: str, *options: str) -> Result:
        command = ["bounces", "fetch", where, "--state", str(sent.path), "--ca-file", certificate.certificate]
        if "--password-file" not in options:
            command += ["--password-file", str(tmp_path / "password")]
        return CliRunner().invoke(command_line(), [*command, *options], catch_exceptions=False)

    return call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_mailbox_is_emptied_and_its_mail_has_its_effect(dovecot: Dovecot, sent: Sent, fetch, protocol: str) -> None:  # type: ignore[no-untyped-def]
    dovecot.deliver(
        sent.about("standard"),
        sent.about("complaint", BERT),
        b"Subject: hello\r\n\r\nWhen do you open?\r\n",
        b"X: y\r\n" * 100_000 + b"\r\nx",
        b"Subject: long\r\n\r\n" + b"x" * 50_000 + b"\r\n.\r\n..\r\n",
    )
    result = fetch(url(dovecot, protocol))
    assert result.exit_code == 0, result.output
    assert "5 messages: 2 suppressed, 3 kept" in result.output
    assert sent.suppressed(ANNA) and sent.suppressed(BERT)
    assert dovecot.left() == 0
    kept = [file.read_bytes() for file in (sent.path / QUARANTINE).glob("*.eml")]
    assert len(kept) == 3
    assert b"Subject: long\r\n\r\n" + b"x" * 50_000 + b"\r\n.\r\n..\r\n" in kept
    assert json.loads(fetch(url(dovecot, protocol), "--json").stdout) == {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_deleted_that_was_not_recorded(
    dovecot: Dovecot, sent: Sent, fetch, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    dovecot.deliver(sent.about("standard"), sent.about("complaint", BERT))
    take, calls = Incoming.take, []

    def full_at_the_second(self: Incoming, read: object) -> object:
        calls.append(read)
        if len(calls) == 2:
            raise DiskFull("no room")
        return take(self, read)  # type: ignore[arg-type]

    monkeypatch.setattr(Incoming, "take", full_at_the_second)
    assert fetch(url(dovecot, protocol)).exit_code == 2
    assert dovecot.left() == 2
    monkeypatch.setattr(Incoming, "take", take)
    assert fetch(url(dovecot, protocol)).exit_code == 0
    assert dovecot.left() == 0 and sent.suppressed(ANNA) and sent.suppressed(BERT)


def test_what_is_taken_in_can_be_moved(dovecot: Dovecot, sent: Sent, fetch) -> None:  # type: ignore[no-untyped-def]
    dovecot.deliver(sent.about("standard"))
    assert fetch(url(dovecot, "imaps"), "--move-to", "Taken").exit_code == 0
    assert (dovecot.left(), dovecot.left(".Taken")) == (0, 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_message_too_large_is_left_where_it_is(dovecot: Dovecot, sent: Sent, fetch, protocol: str) -> None:  # type: ignore[no-untyped-def]
    dovecot.deliver(b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n" + (b"z" * 998 + b"\r\n") * 10_600)
    result = fetch(url(dovecot, protocol))
    assert "left where it is" in result.output and "1 left" in result.output
    assert dovecot.left() == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("wrong", ["password", "authority", "port"])
def test_what_is_wrong_is_said_without_the_password(
    dovecot: Dovecot, fetch, protocol: str, wrong: str, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    options: list[str] = []
    where = url(dovecot, protocol)
    if wrong == "password":
        (tmp_path / "other").write_text("s3cret")
        options = ["--password-file", str(tmp_path / "other")]
    elif wrong == "authority":
        options = ["--ca-file", "/etc/ssl/certs/ca-certificates.crt"]
        if not Path(options[1]).exists():
            pytest.skip("no certificates of the system here")
    else:
        where = f"{protocol}://{USER}@localhost:1"
    result = fetch(where, *options)
    assert result.exit_code == 2
    assert {"password": "refused", "authority": "certificate", "port": "refused"}[wrong] in result.output
    assert "s3cret" not in result.output and PASSWORD not in result.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("imaps://u:p@h/INBOX", "password"),
        ("imap://u@h", "imaps://"),
        ("bounces", "imaps://"),
        ("pop3s://h", "no user"),
        ("imaps://u@h:x", "no URL"),
        ("https://u@h", "imaps://"),
    ],
)
def test_a_url_that_is_none_is_refused_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_place(text)


def test_a_url_is_read_with_what_is_left_out() -> None:
    place = parse_place("imaps://news%40garden.example@mail.garden.example/Bounces/2027")
    assert (place.user, place.host, place.port, place.folder) == (
        "news@garden.example", "mail.garden.example", 993, "Bounces/2027",
    )  # fmt: skip
    assert parse_place("pop3s://u@h").port == 995


def test_a_watched_folder_has_its_effect_at_once(
    dovecot: Dovecot, sent: Sent, certificate: Certificate, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [
            sys.executable, "-m", "bulkmail", "bounces", "fetch", url(dovecot, "imaps"), "--watch",
            "--state", str(sent.path), "--ca-file", certificate.certificate,
        ],
        env={**os.environ, "BULKMAIL_MAILBOX_PASSWORD": PASSWORD, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    killer = threading.Timer(40, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        dovecot.deliver(sent.about("complaint", BERT))
        assert "complaint" in process.stdout.readline()
        began = time.monotonic()
        dovecot.deliver(sent.about("standard"))
        assert "bounce" in process.stdout.readline()
        assert time.monotonic() - began < 10
        assert sent.suppressed(ANNA)
        process.send_signal(signal.SIGTERM)
        assert "2 messages: 2 suppressed" in process.communicate(timeout=20)[0]
        assert process.returncode == 0
    finally:
        killer.cancel()
        process.kill()
        process.communicate()
