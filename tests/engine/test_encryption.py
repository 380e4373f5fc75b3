"""TLS to mail exchangers: taken where it works, done without where that is allowed, insisted on where asked for."""

import ssl
import time
from pathlib import Path

import pytest

from bulkmail.net.tls import client_context
from bulkmail.sandbox.certificate import make_certificate, server_context
from tests.engine.exchanger import CLOSE, Guest
from tests.engine.scene import Internet, addresses, run, send

HOST = "mx.shop.example"


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    return make_certificate([HOST], now_seconds=time.time())


@pytest.fixture
def context(pair: tuple[bytes, bytes]) -> ssl.SSLContext:
    return server_context(*pair)


def test_a_certificate_that_nobody_vouches_for_is_good_enough_to_encrypt(
    tmp_path: Path, context: ssl.SSLContext
) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger(HOST, lambda *_: None, "shop.example", tls_context=context)
            summary, events = await send(internet.campaign(tmp_path, addresses(20)), tmp_path / "state")
        assert summary.delivered == 20
        assert all(guest.encrypted for guest in mx.guests)
        assert all((event.tls or "").startswith("TLSv1.") for event in events if event.event == "attempt")
        # Capabilities are asked for again behind the handshake (RFC 3207 §4.2).
        assert all(sum(line.startswith("EHLO") for line in guest.commands) == 2 for guest in mx.guests)

    run(scene(), seconds=8)


@pytest.mark.parametrize("how", ["refused", "hangs up", "no handshake", "hangs up under TLS"])
def test_where_tls_is_broken_mail_goes_in_clear_and_that_is_remembered(
    tmp_path: Path, context: ssl.SSLContext, how: str
) -> None:
    replies = {"refused": "454 4.7.0 TLS not available", "hangs up": CLOSE}

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        if how == "hangs up under TLS" and stage == "ehlo" and guest.encrypted:
            return CLOSE
        return replies.get(how) if stage == "starttls" else None

    async def scene() -> None:
        async with Internet() as internet:
            # A server without a certificate has no cipher to offer.
            offered = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if how == "no handshake" else context
            mx = await internet.exchanger(HOST, behave, "shop.example", tls_context=offered)
            limits = {"default": {"connections": 2, "messages_per_connection": 4}}
            campaign = internet.campaign(tmp_path, addresses(40), limits=limits)
            summary, events = await send(campaign, tmp_path / "state")
        assert summary.delivered == 40
        assert len(mx.accepted) == 40
        assert {event.tls for event in events if event.event == "attempt"} == {None}
        assert {event.disposition for event in events if event.event == "attempt"} == {"delivered"}
        if how != "refused":
            asked = [guest for guest in mx.guests if "STARTTLS" in guest.commands]
            assert 1 <= len(asked) <= 2 < len(mx.guests)
        # What is wrong with its TLS is no reason to do without what else it offers.
        assert all(line.startswith("EHLO") for guest in mx.guests for line in guest.commands[:1])

    run(scene(), seconds=8)


def test_bytes_behind_the_answer_to_starttls_are_no_reason_to_go_on_in_clear(
    tmp_path: Path, context: ssl.SSLContext
) -> None:
    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        return "220 go on\r\n250 and this came along" if stage == "starttls" else None

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger(HOST, behave, "shop.example", tls_context=context)
            summary, _ = await send(
                internet.campaign(tmp_path, addresses(5), delivery={"expire": "2s"}), tmp_path / "s"
            )
        assert (summary.delivered, summary.expired) == (0, 5)
        assert not mx.accepted

    run(scene(), seconds=8)


@pytest.mark.parametrize("mode", ["required", "verified"])
def test_nothing_is_sent_in_clear_where_tls_is_required(tmp_path: Path, mode: str) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger(HOST, lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(5), delivery={"tls": mode, "expire": "2s"})
            summary, events = await send(campaign, tmp_path / "state")
        assert summary.delivered == 0
        assert summary.expired == 5
        assert not mx.accepted
        assert not any(line.startswith("MAIL") for guest in mx.guests for line in guest.commands)
        assert {event.reason for event in events if event.event == "lane"} == {"tls"}

    run(scene(), seconds=8)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_verified_peer_must_prove_its_name(
    tmp_path: Path,
    pair: tuple[bytes, bytes],
    context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    trusted: bool,
) -> None:
    if trusted:
        (tmp_path / "roots.pem").write_bytes(pair[0])
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    client_context.cache_clear()

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger(HOST, lambda *_: None, "shop.example", tls_context=context)
            campaign = internet.campaign(tmp_path, addresses(5), delivery={"tls": "verified", "expire": "2s"})
            summary, _ = await send(campaign, tmp_path / "state")
        assert (summary.delivered, summary.expired) == ((5, 0) if trusted else (0, 5))
        assert len(mx.accepted) == summary.delivered

    try:
        run(scene(), seconds=8)
    finally:
        client_context.cache_clear()
