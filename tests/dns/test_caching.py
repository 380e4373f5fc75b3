"""How long answers are kept, how many, and that one question is in flight once."""

import asyncio

import dns.rcode
import pytest

from bulkmail.dns.answers import DnsOutcome
from tests.dns.conftest import Net, Run
from tests.dns.server import Script, failing, nodata, nxdomain, records

GARDEN = "garden.example"


async def seconds_kept(net: Net, script: Script) -> float:
    """For how long a TXT look-up answered by `script` asks no more; seen by moving the clock to either side."""
    net.server.on("TXT", GARDEN, script)
    net.clock.now += 1_000_000
    first = await net.resolver.txt(GARDEN)
    asked = len(net.server.asked)
    kept = first.expires - net.clock.now
    net.clock.now = first.expires - 0.01
    assert await net.resolver.txt(GARDEN) == first
    assert len(net.server.asked) == asked
    net.clock.now = first.expires
    await net.resolver.txt(GARDEN)
    assert len(net.server.asked) == asked + 1
    return kept


@pytest.mark.parametrize(
    ("script", "seconds"),
    [
        (records(f"{GARDEN} 300 TXT x"), 300),
        (records(f"{GARDEN} 0 TXT x"), 5),
        (records(f"{GARDEN} 1000000 TXT x"), 86_400),
        (nxdomain(soa=120), 120),
        (nodata(soa=120), 120),
        (nodata(soa=0), 5),
        (nxdomain(soa=86_400), 900),
        (failing(dns.rcode.SERVFAIL), 5),
    ],
)
def test_an_answer_is_kept_for_its_ttl_within_floor_and_ceiling(run: Run, script: Script, seconds: float) -> None:
    async def scenario(net: Net) -> None:
        assert await seconds_kept(net, script) == seconds

    run(scenario)


@pytest.mark.parametrize("script", [nxdomain(soa=None), nodata(soa=None)])
def test_nothing_there_without_an_soa_is_kept_at_most_a_minute(run: Run, script: Script) -> None:
    async def scenario(net: Net) -> None:
        assert 5 <= await seconds_kept(net, script) <= 60

    run(scenario)


def test_limits_of_the_cache_are_parameters(run: Run) -> None:
    async def scenario(net: Net) -> None:
        limits = {
            "ttl_floor_seconds": 20,
            "ttl_ceiling_seconds": 30,
            "negative_ceiling_seconds": 25,
            "failure_seconds": 1,
        }
        net.resolver = net.resolver_of([net.server.text], **limits)
        assert await seconds_kept(net, records(f"{GARDEN} 1 TXT x")) == 20
        assert await seconds_kept(net, records(f"{GARDEN} 300 TXT x")) == 30
        assert await seconds_kept(net, nxdomain(soa=300)) == 25
        assert await seconds_kept(net, failing(dns.rcode.SERVFAIL)) == 1

    run(scenario)


def test_the_least_recently_used_answer_goes_when_the_cache_is_full(run: Run) -> None:
    async def scenario(net: Net) -> None:
        resolver = net.resolver_of([net.server.text], entries=3)
        for name in ("a", "b", "c", "a", "d", "e"):
            await resolver.txt(f"{name}.example")
        assert resolver.statistics().entries == 3
        net.server.asked.clear()
        for name in ("a", "d", "e"):
            await resolver.txt(f"{name}.example")
        assert net.server.asked == []
        await resolver.txt("b.example")
        assert net.server.asked == ["TXT b.example"]

    run(scenario)


def test_equal_questions_at_once_are_one_query(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.has(f"{GARDEN} 300 MX 10 mx.example.")
        found = await asyncio.gather(*(net.resolver.mail_hosts(GARDEN) for _ in range(50)))
        assert len(set(found)) == 1
        assert net.server.asked == ["MX garden.example"]
        statistics = net.resolver.statistics()
        assert (statistics.queries, statistics.shared, statistics.hits, statistics.entries) == (1, 49, 0, 1)
        await net.resolver.mail_hosts(GARDEN)
        assert net.resolver.statistics().hits == 1

    run(scenario)


async def until_asked(net: Net, count: int) -> None:
    async with asyncio.timeout(2):
        while len(net.server.asked) < count:  # noqa: ASYNC110 - a test may turn the loop by hand
            await asyncio.sleep(0)


def test_one_who_stops_waiting_takes_the_answer_from_nobody(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.has(f"{GARDEN} 300 TXT x")
        net.server.held = True
        waiters = [asyncio.create_task(net.resolver.txt(GARDEN)) for _ in range(3)]
        await until_asked(net, 1)
        waiters[0].cancel()
        await asyncio.wait([waiters[0]])
        assert waiters[0].cancelled()
        net.server.release()
        for waiter in waiters[1:]:
            assert (await waiter).outcome is DnsOutcome.FOUND
        assert net.server.asked == [f"TXT {GARDEN}"]

    run(scenario)


def test_an_answer_nobody_waits_for_any_more_is_kept(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.has(f"{GARDEN} 300 TXT x")
        net.server.held = True
        waiter = asyncio.create_task(net.resolver.txt(GARDEN))
        await until_asked(net, 1)
        waiter.cancel()
        await asyncio.wait([waiter])
        net.server.release()
        assert (await net.resolver.txt(GARDEN)).outcome is DnsOutcome.FOUND
        assert net.server.asked == [f"TXT {GARDEN}"]

    run(scenario)


def test_no_more_queries_than_allowed_are_in_flight(run: Run) -> None:
    async def scenario(net: Net) -> None:
        resolver = net.resolver_of([net.server.text], concurrent_queries=2)
        net.server.held = True
        waiters = [asyncio.create_task(resolver.txt(f"n{i}.example")) for i in range(5)]
        await until_asked(net, 2)
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert len(net.server.asked) == 2
        net.server.release()
        await asyncio.gather(*waiters)
        assert len(net.server.asked) == 5

    run(scenario)


def test_closing_ends_what_is_in_flight(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.held = True
        waiter = asyncio.create_task(net.resolver.mail_hosts(GARDEN))
        await until_asked(net, 1)
        await net.resolver.close()
        await asyncio.wait([waiter])
        assert waiter.cancelled()
        net.server.release()
        assert (await net.resolver.mail_hosts(GARDEN)).outcome is DnsOutcome.NOT_FOUND

    run(scenario)
