"""Limits as the receiver counts them, and lanes that do not wait for each other."""

from pathlib import Path

from bulkmail import Engine
from tests.dns.server import silence
from tests.engine.exchanger import Exchanger, Guest
from tests.engine.scene import Internet, addresses, run, send


def most_in(times: list[float], seconds: float) -> int:
    """The most events in any window of so many seconds."""
    ordered = sorted(times)
    most = first = 0
    for last, time in enumerate(ordered):
        while time - ordered[first] > seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_rates_and_connections_stay_below_the_limits_as_the_receiver_counts(tmp_path: Path) -> None:
    limits = {"connections": 3, "messages_per_connection": 20, "messages": "100/s", "connects": "10/s"}

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example", "brand.example")
            rows = addresses(150) + addresses(50, "brand.example")
            summary, _ = await send(internet.campaign(tmp_path, rows, limits={"default": limits}), tmp_path / "state")
        assert summary.delivered == 200
        assert mx.most_at_once <= 3
        assert max(guest.messages for guest in mx.guests) <= 20
        # In any second the rate, the burst of a tenth of a second, and what the loop's own jitter shifts.
        assert most_in([message.time for message in mx.accepted], 1.0) <= 100 + 10 + 5
        assert most_in([guest.opened for guest in mx.guests], 1.0) <= 10 + 1 + 1
        spread = max(m.time for m in mx.accepted) - min(m.time for m in mx.accepted)
        assert spread >= 1.8

    run(scene())


def test_a_domain_with_a_limit_of_its_own_is_kept_to_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example", "brand.example")
            rows = addresses(20) + addresses(20, "brand.example")
            campaign = internet.campaign(tmp_path, rows, limits={"domains": {"brand.example": {"messages": "20/s"}}})
            summary, _ = await send(campaign, tmp_path / "state")
        assert summary.delivered == 40
        brand = [message.time for message in mx.accepted if message.recipient.endswith("@brand.example")]
        # The rate, the burst of a tenth of a second, and what the loop's own jitter shifts; however late it is.
        assert most_in(brand, 0.5) <= 10 + 2 + 1
        assert max(brand) - min(brand) >= 0.8

    run(scene())


def test_tenants_of_one_provider_share_limits_and_each_gets_its_mail_at_its_own_host(tmp_path: Path) -> None:
    open_at_once: list[int] = []
    hosts: list[Exchanger] = []

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        if stage == "connect":
            open_at_once.append(sum(one.closed is None for host in hosts for one in host.guests))
        return None

    async def scene() -> None:
        async with Internet() as internet:
            for tenant in range(8):
                name = f"tenant{tenant}-example.mail.protection.outlook.com"
                hosts.append(await internet.exchanger(name, behave, f"tenant{tenant}.example"))
            rows = [address for tenant in range(8) for address in addresses(25, f"tenant{tenant}.example")]
            site_limits = {"*.mail.protection.outlook.com": {"connections": 3, "messages": "400/s"}}
            campaign = internet.campaign(tmp_path, rows, limits={"sites": site_limits})
            summary, _ = await send(campaign, tmp_path / "state")
        assert summary.delivered == 200
        for tenant, host in enumerate(hosts):
            assert sorted(host.recipients) == sorted(addresses(25, f"tenant{tenant}.example"))
        assert max(open_at_once) <= 3

    run(scene())


