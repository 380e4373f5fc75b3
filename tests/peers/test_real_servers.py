"""Campaigns delivered into real servers: what the events say is what the servers logged and kept, and DKIM verifies."""

import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import dkim
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from bulkmail.dkim.signing import load_keys
from bulkmail.model.campaign import DkimKey
from bulkmail.model.delivery import Event, Summary
from bulkmail.sandbox.certificate import make_certificate, server_context
from tests.dns.server import DnsServer
from tests.engine.scene import run, send, write_campaign
from tests.peers.servers import DOMAIN, HOST, Peer, exim, free_port, opensmtpd, postfix, wait_for

Server = Callable[[Path, str], AbstractContextManager[Peer]]
BODY = "<p>Hello {{ name }},</p>\n<p>.a line with a dot, and one that is empty:</p>\n.\n\n<p>Grüße</p>\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for the sockets in it, and where the servers' users can come to."""
    path = Path(tempfile.mkdtemp(prefix="bulkmail-peer-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


class Keeper:
    """Keeps messages as a Maildir does."""

    def __init__(self, maildir: Path) -> None:
        self._new = maildir / "new"
        self._new.mkdir()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        (self._new / f"{len(list(self._new.iterdir())):05d}").write_bytes(content)
        return "250 2.0.0 kept"


def keys(folder: Path) -> list[DkimKey]:
    entries = []
    for selector, private in (
        ("r1", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        ("e1", ed25519.Ed25519PrivateKey.generate()),
    ):
        path = folder / f"{selector}.pem"
        path.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        path.chmod(0o600)
        entries.append(DkimKey(domain="acme.example", selector=selector, key=str(path)))
    return entries


def deliver(
    folder: Path, peer: Peer, rows: list[str], signed: list[DkimKey], **delivery: object
) -> tuple[Summary, list[Event]]:
    """A campaign to these rows (address, name) by way of a DNS that leads to the peer."""

    async def scene() -> tuple[Summary, list[Event]]:
        async with DnsServer() as dns:
            dns.has(f"{DOMAIN} 300 MX 10 {HOST}.")
            dns.has(f"{HOST} 300 A {peer.address}")
            campaign = write_campaign(
                folder / "campaign",
                "email,name\n" + "".join(f"{row}\n" for row in rows),
                text=BODY,
                content={"html": "body.txt"},
                dkim=[{"domain": key.domain, "selector": key.selector, "key": key.key} for key in signed],
                delivery={
                    "route": "mx",
                    "port": peer.port,
                    "allow_private_mx": True,
                    "retry": ["200ms"],
                    "expire": "5s",
                    **delivery,
                },
                dns={"servers": [dns.text], "timeout": "2s"},
                limits={"default": {"connections": 8, "messages_per_connection": 100}},
            )
            return await send(campaign, folder / "state")

    return run(scene(), seconds=100)


def verified(message: bytes, records: dict[str, str]) -> int:
    """How many of the signatures of a kept message dkimpy verifies."""
    message = re.sub(rb"\r?\n", b"\r\n", message)
    checker = dkim.DKIM(message)
    count = sum(1 for line in re.findall(rb"(?im)^dkim-signature:", message))
    return sum(checker.verify(idx=index, dnsfunc=lambda name, timeout=5: records[name.decode().rstrip(".")].encode())
               for index in range(count))  # fmt: skip


def recipient_of(message: bytes) -> str:
    found = re.search(rb"(?m)^To: <?([^\r\n>]+)>?", message)
    assert found is not None
    return found[1].decode()


def agree(peer: Peer, summary: Summary, events: list[Event], rows: list[str], records: dict[str, str]) -> None:
    """Events, the server's own Maildir and the signatures tell the same story."""
    last = {event.recipient: event for event in events if event.recipient}
    assert len(last) == len(rows)
    delivered = sorted(name for name, event in last.items() if event.disposition == "delivered" and name)
    wait_for(lambda: (peer.maildir / "new").is_dir() and len(peer.kept()) >= len(delivered))
    kept = peer.kept()
    assert sorted(map(recipient_of, kept)) == delivered
    assert summary.delivered == len(delivered)
    assert all(verified(message, records) == 2 for message in kept)
    for message in kept:
        assert b"<p>.a line with a dot" in message or b"<p>=2Ea line" in message


@pytest.mark.parametrize("server", [postfix, exim, opensmtpd], ids=lambda server: server.__name__)
def test_a_real_server_keeps_what_the_events_call_delivered(folder: Path, server: Server) -> None:
    people = [f"r{number}@{DOMAIN},Name {number}" for number in range(60)]
    strangers = [f"gone{number}@{DOMAIN},Nobody" for number in range(20)]
    signed = keys(folder)
    records = dict(load_keys(signed).records())
    with server(folder / "server", "127.0.5.1") as peer:
        summary, events = deliver(folder, peer, people + strangers, signed)
        agree(peer, summary, events, people + strangers, records)
    assert (summary.delivered, summary.bounced) == (60, 20)
    refused = [event for event in events if (event.recipient or "").startswith("gone")]
    assert {event.disposition for event in refused} == {"bounced"} and {event.stage for event in refused} == {"rcpt"}


@pytest.mark.parametrize("server", [postfix, exim], ids=lambda server: server.__name__)
def test_mail_to_a_real_server_is_encrypted_and_a_busy_mailbox_is_tried_until_it_expires(
    folder: Path, server: Server
) -> None:
    rows = [f"r{number}@{DOMAIN},Name" for number in range(5)] + [f"busy@{DOMAIN},Busy"]
    signed = keys(folder)
    with server(folder / "server", "127.0.5.2") as peer:
        summary, events = deliver(folder, peer, rows, signed, tls="required", expire="1500ms")
        agree(peer, summary, events, rows, dict(load_keys(signed).records()))
        log = peer.text()
    assert (summary.delivered, summary.expired) == (5, 1)
    assert all((event.tls or "").startswith("TLSv1.3") for event in events if event.disposition == "delivered")
    assert re.search(r"TLS", log)
    tries = [event for event in events if event.recipient == f"busy@{DOMAIN}"]
    assert Counter(event.disposition for event in tries)["deferred"] >= 2


def test_a_campaign_reaches_postfix_under_tls_and_every_signature_verifies(folder: Path) -> None:
    """`make test-peers` sends 5,000."""
    count = int(os.environ.get("BULKMAIL_PEER_MESSAGES", "300"))
    rows = [f"r{number}@{DOMAIN},Name {number}" for number in range(count)]
    signed = keys(folder)
    with postfix(folder / "server", "127.0.5.6") as peer:
        summary, events = deliver(folder, peer, rows, signed, tls="required", expire="5m")
        agree(peer, summary, events, rows, dict(load_keys(signed).records()))
    assert summary.delivered == count
    assert all(event.tls for event in events if event.disposition == "delivered")


@pytest.mark.parametrize("encrypted", [True, False], ids=["STARTTLS", "in clear"])
def test_aiosmtpd_keeps_what_the_events_call_delivered(folder: Path, encrypted: bool) -> None:
    rows = [f"r{number}@{DOMAIN},Name {number}" for number in range(40)]
    signed = keys(folder)
    maildir = folder / "kept"
    maildir.mkdir()
    context = server_context(*make_certificate([HOST], now_seconds=time.time())) if encrypted else None
    port = free_port("127.0.5.7")
    controller = Controller(Keeper(maildir), hostname="127.0.5.7", port=port, tls_context=context)
    controller.start()
    try:
        peer = Peer("aiosmtpd", "127.0.5.7", port, folder / "no.log", maildir)
        summary, events = deliver(folder, peer, rows, signed, tls="required" if encrypted else "none")
        agree(peer, summary, events, rows, dict(load_keys(signed).records()))
    finally:
        controller.stop()
    assert summary.delivered == 40
    assert all(bool(event.tls) == encrypted for event in events if event.disposition == "delivered")


def test_a_server_whose_tls_is_broken_gets_mail_in_clear_where_the_campaign_allows_it(folder: Path) -> None:
    rows = [f"r{number}@{DOMAIN},Name" for number in range(4)]
    with opensmtpd(folder / "server", "127.0.5.3") as peer:
        summary, events = deliver(folder, peer, rows, [])
        wait_for(lambda: (peer.maildir / "new").is_dir() and len(peer.kept()) == 4)
    assert summary.delivered == 4
    assert {event.tls for event in events if event.disposition == "delivered"} == {None}


def test_a_message_above_the_size_that_a_real_server_takes_fails_here_and_not_there(folder: Path) -> None:
    rows = [f"r1@{DOMAIN},{'x' * 30_000}", f"r2@{DOMAIN},Name"]
    with postfix(folder / "server", "127.0.5.4") as peer:
        summary, events = deliver(folder, peer, rows, [])
        log = peer.text()
    assert (summary.delivered, summary.bounced) == (1, 1)
    (large,) = (event for event in events if event.recipient == f"r1@{DOMAIN}")
    assert large.reason == "too_large"
    assert f"r1@{DOMAIN}" not in log


def test_a_real_server_that_allows_few_connections_still_gets_everything(folder: Path) -> None:
    rows = [f"r{number}@{DOMAIN},Name" for number in range(300)]
    limits = "smtpd_client_connection_count_limit = 2\nsmtpd_client_event_limit_exceptions =\n"
    with postfix(folder / "server", "127.0.5.5", main=limits) as peer:
        summary, _ = deliver(folder, peer, rows, [], expire="30s")
        wait_for(lambda: len(peer.kept()) == 300)
        assert "Connection concurrency limit exceeded" in peer.text()
    assert summary.delivered == 300
