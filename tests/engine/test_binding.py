"""SCRAM bound to TLS (-PLUS) by the server's certificate, against an independent server, over real TLS."""

import base64
import hashlib
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import scramp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from scramp.core import CBindData

from bulkmail.model.delivery import Event, Summary
from bulkmail.net.binding import end_point_binding
from bulkmail.net.tls import client_context
from bulkmail.sandbox.certificate import make_certificate, server_context
from tests.engine.exchanger import EXTENSIONS, Exchanger, Guest
from tests.engine.scene import Internet, addresses, run, send

PASSWORD = "correct horse"
HOST = "relay.example"
PLUS, PLAIN = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[bytes, bytes]]:
    made = make_certificate([HOST], now_seconds=time.time())
    (tmp_path / "roots.pem").write_bytes(made[0])
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    client_context.cache_clear()
    yield made
    client_context.cache_clear()


def no_to_scram_that_fails(stage: str, guest: Guest, argument: str) -> str | None:
    """scramp has spoken before: what it complains of, or `*` that a client breaks off with, is a no."""
    return "535 5.7.8 no" if stage == "auth" and (argument.startswith("e=") or argument == "*\r\n") else None


def servers(binding: tuple[str, Any] | None) -> Callable[[str], Any]:
    """What answers AUTH by the mechanism's name."""

    def make(name: str) -> Any:
        mechanism = scramp.ScramMechanism(name)
        info = mechanism.make_auth_info(PASSWORD, iteration_count=4096)
        return mechanism.make_server(lambda user: info, channel_binding=binding)

    return make


def log_in(
    folder: Path,
    pair: tuple[bytes, bytes],
    binding: tuple[str, Any] | None,
    *,
    offered: str = f"AUTH {PLAIN} {PLUS}",
    monkeypatch: pytest.MonkeyPatch,
    **relay: Any,
) -> tuple[Summary, list[Event], Exchanger]:
    """A send through a relay with this login."""
    monkeypatch.setenv("RELAY_PASSWORD", PASSWORD)

    async def scene() -> tuple[Summary, list[Event], Exchanger]:
        async with Internet() as internet:
            host = await internet.exchanger(
                HOST,
                no_to_scram_that_fails,
                extensions=(*EXTENSIONS, offered),
                tls_context=server_context(*pair),
                scram=servers(binding),
            )
            way = {
                "host": HOST, "port": internet.port, "username": "acme", "password_env": "RELAY_PASSWORD", **relay
            }  # fmt: skip
            delivery = {"route": "relay", "relay": way, "expire": "1s", "retry": ["300ms"]}
            summary, events = await send(internet.campaign(folder, addresses(3), delivery=delivery), folder / "state")
            return summary, events, host

    return run(scene())


def logins(host: Exchanger) -> list[tuple[str, str]]:
    """Mechanism and flag of each AUTH."""
    said = [line.split(" ") for guest in host.guests for line in guest.commands if line.startswith("AUTH ")]
    return [(words[1], base64.b64decode(words[2]).decode().partition(",")[0]) for words in said]


def test_the_login_is_bound_to_the_server_s_certificate(
    tmp_path: Path, pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    binding = ("tls-server-end-point", pair[0].decode())
    summary, _, host = log_in(tmp_path, pair, binding, monkeypatch=monkeypatch)
    assert summary.delivered == 3
    assert set(logins(host)) == {(PLUS, "p=tls-server-end-point")}


def test_a_login_that_was_passed_on_from_another_connection_fails(
    tmp_path: Path, pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody with a certificate that we trust sits between us and a server that has another."""
    other = make_certificate([HOST], now_seconds=time.time())[0].decode()
    summary, _, host = log_in(tmp_path, pair, ("tls-server-end-point", other), monkeypatch=monkeypatch)
    assert summary.delivered == 0 and not host.accepted
    # Nor is it tried without a binding then.
    assert {mechanism for mechanism, _ in logins(host)} == {PLUS}


def test_an_offer_that_was_taken_out_on_the_way_is_noticed_by_the_server(
    tmp_path: Path, pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    binding = ("tls-server-end-point", pair[0].decode())
    summary, _, host = log_in(tmp_path, pair, binding, offered=f"AUTH {PLAIN}", monkeypatch=monkeypatch)
    assert summary.delivered == 0
    assert set(logins(host)) == {(PLAIN, "y")}


def test_a_server_that_cannot_bind_takes_us_by_the_flag_that_says_we_could(
    tmp_path: Path, pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, _, host = log_in(tmp_path, pair, None, offered=f"AUTH {PLAIN}", monkeypatch=monkeypatch)
    assert summary.delivered == 3
    assert set(logins(host)) == {(PLAIN, "y")}


def test_a_server_that_binds_in_other_ways_alone_takes_us_without(
    tmp_path: Path, pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, _, host = log_in(tmp_path, pair, ("tls-unique", b"other"), monkeypatch=monkeypatch)
    assert summary.delivered == 3
    assert logins(host)[:2] == [(PLUS, "p=tls-server-end-point"), (PLAIN, "n")]


@pytest.mark.parametrize(("auth", "delivered"), [("scram-sha-256-plus", 0), ("scram-sha-256", 3)])
def test_a_campaign_may_insist_on_a_binding_or_do_without(
    tmp_path: Path, pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch, auth: str, delivered: int
) -> None:
    summary, _, host = log_in(tmp_path, pair, ("tls-unique", b"other"), monkeypatch=monkeypatch, auth=auth)
    assert summary.delivered == delivered
    assert set(logins(host)) == {(PLUS, "p=tls-server-end-point") if delivered == 0 else (PLAIN, "n")}


@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_the_certificate_is_hashed_as_it_is_signed(algorithm: Any) -> None:
    der = certificate(ec.generate_private_key(ec.SECP256R1()), algorithm)
    assert end_point_binding(shown(der)) == bytes(CBindData.from_der(der)) == hashlib.new(algorithm.name, der).digest()


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.MD5()])
def test_sha_256_stands_in_for_what_is_broken(algorithm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing here signs by it any more, so the certificate is only said to be signed so.
    der = certificate(ec.generate_private_key(ec.SECP256R1()), hashes.SHA384())
    monkeypatch.setattr(
        x509, "load_der_x509_certificate", lambda _: SimpleNamespace(signature_hash_algorithm=algorithm)
    )
    assert end_point_binding(shown(der)) == hashlib.sha256(der).digest()


def test_without_a_hash_or_a_certificate_there_is_nothing_to_bind_by() -> None:
    assert end_point_binding(shown(certificate(ed25519.Ed25519PrivateKey.generate(), None))) == b""
    assert end_point_binding(shown(None)) == b""
    assert end_point_binding(shown(b"no certificate")) == b""


def shown(der: bytes | None) -> ssl.SSLObject:
    return SimpleNamespace(getpeercert=lambda binary_form: der)  # type: ignore[return-value]


def certificate(key: Any, algorithm: Any) -> bytes:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)]), datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)
