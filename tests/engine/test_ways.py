"""Several relays, domains with a way of their own, sources with weights, addresses that must not be knocked at."""

import ssl
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import scramp

from bulkmail.net.tls import client_context
from bulkmail.sandbox.certificate import make_certificate, server_context
from tests.dns.server import records
from tests.engine.exchanger import EXTENSIONS, Guest
from tests.engine.scene import Internet, addresses, of, run, send

DOWN = "421 4.3.2 down"


def relay_at(port: int, host: str, **more: Any) -> dict[str, Any]:
    return {"host": host, "port": port, "tls": "none", **more}


def test_relays_share_the_mail_by_weight_and_each_keeps_to_its_own_limits(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            heavy, light = await internet.exchanger("a.relay.example"), await internet.exchanger("b.relay.example")
            relays = [
                relay_at(internet.port, "a.relay.example", weight=3, limits={"connections": 1}),
                relay_at(internet.port, "b.relay.example"),
            ]
            campaign = internet.campaign(
                tmp_path, addresses(80), delivery={"route": "relay", "relay": relays, "allow_private_mx": False}
            )
            summary, events = await send(campaign, tmp_path / "state")
            assert summary.delivered == 80
            assert (len(heavy.accepted), len(light.accepted)) == (60, 20)
            assert heavy.most_at_once == 1
            hosts = Counter(event.host for event in events if event.event == "attempt")
            assert hosts == {"a.relay.example": 60, "b.relay.example": 20}

    run(scene())


@pytest.mark.parametrize("failure", ["dead", "refuses", "unknown"])
def test_a_relay_that_fails_is_left_out_and_the_others_take_its_mail_at_once(tmp_path: Path, failure: str) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            bad = await internet.exchanger("bad.relay.example", lambda stage, *_: DOWN if stage == "connect" else None)
            good = await internet.exchanger("good.relay.example")
            spare = await internet.exchanger("spare.relay.example")
            if failure == "dead":
                await bad.close()
            relays = [
                relay_at(internet.port, "nowhere.example" if failure == "unknown" else "bad.relay.example"),
                relay_at(internet.port, "good.relay.example"),
                relay_at(internet.port, "spare.relay.example", priority=1),
            ]
            # An hour and more: whoever waits for the first relay is not done in time.
            delivery = {"route": "relay", "relay": relays, "retry": ["1h"], "expire": "10h"}
            campaign = internet.campaign(tmp_path, addresses(40), delivery=delivery)
            started = time.monotonic()
            summary, events = await send(campaign, tmp_path / "state")
            assert summary.delivered == 40
            assert time.monotonic() - started < 15
            assert len(good.accepted) == 40
            assert not spare.guests
            assert any(event.event == "lane" for event in events)

    run(scene())


def test_a_spare_relay_is_used_once_all_better_ones_fail(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            spare = await internet.exchanger("spare.relay.example")
            relays = [
                relay_at(1, "127.0.7.98"),
                relay_at(1, "127.0.7.99"),
                relay_at(internet.port, "spare.relay.example", priority=1),
            ]
            delivery = {"route": "relay", "relay": relays, "retry": ["1h"], "expire": "10h"}
            campaign = internet.campaign(tmp_path, addresses(20), delivery=delivery)
            summary, _ = await send(campaign, tmp_path / "state")
            assert summary.delivered == 20
            assert len(spare.accepted) == 20

    run(scene())


def test_domains_go_where_the_campaign_sends_them_and_the_rest_to_their_exchangers(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            public = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            inner, relay = await internet.exchanger("inner.corp.example"), await internet.exchanger("smart.example")
            rows = ["a@shop.example", "b@deep.corp.example", "c@corp.example", "d@org.example"]
            internet.dns.has("corp.example 300 MX 10 mx.shop.example.")
            routes = {
                "*.corp.example": {"hosts": ["127.0.7.99:1", f"inner.corp.example:{internet.port}"]},
                "ORG.example": {"relay": relay_at(internet.port, "smart.example")},
            }
            campaign = internet.campaign(tmp_path, rows, delivery={"routes": routes})
            summary, _ = await send(campaign, tmp_path / "state")
            assert summary.delivered == 4
            assert inner.recipients == ["b@deep.corp.example"]
            assert relay.recipients == ["d@org.example"]
            assert sorted(public.recipients) == ["a@shop.example", "c@corp.example"]

    run(scene())


def test_one_domain_may_go_to_its_exchangers_where_all_else_goes_to_the_relay(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            partner = await internet.exchanger("mx.partner.example", lambda *_: None, "partner.example")
            relay = await internet.exchanger("smart.example")
            delivery = {
                "route": "relay",
                "relay": relay_at(internet.port, "smart.example"),
                "routes": {"partner.example": {"mx": True}},
            }
            campaign = internet.campaign(tmp_path, ["a@partner.example", "b@other.example"], delivery=delivery)
            summary, _ = await send(campaign, tmp_path / "state")
            assert summary.delivered == 2
            assert partner.recipients == ["a@partner.example"] and relay.recipients == ["b@other.example"]

    run(scene())


def test_sources_share_the_mail_by_weight_and_a_limit_of_one_holds(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            host = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            sources = [
                {"address": "127.0.8.1", "ehlo": "one.acme.example", "weight": 3},
                {"address": "127.0.8.2", "ehlo": "two.acme.example", "limits": {"connections": 1}},
            ]
            campaign = internet.campaign(tmp_path, addresses(80), delivery={"sources": sources})
            summary, events = await send(campaign, tmp_path / "state")
            assert summary.delivered == 80
            assert Counter(e.source for e in events if e.event == "attempt") == {"127.0.8.1": 60, "127.0.8.2": 20}
            assert sum(guest.peer == "127.0.8.2" for guest in host.guests) == 1
            names = {(guest.peer, guest.commands[0]) for guest in host.guests}
            assert names == {("127.0.8.1", "EHLO one.acme.example"), ("127.0.8.2", "EHLO two.acme.example")}

    run(scene())


def test_a_recipient_is_tried_again_from_where_it_was_tried_first(tmp_path: Path) -> None:
    seen: dict[str, list[str]] = {}

    def grey(stage: str, guest: Guest, argument: str) -> str | None:
        if stage != "rcpt":
            return None
        seen.setdefault(argument, []).append(guest.peer)
        return "451 4.7.1 greylisted, come again" if len(seen[argument]) == 1 else None

    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", grey, "shop.example")
            sources = [{"address": f"127.0.8.{number}", "ehlo": "x.acme.example"} for number in (1, 2, 3)]
            campaign = internet.campaign(tmp_path, addresses(30), delivery={"sources": sources})
            summary, _ = await send(campaign, tmp_path / "state")
            assert summary.delivered == 30
        assert all(len(set(peers)) == 1 and len(peers) == 2 for peers in seen.values())
        assert len({peers[0] for peers in seen.values()}) == 3

    run(scene())


def test_a_source_without_a_way_to_the_hosts_leaves_the_mail_to_the_others(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            host = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            sources = [
                {"address": "::1", "ehlo": "six.acme.example"},
                {"address": "192.0.2.77", "ehlo": "gone.acme.example"},
                {"address": "127.0.8.1", "ehlo": "four.acme.example"},
            ]
            delivery = {"sources": sources, "retry": ["1h"], "expire": "10h"}
            campaign = internet.campaign(tmp_path, addresses(30), delivery=delivery)
            summary, events = await send(campaign, tmp_path / "state")
            assert summary.delivered == 30
            assert {guest.peer for guest in host.guests} == {"127.0.8.1"}
            why = " ".join(event.reply or "" for event in events if event.event == "lane")
            assert "::1 cannot send to IPv4" in why and "192.0.2.77 is no address of this machine" in why

    run(scene())


def test_a_null_mx_bounces_with_no_connection_and_odd_mx_hosts_are_no_way_into_this_machine(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            host = await internet.exchanger("mx.real.example", lambda *_: None, "real.example")
            has = internet.dns.has
            has("null.example 300 MX 0 .")
            has("literal.example 300 MX 10 127.0.7.1.")
            has("local.example 300 MX 10 localhost.")
            has("localhost 300 A 127.0.7.1")
            has("mapped.example 300 MX 10 mapped.mx.example.")
            has("mapped.mx.example 300 AAAA ::ffff:127.0.7.1")
            domains = ("null", "literal", "local", "mapped", "real")
            rows = [f"a@{name}.example" for name in domains]
            delivery = {"allow_private_mx": False, "expire": "2s"}
            campaign = internet.campaign(tmp_path, rows, delivery=delivery)
            summary, events = await send(campaign, tmp_path / "state")
            assert not host.guests
        assert (summary.bounced, summary.expired) == (2, 3)
        last = of(events, "a@null.example")[-1]
        assert (last.disposition, last.reason, last.stage) == ("bounced", "null_mx", "dns")

    run(scene())


def test_the_address_that_was_looked_at_is_the_one_connected_to_whatever_the_dns_says_next(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            first = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            second = await internet.exchanger("other.example")
            changed = records(f"mx.shop.example 0 A {second.address}")
            asked: list[int] = []

            def turn(query: Any, tcp: bool) -> list[bytes]:
                asked.append(1)
                return (records(f"mx.shop.example 0 A {first.address}") if len(asked) == 1 else changed)(query, tcp)

            internet.dns.on("A", "mx.shop.example", turn)
            limits = {"default": {"connections": 1}}
            summary, _ = await send(internet.campaign(tmp_path, addresses(5), limits=limits), tmp_path / "state")
            assert summary.delivered == 5
            assert len(asked) == 1 and len(first.guests) == 1 and not second.guests

    run(scene())


def test_an_mx_that_is_an_alias_is_followed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            host = await internet.exchanger("real.mx.example")
            internet.dns.has("shop.example 300 MX 10 alias.mx.example.")
            internet.dns.on("A", "alias.mx.example", records("alias.mx.example 300 CNAME real.mx.example."))
            internet.dns.on("AAAA", "alias.mx.example", records("alias.mx.example 300 CNAME real.mx.example."))
            summary, _ = await send(internet.campaign(tmp_path, addresses(3)), tmp_path / "state")
            assert summary.delivered == 3 and len(host.accepted) == 3

    run(scene())


# Logins.

PASSWORD = "pl4nted-S3cret"


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    pair = make_certificate(["relay.example"], now_seconds=time.time())
    (tmp_path / "roots.pem").write_bytes(pair[0])
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    client_context.cache_clear()
    yield server_context(*pair)
    client_context.cache_clear()


def everything_said(folder: Path, events: Any) -> str:
    files = [file for file in (folder / "state").rglob("*") if file.is_file()]
    return repr(events) + "".join(file.read_bytes().decode("latin-1") for file in files)


def test_a_stale_token_is_fetched_anew_once_and_nothing_writes_it_down(tmp_path: Path, trusted: ssl.SSLContext) -> None:
    script = tmp_path / "token.py"
    script.write_text(
        "from pathlib import Path\ncount = Path(__file__).with_suffix('.count')\n"
        f"with count.open('a') as out: out.write('x')\nprint('{PASSWORD}-' + str(count.stat().st_size))\n"
    )
    said: list[str] = []

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        if stage != "auth":
            return None
        said.append(argument)
        # The first token runs out after two messages; every refusal repeats what it was told.
        good = ("-1\1" in argument and not exhausted()) or "-2\1" in argument
        return None if good else f"535 5.7.8 not {argument!r}"

    async def scene() -> None:
        nonlocal exhausted
        async with Internet() as internet:
            host = await internet.exchanger(
                "relay.example", behave, extensions=(*EXTENSIONS, "AUTH PLAIN XOAUTH2"), tls_context=trusted
            )
            exhausted = lambda: len(host.accepted) >= 2  # noqa: E731
            relay = {
                "host": "relay.example",
                "port": internet.port,
                "username": "acme",
                "token_command": f"{sys.executable} -S {script}",
                "limits": {"connections": 1, "messages_per_connection": 2},
            }
            campaign = internet.campaign(tmp_path, addresses(6), delivery={"route": "relay", "relay": relay})
            summary, events = await send(campaign, tmp_path / "state")
            assert summary.delivered == 6
            assert script.with_suffix(".count").read_text() == "xx"
            assert [f"{PASSWORD}-2" in one for one in said] == [False, False, True, True]
            assert PASSWORD not in everything_said(tmp_path, events)

    exhausted = lambda: False  # noqa: E731
    run(scene())


def test_a_token_command_that_fails_loses_nobody_and_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            host = await internet.exchanger("relay.example")
            relay = {"host": "relay.example", "port": internet.port, "username": "acme", "token_command": "/bin/false"}
            delivery = {"route": "relay", "relay": relay, "expire": "2s"}
            summary, events = await send(internet.campaign(tmp_path, addresses(2), delivery=delivery), tmp_path / "s")
            assert summary.expired == 2 and not host.guests
            assert any("failed with exit code 1" in (event.reply or "") for event in events)

    run(scene())


def test_a_token_command_that_hangs_keeps_nobody_beyond_the_time_to_expire(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("relay.example")
            relay = {
                "host": "relay.example", "port": internet.port, "username": "acme", "token_command": "/bin/sleep 60"
            }  # fmt: skip
            delivery = {"route": "relay", "relay": relay, "expire": "1s"}
            began = time.monotonic()
            summary, events = await send(internet.campaign(tmp_path, addresses(2), delivery=delivery), tmp_path / "s")
            assert summary.expired == 2 and time.monotonic() - began < 5
            assert any("did not end in" in (event.reply or "") for event in events)

    run(scene())


def test_a_password_from_a_file_is_shown_to_nobody_by_scram(tmp_path: Path, trusted: ssl.SSLContext) -> None:
    secret = tmp_path / "relay.password"
    secret.touch(0o600)
    secret.write_text(f"{PASSWORD}\n")
    mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
    info = mechanism.make_auth_info(PASSWORD, iteration_count=4096)

    async def scene() -> None:
        async with Internet() as internet:
            host = await internet.exchanger(
                "relay.example",
                extensions=(*EXTENSIONS, "AUTH LOGIN PLAIN SCRAM-SHA-256"),
                tls_context=trusted,
                scram=lambda _: mechanism.make_server(lambda user: info),
            )
            relay = {
                "host": "relay.example", "port": internet.port, "username": "acme", "password_file": str(secret)
            }  # fmt: skip
            campaign = internet.campaign(tmp_path, addresses(5), delivery={"route": "relay", "relay": relay})
            summary, events = await send(campaign, tmp_path / "state")
            assert summary.delivered == 5
            assert all(guest.commands[3].startswith("AUTH SCRAM-SHA-256 ") for guest in host.guests)
            assert PASSWORD not in everything_said(tmp_path, events)

    run(scene())