def test_domains_whose_dns_is_silent_hold_up_nobody(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            silent = [f"silent{number}.example" for number in range(3)]
            for domain in silent:
                internet.dns.on("MX", domain, silence())
            # Enough of each for a chunk of its own, one by one before the shop's in the alphabet.
            rows = [address for domain in ["a-" + silent[0], *silent[1:]] for address in addresses(60, domain)]
            internet.dns.on("MX", "a-" + silent[0], silence())
            rows += ["x@" + silent[0], *addresses(400)]
            campaign = internet.campaign(
                tmp_path,
                rows,
                delivery={"retry": ["1h"], "expire": "48h"},
                dns={"servers": [internet.dns.text], "timeout": "3s"},
            )
            summary, _ = await send(campaign, tmp_path / "state", wait=False)
        assert (summary.delivered, summary.deferred) == (400, 181)
        times = [message.time for message in mx.accepted]
        assert max(times) - min(times) < 2.0

    run(scene())


def test_one_connection_for_all_serves_everybody_in_turn(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            hosts = [
                await internet.exchanger(f"t{n}-example.mail.protection.outlook.com", lambda *_: None, f"t{n}.example")
                for n in range(6)
            ]
            rows = [address for n in range(6) for address in addresses(5, f"t{n}.example")]
            site_limits = {"*.mail.protection.outlook.com": {"connections": 1}}
            summary, _ = await send(
                internet.campaign(tmp_path, rows, limits={"sites": site_limits}), tmp_path / "state"
            )
        assert summary.delivered == 30
        assert [len(host.accepted) for host in hosts] == [5] * 6

    run(scene())


def test_a_connection_with_nothing_to_do_is_given_up_to_one_that_waits_for_it(tmp_path: Path) -> None:
    seen: set[str] = set()

    def greylist(stage: str, guest: Guest, argument: str) -> str | None:
        if stage != "rcpt" or argument in seen:
            return None
        seen.add(argument)
        return "451 4.7.1 greylisted, come back"

    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("t1-example.mail.protection.outlook.com", greylist, "t1.example")
            await internet.exchanger("t2-example.mail.protection.outlook.com", lambda *_: None, "t2.example")
            rows = [*addresses(1, "t1.example"), *addresses(1, "t2.example")]
            limits = {"sites": {"*.mail.protection.outlook.com": {"connections": 1}}}
            summary, _ = await send(internet.campaign(tmp_path, rows, limits=limits), tmp_path / "state")
        assert summary.delivered == 2
        # The retry is due after 1 to 2 seconds; a connection is idle for 5 before it is closed unasked.
        assert summary.seconds < 4.5

    run(scene())


def test_a_domain_kept_to_its_own_rate_holds_up_nobody_at_the_same_hosts(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example", "brand.example")
            # More of the slow domain than a lane is supplied with at once, and first in the list.
            rows = [*addresses(600, "brand.example"), *addresses(100), *addresses(3, "tail.example")]
            internet.dns.has("tail.example 300 MX 10 mx.shop.example.")
            limits = {"default": {"connections": 2}, "domains": {"brand.example": {"messages": "2/s"}}}
            async with Engine(tmp_path / "state", signers=1) as engine:
                others = 0
                async for event in engine.send(internet.campaign(tmp_path, rows, limits=limits)):
                    others += event.disposition == "delivered" and not str(event.recipient).endswith("@brand.example")
                    if others == 103:
                        break
        brand = [message for message in mx.accepted if message.recipient.endswith("@brand.example")]
        assert len(brand) < 20

    run(scene())


def test_what_one_source_may_not_send_for_a_while_goes_by_the_others(tmp_path: Path) -> None:
    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        blocked = stage == "connect" and guest.peer == "127.0.7.201"
        return "421 4.7.0 your address is blocked for now" if blocked else None

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", behave, "shop.example")
            sources = [{"address": f"127.0.7.{last}", "ehlo": f"out{last}.acme.example"} for last in (201, 202)]
            delivery = {"sources": sources, "retry": ["1h"], "expire": "5h"}
            # One chunk is shared out before the first source is known to be blocked; the others come after.
            campaign = internet.campaign(
                tmp_path, addresses(4000), delivery=delivery, limits={"default": {"messages": "4000/s"}}
            )
            summary, _ = await send(campaign, tmp_path / "state", wait=False)
        assert {guest.peer for guest in mx.guests} == {"127.0.7.201", "127.0.7.202"}
        assert summary.delivered >= 3500
        assert summary.delivered + summary.deferred == 4000

    run(scene())
