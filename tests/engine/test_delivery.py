"""Whole sends through the library against exchangers that misbehave in one way each."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import dns.rcode
import pytest

from bulkmail.model.delivery import Summary
from tests.dns.server import failing, records
from tests.engine.exchanger import CLOSE, EXTENSIONS, RESET, Guest
from tests.engine.scene import Internet, addresses, of, run, send


def counts(summary: Summary) -> dict[str, int]:
    """The outcomes that are not zero."""
    names = ("rejected", "duplicates", "suppressed", "delivered", "deferred", "bounced", "expired", "in_doubt")
    return {name: getattr(summary, name) for name in names if getattr(summary, name)}


def once(stage: str, reply: str) -> Callable[[str, Guest, str], str | None]:
    """`reply` at the first time that the stage is reached for each address."""
    seen: set[tuple[str, str]] = set()

    def behave(at: str, guest: Guest, argument: str) -> str | None:
        if at != stage or (at, argument) in seen:
            return None
        seen.add((at, argument))
        return reply

    return behave


def test_every_recipient_is_delivered_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(200))
            summary, events = await send(campaign, tmp_path / "state")
        assert summary.state == "finished"
        assert counts(summary) == {"delivered": 200}
        assert sorted(mx.recipients) == sorted(addresses(200))
        assert sorted(event.recipient or "" for event in events if event.event == "attempt") == sorted(addresses(200))

    run(scene())


def test_rejected_rows_duplicates_and_unknown_users_are_counted_apart(tmp_path: Path) -> None:
    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        return "550 5.1.1 no such user" if stage == "rcpt" and argument.startswith("gone") else None

    rows = "email\na@shop.example\nA@Shop.example\nno-at-sign\ngone@shop.example\nb@shop.example\n"

    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", behave, "shop.example")
            summary, events = await send(internet.campaign(tmp_path, rows), tmp_path / "state")
        assert summary.recipients == 5
        assert counts(summary) == {"rejected": 1, "duplicates": 1, "bounced": 1, "delivered": 2}
        assert [event.recipient for event in events if event.event == "duplicate"] == ["A@Shop.example"]
        bounce = of(events, "gone@shop.example")[-1]
        assert (bounce.code, bounce.enhanced, bounce.stage, bounce.reason) == (550, "5.1.1", "rcpt", "user_unknown")

    run(scene())


@pytest.mark.parametrize(
    ("stage", "reply"),
    [
        ("connect", "421 4.3.2 not now"),
        ("ehlo", "421 4.3.2 not now"),
        ("mail", "421 4.3.2 shutting down"),
        ("rcpt", "421 4.3.2 shutting down"),
        ("data", "421 4.3.2 shutting down"),
        ("message", "421 4.3.2 shutting down"),
        ("mail", "451 4.3.0 try later"),
        ("rcpt", "451 4.3.0 try later"),
        ("data", "451 4.3.0 try later"),
        ("message", "451 4.3.0 try later"),
        ("connect", CLOSE),
        ("ehlo", RESET),
        ("mail", CLOSE),
        ("rcpt", RESET),
        ("data", CLOSE),
    ],
)
def test_a_refusal_for_now_at_any_stage_delays_and_loses_nothing(tmp_path: Path, stage: str, reply: str) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", once(stage, reply), "shop.example")
            campaign = internet.campaign(tmp_path, addresses(6), limits={"default": {"connections": 2}})
            summary, _ = await send(campaign, tmp_path / "state")
        assert counts(summary) == {"delivered": 6}
        assert sorted(mx.recipients) == sorted(addresses(6))

    run(scene())


def test_greylisted_recipients_come_back_at_the_next_retry(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", once("rcpt", "451 4.7.1 greylisted"), "shop.example")
            summary, events = await send(internet.campaign(tmp_path, addresses(30)), tmp_path / "state")
        assert counts(summary) == {"delivered": 30}
        assert len(mx.accepted) == 30
        for address in addresses(30):
            assert [event.disposition for event in of(events, address)] == ["deferred", "delivered"]
            assert [event.attempt for event in of(events, address)] == [1, 2]

    run(scene())


def test_a_server_that_closes_after_n_messages_without_a_word_is_learned_and_duplicates_nothing(
    tmp_path: Path,
) -> None:
    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        return CLOSE if stage == "mail" and guest.messages == 7 else None

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", behave, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(300), limits={"default": {"connections": 2}})
            summary, events = await send(campaign, tmp_path / "state")
        assert counts(summary) == {"delivered": 300}
        assert len(mx.accepted) == 300
        assert {event.disposition for event in events if event.recipient} == {"delivered"}
        # Once learned, connections end with QUIT after the seventh.
        assert sum(guest.commands[-1] == "QUIT" for guest in mx.guests) > len(mx.guests) // 2

    run(scene())


def test_too_many_connections_cost_no_recipient_an_attempt(tmp_path: Path) -> None:
    open_now: set[int] = set()

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        if stage == "connect":
            mine = [one for one in mx.guests if one.closed is None]
            return "421 4.7.0 too many connections" if len(mine) > 3 else None
        return None

    async def scene() -> None:
        nonlocal mx
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", behave, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(400), limits={"default": {"connections": 12}})
            summary, events = await send(campaign, tmp_path / "state")
        assert counts(summary) == {"delivered": 400}
        assert {event.disposition for event in events if event.recipient} == {"delivered"}
        refused = sum(stage == "connect" for stage, _ in mx.told)
        assert 1 <= refused <= 30

    mx = None  # type: ignore[assignment]
    run(scene())
    assert not open_now


def test_the_second_mail_exchanger_takes_over_where_the_first_is_dead(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            second = await internet.exchanger("mx2.shop.example")
            internet.dns.on(
                "MX",
                "shop.example",
                records("shop.example 60 MX 5 mx1.shop.example.", "shop.example 60 MX 10 mx2.shop.example."),
            )
            internet.dns.has("mx1.shop.example 60 A 127.0.7.99")
            summary, events = await send(internet.campaign(tmp_path, addresses(50)), tmp_path / "state")
        assert counts(summary) == {"delivered": 50}
        assert len(second.accepted) == 50
        assert {event.host for event in events if event.event == "attempt"} == {"mx2.shop.example"}

    run(scene())


def test_dns_decides_between_never_and_not_now(tmp_path: Path) -> None:
    asked = Counter[str]()

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "good.example")
            internet.dns.has("null.example 60 MX 0 .")
            yes = records("flaky.example 60 MX 10 mx.shop.example.")
            no = failing(dns.rcode.SERVFAIL)

            def flaky(query: dns.message.Message, tcp: bool) -> list[bytes]:
                asked["flaky"] += 1
                return (no if asked["flaky"] <= 1 else yes)(query, tcp)

            internet.dns.on("MX", "flaky.example", flaky)
            rows = ["a@good.example", "a@null.example", "a@nowhere.example", "a@flaky.example"]
            summary, events = await send(
                internet.campaign(tmp_path, rows, delivery={"expire": "60s", "retry": ["6s"]}), tmp_path / "state"
            )
        assert counts(summary) == {"delivered": 2, "bounced": 2}
        assert of(events, "a@null.example")[-1].reason == "null_mx"
        assert of(events, "a@nowhere.example")[-1].reason == "domain_unknown"
        assert [event.disposition for event in of(events, "a@flaky.example")] == ["deferred", "delivered"]
        assert sorted(mx.recipients) == ["a@flaky.example", "a@good.example"]

    run(scene())


def test_a_server_without_pipelining_or_without_ehlo_gets_its_mail_too(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            plain = await internet.exchanger("mx.plain.example", lambda *_: None, "plain.example", extensions=())
            old = await internet.exchanger("mx.old.example", lambda *_: None, "old.example", esmtp=False)
            rows = addresses(40, "plain.example") + addresses(40, "old.example")
            summary, _ = await send(internet.campaign(tmp_path, rows), tmp_path / "state")
        assert counts(summary) == {"delivered": 80}
        assert (len(plain.accepted), len(old.accepted)) == (40, 40)
        assert old.guests[0].commands[:2][1].startswith("HELO ")

    run(scene())


def test_what_a_server_cannot_take_bounces_without_being_sent(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            small = await internet.exchanger(
                "mx.small.example", lambda *_: None, "small.example", extensions=("PIPELINING", "SIZE 100")
            )
            ascii_only = await internet.exchanger(
                "mx.ascii.example", lambda *_: None, "ascii.example", extensions=("PIPELINING",)
            )
            modern = await internet.exchanger("mx.modern.example", lambda *_: None, "modern.example")
            rows = ["a@small.example", "zoë@ascii.example", "plain@ascii.example", "zoë@modern.example"]
            summary, events = await send(internet.campaign(tmp_path, rows), tmp_path / "state")
        assert counts(summary) == {"delivered": 2, "bounced": 2}
        assert of(events, "a@small.example")[-1].reason == "too_large"
        assert of(events, "zoë@ascii.example")[-1].reason == "unsupported"
        assert not small.accepted
        assert ascii_only.recipients == ["plain@ascii.example"]
        assert modern.recipients == ["zoë@modern.example"]
        assert any("SMTPUTF8" in command for command in modern.guests[0].commands)

    run(scene())


def test_one_recipient_that_always_makes_the_lane_look_bad_does_not_hold_up_the_others(tmp_path: Path) -> None:
    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        return "421 4.7.0 go away" if stage == "rcpt" and argument == "r1@shop.example" else None

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", behave, "shop.example")
            campaign = internet.campaign(
                tmp_path, addresses(200), delivery={"expire": "3s"}, limits={"default": {"connections": 1}}
            )
            summary, _ = await send(campaign, tmp_path / "state")
        assert counts(summary) == {"delivered": 199, "expired": 1}
        assert len(mx.accepted) == 199

    run(scene())


def test_a_recipient_that_is_always_put_off_expires(tmp_path: Path) -> None:
    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        return "450 4.2.1 mailbox busy" if stage == "rcpt" and argument.startswith("r1@") else None

    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", behave, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(5), delivery={"expire": "3s"})
            summary, events = await send(campaign, tmp_path / "state")
        assert counts(summary) == {"delivered": 4, "expired": 1}
        # How often it is tried before depends on how busy the machine is; tests/simulation/test_retries.py counts.
        *before, last = [event.disposition for event in of(events, "r1@shop.example")]
        assert last == "expired"
        assert set(before) == {"deferred"}
        assert len(before) <= 3

    run(scene())


def test_a_dead_site_expires_even_when_it_is_tried_every_second(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            internet.dns.has("dead.example 60 MX 10 mx.dead.example.")
            internet.dns.has("mx.dead.example 60 A 127.0.7.99")
            rows = [*addresses(5), "a@dead.example", "b@dead.example"]
            campaign = internet.campaign(tmp_path, rows, delivery={"expire": "3s"})
            summary, events = await send(campaign, tmp_path / "state")
        assert counts(summary) == {"delivered": 5, "expired": 2}
        assert of(events, "a@dead.example")[-1].disposition == "expired"

    run(scene())


def test_addresses_of_our_own_network_are_not_connected_to_unless_allowed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(3), delivery={"allow_private_mx": False, "expire": "2s"})
            summary, _ = await send(campaign, tmp_path / "state")
        assert counts(summary) == {"expired": 3}
        assert not mx.guests

    run(scene())


def test_extensions_are_asked_for_only_where_offered(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example", extensions=EXTENSIONS[:1])
            await send(internet.campaign(tmp_path, addresses(3)), tmp_path / "state")
        commands = [command for guest in mx.guests for command in guest.commands]
        assert not any("SIZE=" in command or "SMTPUTF8" in command for command in commands)

    run(scene())


def test_a_recipient_gets_nothing_before_its_time(tmp_path: Path) -> None:
    async def scene() -> None:
        rows = "email,when\nnow@a.example,\npast@a.example,2020-01-01T00:00:00Z\nlater@a.example,2999-01-01T00:00:00Z\n"
        async with Internet() as internet:
            await internet.exchanger("mx.a.example", lambda *_: None, "a.example")
            campaign = internet.campaign(tmp_path, rows, send_at="when")
            summary, events = await send(campaign, tmp_path / "state", wait=False)
        assert counts(summary) == {"delivered": 2, "deferred": 1}
        assert of(events, "later@a.example") == []

    run(scene())
