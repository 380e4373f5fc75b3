"""Everything through a smarthost: another server's AUTH and TLS, one lane, and what it says of our password."""

import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from bulkmail.errors import CampaignError
from bulkmail.net.tls import client_context
from bulkmail.sandbox.certificate import make_certificate, server_context
from tests.dns.server import DnsServer
from tests.engine.scene import addresses, run, send, write_campaign

HOST, ADDRESS, PASSWORD = "relay.example", "127.0.7.50", "correct horse"


class Mailbox:
    """What the smarthost took."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.users: list[bytes] = []
        self.mechanisms: set[str] = set()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.taken += envelope.rcpt_tos
        return "250 2.0.0 taken"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        self.users.append(data.login)
        self.mechanisms.add(mechanism)
        right = (data.login, data.password) == (b"acme", PASSWORD.encode())
        # `handled` False leaves the 535 to the server.
        return AuthResult(success=right, handled=right)


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    return make_certificate([HOST], now_seconds=time.time())


@pytest.fixture(autouse=True)
def trust(pair: tuple[bytes, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    roots = tmp_path / "roots.pem"
    roots.write_bytes(pair[0])
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    client_context.cache_clear()
    yield
    client_context.cache_clear()


@asynccontextmanager
async def smarthost(mailbox: Mailbox, context: ssl.SSLContext, *, implicit: bool) -> AsyncIterator[tuple[int, str]]:
    """Port of the smarthost, which has a thread of its own, and the DNS server that knows its name."""
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        port = free.getsockname()[1]
    server = Controller(
        mailbox,
        hostname=ADDRESS,
        port=port,
        server_hostname=HOST,
        ssl_context=context if implicit else None,
        tls_context=None if implicit else context,
        require_starttls=not implicit,
        auth_required=True,
        auth_require_tls=not implicit,
        authenticator=mailbox.authenticate,
    )
    server.start()
    try:
        async with DnsServer() as dns:
            dns.has(f"{HOST} 60 A {ADDRESS}")
            yield port, dns.text
    finally:
        server.stop()


def campaign_of(folder: Path, rows: list[str], port: int, dns: str, tls: str, **more: str) -> Path:
    relay = {"host": HOST, "port": port, "tls": tls, "username": "acme", "password_env": "RELAY_PASSWORD", **more}
    return write_campaign(
        folder,
        rows,
        delivery={"route": "relay", "relay": relay, "retry": ["1s"], "expire": "2s"},
        dns={"servers": [dns], "timeout": "2s"},
    )


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize(("tls", "auth"), [("starttls", "plain"), ("implicit", "login")])
def test_a_relay_takes_mail_for_every_domain_once_we_have_shown_our_password(
    tmp_path: Path, pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch, tls: str, auth: str
) -> None:
    monkeypatch.setenv("RELAY_PASSWORD", PASSWORD)
    mailbox = Mailbox()
    rows = addresses(30, "a.example") + addresses(30, "b.example")

    async def scene() -> None:
        async with smarthost(mailbox, server_context(*pair), implicit=tls == "implicit") as (port, dns):
            summary, events = await send(campaign_of(tmp_path, rows, port, dns, tls, auth=auth), tmp_path / "state")
        assert summary.delivered == 60
        assert mailbox.mechanisms == {auth.upper()}
        assert sorted(mailbox.taken) == sorted(rows)
        assert len({event.site for event in events if event.event == "attempt"}) == 1
        assert all(event.tls for event in events if event.event == "attempt")

    run(scene(), seconds=8)


def test_a_wrong_password_loses_nobody_and_is_never_written_down(
    tmp_path: Path, pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_PASSWORD", "wrong-secret-1")
    mailbox = Mailbox()

    async def scene() -> None:
        async with smarthost(mailbox, server_context(*pair), implicit=False) as (port, dns):
            campaign = campaign_of(tmp_path, addresses(5), port, dns, "starttls")
            summary, events = await send(campaign, tmp_path / "state")
        assert summary.expired == 5
        assert not mailbox.taken
        assert any(event.code == 535 and event.stage == "auth" for event in events)

    run(scene(), seconds=8)
    for file in (tmp_path / "state").rglob("*"):
        if file.is_file():
            assert b"wrong-secret-1" not in file.read_bytes(), file


def test_without_its_password_in_the_environment_a_send_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RELAY_PASSWORD", raising=False)

    async def scene() -> None:
        await send(campaign_of(tmp_path, addresses(5), 25, "127.0.0.1:5353", "starttls"), tmp_path / "state")

    with pytest.raises(CampaignError, match="RELAY_PASSWORD"):
        run(scene(), seconds=8)
