"""How servers are asked: repeats, other servers, TCP, and what is not taken for an answer."""

import asyncio
import random
import socket

import dns.flags
import dns.message
import dns.rcode
import pytest

from bulkmail.dns.answers import DnsOutcome, MxHost
from tests.dns.conftest import Net, Run
from tests.dns.server import DnsServer, Script, failing, mangled, records, silence, truncated

GARDEN = "garden.example"
GOOD = records("garden.example 300 MX 10 mx.example.")
FOUND = (MxHost(10, "mx.example"),)


def closed_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wrong_id(message: bytes) -> bytes:
    return bytes([message[0] ^ 1]) + message[1:]


def test_a_truncated_answer_is_fetched_over_tcp(run: Run) -> None:
    async def scenario(net: Net) -> None:
        many = records(*(f"garden.example 300 MX {i} mx{i}.example." for i in range(2000)))
        net.server.on("MX", GARDEN, truncated(many))
        found = await net.resolver.mail_hosts(GARDEN)
        assert [host.preference for host in found.hosts] == list(range(20))
        assert net.server.asked == ["MX garden.example", "tcp MX garden.example"]
        statistics = net.resolver.statistics()
        assert (statistics.queries, statistics.tcp) == (2, 1)

    run(scenario)


def test_a_datagram_cut_off_with_tc_set_is_fetched_over_tcp(run: Run) -> None:
    async def scenario(net: Net) -> None:
        def cut(query: dns.message.Message, tcp: bool) -> list[bytes]:
            whole = records("garden.example 300 MX 10 mx.example.", flags=dns.flags.TC)(query, tcp)[0]
            return GOOD(query, tcp) if tcp else [whole[:-3]]

        net.server.on("MX", GARDEN, cut)
        assert (await net.resolver.mail_hosts(GARDEN)).hosts == FOUND

    run(scenario)


@pytest.mark.parametrize(
    ("script", "part"),
    [
        (lambda query, tcp: [], "closed the TCP connection"),
        (mangled(lambda message: [message[:20]], GOOD), "malformed"),
        (mangled(lambda message: [wrong_id(message)], GOOD), "another question over TCP"),
    ],
)
def test_tcp_that_fails_after_truncation_is_temporary(run: Run, script: Script, part: str) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, truncated(script))
        found = await net.resolver.mail_hosts(GARDEN)
        assert found.outcome is DnsOutcome.TEMPORARY
        assert part in found.explanation

    run(scenario)


@pytest.mark.parametrize(
    "change",
    [
        lambda message: message[:20],
        lambda message: message + b"junk",
        lambda message: message[:6] + b"\xff\xff" + message[8:],
        # A name whose compression pointer points at itself.
        lambda message: message[:12] + b"\xc0\x0c" + message[14:],
    ],
)
def test_a_malformed_answer_is_temporary_and_said_so_at_once(run: Run, change) -> None:  # type: ignore[no-untyped-def]
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, mangled(lambda message: [change(message)], GOOD))
        found = await net.resolver.mail_hosts(GARDEN)
        assert found.outcome is DnsOutcome.TEMPORARY
        assert f"DNS server {net.server.text} sent a malformed answer" in found.explanation
        assert net.server.asked == ["MX garden.example"]

    run(scenario)


def test_what_answers_another_query_is_passed_over(run: Run) -> None:
    async def scenario(net: Net) -> None:
        def forged(query: dns.message.Message, tcp: bool) -> list[bytes]:
            evil = records("garden.example 300 MX 0 evil.example.")(query, tcp)[0]
            other = dns.message.make_query("other.example", "MX", id=query.id)
            question = records("other.example 300 MX 0 evil.example.")(other, tcp)[0]
            echo = query.to_wire()
            return [wrong_id(evil), b"", b"\x00", wrong_id(evil)[:9], question, echo, *GOOD(query, tcp)]

        net.server.on("MX", GARDEN, forged)
        assert (await net.resolver.mail_hosts(GARDEN)).hosts == FOUND

    run(scenario)


def test_only_wrong_ids_end_in_a_timeout(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, mangled(lambda message: [wrong_id(message)], GOOD))
        found = await net.resolver_of([net.server.text], timeout_seconds=0.06).mail_hosts(GARDEN)
        assert found.outcome is DnsOutcome.TEMPORARY
        assert "did not answer within" in found.explanation

    run(scenario)


