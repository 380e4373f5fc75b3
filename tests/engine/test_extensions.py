"""What a campaign asks of SMTP's extensions, and what becomes of it at servers with and without them."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkmail.net.tls import client_context
from tests.engine.exchanger import CLOSE, EXTENSIONS, Guest, yes
from tests.engine.scene import Internet, addresses, of, run, send
from tests.engine.test_transport import certificate_of

REQUIRETLS = {"requiretls": True}
HOSTS = ("mx1.shop.example", "mx2.shop.example", "mx.farm.example")


@pytest.fixture
def trusted_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ssl.SSLContext]]:
    """Of HOSTS, by authorities that this machine trusts for the length of a test."""
    contexts = [certificate_of(host, tmp_path / host, valid=True) for host in HOSTS]
    (tmp_path / "trusted.pem").write_bytes(b"".join((tmp_path / host).read_bytes() for host in HOSTS))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    client_context.cache_clear()
    yield contexts
    client_context.cache_clear()


def test_notifications_are_asked_for_by_token_where_they_are_offered(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            offering = await internet.exchanger("mx.shop.example", yes, "shop.example", extensions=(*EXTENSIONS, "DSN"))
            other = await internet.exchanger("mx.farm.example", yes, "farm.example")
            dsn = {"notify": ["failure", "delay"]}
            people = ["r1@shop.example", "r2@farm.example"]
            await send(internet.campaign(tmp_path, people, delivery={"dsn": dsn}), tmp_path / "state")
        mail, rcpt = (line for line in offering.guests[0].commands if line.startswith(("MAIL", "RCPT")))
        token = mail.partition("+")[2].partition("@")[0]
        assert mail.endswith(f" RET=HDRS ENVID={token}")
        assert rcpt == "RCPT TO:<r1@shop.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;r1@shop.example"
        assert not any(word in line for line in other.guests[0].commands for word in ("RET=", "ORCPT="))

    run(scene())


def test_requiretls_goes_to_the_host_that_has_it_and_bounces_where_none_has(
    tmp_path: Path, trusted_hosts: list[ssl.SSLContext]
) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            without, offering, clear = trusted_hosts
            plain = await internet.exchanger("mx1.shop.example", yes, tls_context=without)
            mx = await internet.exchanger(
                "mx2.shop.example", yes, tls_context=offering, extensions=(*EXTENSIONS, "REQUIRETLS")
            )
            await internet.exchanger("mx.farm.example", yes, "farm.example", tls_context=clear)
            for preference, host in ((10, "mx1.shop.example"), (20, "mx2.shop.example")):
                internet.dns.has(f"shop.example 300 MX {preference} {host}.")
            people = ["r1@shop.example", "r2@farm.example"]
            campaign = internet.campaign(tmp_path, people, delivery=REQUIRETLS)
            summary, events = await send(campaign, tmp_path / "state")
        assert (summary.delivered, summary.bounced) == (1, 1)
        assert plain.accepted == []
        assert any(line.endswith(" REQUIRETLS") for line in mx.guests[0].commands)
        (bounced,) = of(events, "r2@farm.example")
        assert (bounced.reason, bounced.stage) == ("unsupported", "ehlo")
        assert "5.7.30" in (bounced.reply or "")

    run(scene())


def test_requiretls_is_not_satisfied_with_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            context = certificate_of("mx.shop.example", tmp_path / "own.pem", valid=True)
            mx = await internet.exchanger(
                "mx.shop.example", yes, "shop.example", tls_context=context, extensions=(*EXTENSIONS, "REQUIRETLS")
            )
            delivery = {**REQUIRETLS, "expire": "1s"}
            summary, _ = await send(internet.campaign(tmp_path, addresses(1), delivery=delivery), tmp_path / "state")
        assert summary.expired == 1
        assert mx.accepted == []

    run(scene())


def test_a_server_that_closes_over_ehlo_is_greeted_with_helo_and_that_is_remembered(tmp_path: Path) -> None:
    def close_over_ehlo(stage: str, guest: Guest, argument: str) -> str | None:
        return CLOSE if stage == "ehlo" and argument == "EHLO" else None

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", close_over_ehlo, "shop.example")
            limits = {"default": {"connections": 1, "messages_per_connection": 5}}
            summary, _ = await send(internet.campaign(tmp_path, addresses(20), limits=limits), tmp_path / "state")
        assert summary.delivered == 20
        assert [guest.commands[0].partition(" ")[0] for guest in mx.guests] == ["EHLO", *["HELO"] * 4]

    run(scene())


def test_a_server_that_took_ehlo_before_is_not_greeted_with_helo_for_one_lost_connection(tmp_path: Path) -> None:
    greeted = 0

    def close_over_the_second(stage: str, guest: Guest, argument: str) -> str | None:
        nonlocal greeted
        greeted += stage == "ehlo"
        return CLOSE if stage == "ehlo" and greeted == 2 else None

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", close_over_the_second, "shop.example")
            limits = {"default": {"connections": 1, "messages_per_connection": 5}}
            summary, _ = await send(internet.campaign(tmp_path, addresses(20), limits=limits), tmp_path / "state")
        assert summary.delivered == 20
        assert {guest.commands[0].partition(" ")[0] for guest in mx.guests} == {"EHLO"}
        assert len(mx.guests) == 5

    run(scene())


def test_no_server_is_greeted_with_helo_where_tls_is_demanded(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda stage, *_: CLOSE if stage == "ehlo" else None)
            internet.dns.has("shop.example 300 MX 10 mx.shop.example.")
            delivery = {"tls": "required", "expire": "1s"}
            await send(internet.campaign(tmp_path, addresses(1), delivery=delivery), tmp_path / "state")
        assert {guest.commands[0].partition(" ")[0] for guest in mx.guests} == {"EHLO"}

    run(scene())
