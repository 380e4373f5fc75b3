"""Relays that want to know who we are, and that we want to know (TLS to mail exchangers: test_encryption)."""

import base64
import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bulkmail.errors import CampaignError
from bulkmail.net.tls import client_context
from tests.engine.exchanger import EXTENSIONS, Guest
from tests.engine.scene import Internet, addresses, of, run, send


def certificate_of(name: str, path: Path, *, valid: bool) -> ssl.SSLContext:
    """A server's context with a certificate that it signed itself, kept in `path`; not `valid`: out of date."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=2 if valid else -1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """Of another name, and out of date."""
    return certificate_of("somebody.else.example", tmp_path / "chain.pem", valid=False)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """Of relay.example, by an authority that this machine trusts for the length of a test."""
    context = certificate_of("relay.example", tmp_path / "trusted.pem", valid=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    client_context.cache_clear()
    yield context
    client_context.cache_clear()


def test_a_relay_takes_the_mail_of_all_domains_without_a_question_to_the_dns(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            host = await internet.exchanger("relay.example")
            rows = [f"a@domain{number}.example" for number in range(30)]
            relay = {"host": "127.0.7.1", "port": internet.port, "tls": "none"}
            campaign = internet.campaign(tmp_path, rows, delivery={"route": "relay", "relay": relay})
            summary, _ = await send(campaign, tmp_path / "state")
            assert internet.dns.asked == []
        assert summary.delivered == 30
        assert sorted(host.recipients) == sorted(rows)

    run(scene())


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_relay_is_told_the_password_under_tls_and_a_wrong_one_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: ssl.SSLContext, mechanism: str
) -> None:
    said: list[str] = []

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        if stage == "auth":
            assert guest.encrypted
            said.append(argument)
            return None if argument == "\0acme\0secret" else "535 5.7.8 wrong"
        return "530 5.7.0 log in first" if stage == "mail" and not said else None

    async def scene() -> None:
        async with Internet() as internet:
            host = await internet.exchanger(
                "relay.example", behave, extensions=(*EXTENSIONS, f"AUTH {mechanism}"), tls_context=trusted
            )
            relay = {"host": "relay.example", "port": internet.port, "username": "acme", "password_env": "RELAY_WORD"}
            campaign = internet.campaign(
                tmp_path, addresses(5), delivery={"route": "relay", "relay": relay, "expire": "2s"}
            )
            monkeypatch.setenv("RELAY_WORD", "wrong")
            summary, events = await send(campaign, tmp_path / "wrong", wait=False)
            assert (summary.delivered, summary.deferred) == (0, 5)
            assert not host.accepted
            assert any(event.event == "lane" and event.code == 535 for event in events)
            monkeypatch.setenv("RELAY_WORD", "secret")
            summary, events = await send(campaign, tmp_path / "right")
            assert summary.delivered == 5
            assert not any("secret" in repr(event) for event in events)

    run(scene())


@pytest.mark.parametrize(
    ("stage", "reply"),
    [
        ("auth", "535 5.7.8 what is {line}"),
        ("auth", "500 5.5.1 what is {begun}"),
        ("auth", "{line}"),
        ("auth", "{begun}"),
        ("auth", "235 yes\r\n500 what is {line}"),
        ("auth", "235 yes\r\nwhat is {begun}"),
        ("mail", "550 5.7.1 {password} of acme may not send for this address"),
        ("mail", "{begun}"),
        ("rcpt", "450 4.7.1 {line}"),
        ("message", "250 2.0.0 taken from acme with {password}"),
    ],
)
def test_a_relay_that_repeats_what_it_was_told_gives_no_secret_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: ssl.SSLContext, stage: str, reply: str
) -> None:
    password = "S3cret of many words and more"
    line = f"AUTH PLAIN {base64.b64encode(f'{chr(0)}acme{chr(0)}{password}'.encode()).decode()}"

    def behave(at: str, guest: Guest, argument: str) -> str | None:
        return reply.format(line=line, begun=line[:40], password=password) if at == stage else None

    async def scene() -> None:
        async with Internet() as internet:
            host = await internet.exchanger(
                "relay.example", behave, extensions=(*EXTENSIONS, "AUTH PLAIN"), tls_context=trusted
            )
            relay = {"host": "relay.example", "port": internet.port, "username": "acme", "password_env": "RELAY_WORD"}
            monkeypatch.setenv("RELAY_WORD", password)
            campaign = internet.campaign(
                tmp_path, addresses(2), delivery={"route": "relay", "relay": relay, "expire": "2s"}
            )
            _, events = await send(campaign, tmp_path / "state", wait=False)
        assert line in host.guests[0].commands
        assert any(event.event in ("lane", "attempt") for event in events)
        kept = b"".join(file.read_bytes() for file in (tmp_path / "state").rglob("*") if file.is_file())
        for text in (kept, repr(events).encode()):
            assert b"S3cret" not in text
            assert line[11:40].encode() not in text

    run(scene())


def test_a_relay_that_cannot_prove_its_name_is_told_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, self_signed: ssl.SSLContext
) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            host = await internet.exchanger(
                "relay.example", lambda *_: None, extensions=(*EXTENSIONS, "AUTH PLAIN"), tls_context=self_signed
            )
            relay = {"host": "relay.example", "port": internet.port, "username": "acme", "password_env": "RELAY_WORD"}
            monkeypatch.setenv("RELAY_WORD", "secret")
            campaign = internet.campaign(
                tmp_path, addresses(2), delivery={"route": "relay", "relay": relay, "expire": "2s"}
            )
            summary, _ = await send(campaign, tmp_path / "state")
        assert summary.expired == 2
        assert not any(command.startswith("AUTH") for guest in host.guests for command in guest.commands)

    run(scene())


def test_roots_that_cannot_be_used_are_found_before_there_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_text("no certificate")

    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            spoiled = internet.campaign(tmp_path, addresses(1), tls={"authorities": "roots.pem"})
            with pytest.raises(CampaignError, match=r"tls\.authorities: .*roots\.pem.? cannot be used"):
                await send(spoiled, tmp_path / "state")
            summary, _ = await send(internet.campaign(tmp_path, addresses(1)), tmp_path / "state")
        assert (summary.run, summary.delivered) == ("trial-1", 1)

    run(scene())


def test_a_row_of_one_site_that_expired_waiting_names_no_other(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            internet.dns.has("dead.example 60 MX 10 mx.dead.example.")
            internet.dns.has("mx.dead.example 60 A 127.0.7.99")
            campaign = internet.campaign(tmp_path, ["a@dead.example"], delivery={"expire": "2s", "port": 1})
            summary, events = await send(campaign, tmp_path / "state")
        assert summary.expired == 1
        assert of(events, "a@dead.example")[-1].reason == "expired"

    run(scene())