def test_a_question_lost_once_is_asked_again(run: Run) -> None:
    async def scenario(net: Net) -> None:
        answers = iter([silence(), GOOD])
        net.server.on("MX", GARDEN, lambda query, tcp: next(answers)(query, tcp))
        resolver = net.resolver_of([net.server.text], timeout_seconds=0.6)
        assert (await resolver.mail_hosts(GARDEN)).hosts == FOUND
        assert (resolver.statistics().timeouts, resolver.statistics().queries) == (1, 2)

    run(scenario)


@pytest.mark.parametrize(
    "first", [silence(), failing(dns.rcode.SERVFAIL), mangled(lambda message: [message[:20]], GOOD)]
)
def test_the_next_server_is_asked_when_one_fails_and_stays_the_first_choice(run: Run, first: Script) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, first)
        async with DnsServer() as second:
            second.on("MX", GARDEN, GOOD)
            resolver = net.resolver_of([net.server.text, second.text], timeout_seconds=0.6)
            assert (await resolver.mail_hosts(GARDEN)).hosts == FOUND
            await resolver.mail_hosts("other.example")
            assert net.server.asked == ["MX garden.example"]
            assert second.asked == ["MX garden.example", "MX other.example"]

    run(scenario)


def test_a_closed_port_is_noticed_at_once_and_explained(run: Run) -> None:
    async def scenario(net: Net) -> None:
        dead = f"127.0.0.1:{closed_port()}"
        net.server.on("MX", GARDEN, GOOD)
        async with asyncio.timeout(2):
            assert (await net.resolver_of([dead, net.server.text]).mail_hosts(GARDEN)).hosts == FOUND
            found = await net.resolver_of([dead]).mail_hosts(GARDEN)
        assert found.outcome is DnsOutcome.TEMPORARY
        assert f"DNS server {dead} cannot be reached: " in found.explanation

    run(scenario)


def test_each_server_is_explained_when_all_fail(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, failing(dns.rcode.SERVFAIL))
        async with DnsServer() as second:
            second.on("MX", GARDEN, failing(dns.rcode.REFUSED))
            found = await net.resolver_of([net.server.text, second.text]).mail_hosts(GARDEN)
            assert found.explanation == (
                f"no answer for MX of garden.example: DNS server {net.server.text} answered SERVFAIL; "
                f"DNS server {second.text} answered REFUSED"
            )
            assert net.server.asked == second.asked == ["MX garden.example"]

    run(scenario)


def test_a_server_older_than_edns_is_asked_without_it(run: Run) -> None:
    async def scenario(net: Net) -> None:
        def old(query: dns.message.Message, tcp: bool) -> list[bytes]:
            return GOOD(query, tcp) if query.edns < 0 else failing(dns.rcode.FORMERR)(query, tcp)

        net.server.on("MX", GARDEN, old)
        assert (await net.resolver.mail_hosts(GARDEN)).hosts == FOUND
        assert net.server.asked == ["MX garden.example"] * 2

    run(scenario)


def test_whatever_bytes_come_back_there_is_an_outcome(run: Run) -> None:
    """Each name has answers of its own with some bytes changed, taken away or added; the id stays right."""

    def damaged(name: str) -> Script:
        dice = random.Random(name)

        def change(message: bytes) -> list[bytes]:
            data = bytearray(message)
            for _ in range(dice.randint(1, 4)):
                place = dice.randrange(2, len(data))
                match dice.randrange(3):
                    case 0:
                        data[place] = dice.randrange(256)
                    case 1:
                        del data[place : place + dice.randint(1, 8)]
                    case _:
                        data[place:place] = dice.randbytes(dice.randint(1, 8))
                if len(data) < 4:
                    break
            return [bytes(data)]

        return mangled(change, records(f"{name} 60 CNAME b.example.", "b.example 60 MX 1 c.example.", soa=60))

    async def scenario(net: Net) -> None:
        names = [f"n{i}.example" for i in range(100)]
        for name in names:
            net.server.on("MX", name, damaged(name))
            net.server.has(f"{name} 60 A 192.0.2.1")
        resolver = net.resolver_of([net.server.text], timeout_seconds=1.5)
        found = await asyncio.gather(*(resolver.mail_hosts(name) for name in names))
        assert {DnsOutcome.FOUND, DnsOutcome.TEMPORARY} <= {answer.outcome for answer in found}
        assert all(answer.hosts or answer.explanation for answer in found)

    run(scenario)
