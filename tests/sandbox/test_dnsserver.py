"""DNS answers, by message and through sockets with an independent resolver."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import dns.asyncquery
import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.sandbox.counts import Counts
from bulkmail.sandbox.dnsserver import DnsServer, Responder
from bulkmail.sandbox.profiles import load_profiles
from bulkmail.sandbox.zone import WEBSITE, Zone
from tests.sandbox.conftest import HeldClock

LONG_KEY = "v=DKIM1; k=rsa; p=" + "A" * 700


def make_responder(clock: HeldClock | None = None) -> Responder:
    return Responder(Zone(load_profiles(), seed=1), Counts(), clock or HeldClock())


def ask(responder: Responder, name: str, rdtype: str, **options: object) -> dns.message.Message:
    wire = responder.answer_udp(dns.message.make_query(name, rdtype, **options).to_wire())
    assert wire is not None
    return dns.message.from_wire(wire)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Responder, dns.asyncresolver.Resolver]]:
    responder = make_responder()
    server = DnsServer(responder)
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.port = await server.start("127.0.0.1", 0)
    resolver.nameservers = ["127.0.0.1"]
    resolver.lifetime = 5.0
    try:
        yield responder, resolver
    finally:
        await server.close()
        await asyncio.sleep(0.01)


def run(check: Callable[[Responder, dns.asyncresolver.Resolver], object]) -> None:
    async def inside() -> None:
        async with serving() as (responder, resolver):
            await check(responder, resolver)

    asyncio.run(inside())


def test_a_resolver_finds_exchangers_and_their_addresses() -> None:
    async def check(responder: Responder, resolver: dns.asyncresolver.Resolver) -> None:
        exchangers = sorted(await resolver.resolve("Gmail.COM", "MX"), key=lambda record: record.preference)
        assert exchangers[0].exchange.to_text().lower() == "gmail-smtp-in.l.google.com."
        addresses = await resolver.resolve(exchangers[0].exchange, "A")
        assert addresses[0].address.startswith("127.10.")
        reverse = await resolver.resolve_address(addresses[0].address)
        assert reverse[0].target == exchangers[0].exchange
        with pytest.raises(dns.resolver.NoAnswer):
            await resolver.resolve(exchangers[0].exchange, "AAAA")

    run(check)


def test_a_resolver_sees_the_odd_domains() -> None:
    async def check(responder: Responder, resolver: dns.asyncresolver.Resolver) -> None:
        null = await resolver.resolve("nullmx.test", "MX")
        assert [record.to_text() for record in null] == ["0 ."]
        with pytest.raises(dns.resolver.NXDOMAIN):
            await resolver.resolve("nxdomain.test", "MX")
        with pytest.raises(dns.resolver.NoAnswer):
            await resolver.resolve("implicit.test", "MX")
        assert (await resolver.resolve("implicit.test", "A"))[0].address.startswith("127.10.")
        assert (await resolver.resolve("gmail.com", "A"))[0].address == WEBSITE
        alias = await resolver.resolve("cname.test", "MX")
        assert alias.canonical_name.to_text().endswith(".canonical.test.")
        with pytest.raises(dns.resolver.NoNameservers):
            await resolver.resolve("servfail.test", "MX")

    run(check)


def test_published_records_are_served_over_udp_and_whole_over_tcp_where_they_are_long() -> None:
    async def check(responder: Responder, resolver: dns.asyncresolver.Resolver) -> None:
        responder.publish("S1._domainkey.nxdomain-a.test.", LONG_KEY)
        responder.publish("nxdomain-a.test", 'v=spf1 "quoted" \\ -all')
        (key,) = await resolver.resolve("s1._domainkey.nxdomain-a.test", "TXT")
        assert b"".join(key.strings).decode() == LONG_KEY
        (policy,) = await resolver.resolve("nxdomain-a.test", "TXT")
        assert policy.strings == (b'v=spf1 "quoted" \\ -all',)
        assert await resolver.resolve("nxdomain-a.test", "MX")
        query = dns.message.make_query("s1._domainkey.nxdomain-a.test", "TXT", use_edns=False)
        short = await dns.asyncquery.udp(query, "127.0.0.1", port=resolver.port, timeout=5)
        assert short.flags & dns.flags.TC
        assert not short.answer
        whole, was_tcp = await dns.asyncquery.udp_with_fallback(query, "127.0.0.1", port=resolver.port, timeout=5)
        assert was_tcp
        assert whole.answer

    run(check)


def test_many_questions_fit_one_stream_however_it_is_cut() -> None:
    async def check(responder: Responder, resolver: dns.asyncresolver.Resolver) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", resolver.port)
        queries = [dns.message.make_query(name, "MX") for name in ("gmail.com", "nullmx.test")]
        stream = b"".join(len(wire).to_bytes(2, "big") + wire for wire in (query.to_wire() for query in queries))
        for at in range(0, len(stream), 7):
            writer.write(stream[at : at + 7])
            await writer.drain()
        for query in queries:
            answer = dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))
            assert query.is_response(answer)
        writer.close()
        await writer.wait_closed()

    run(check)


def test_an_absent_name_comes_with_the_soa_that_says_for_how_long() -> None:
    answer = ask(make_responder(), "nxdomain.test", "MX")
    assert answer.rcode() is dns.rcode.NXDOMAIN
    assert answer.authority[0][0].minimum == answer.authority[0].ttl == 30
    assert answer.flags & dns.flags.RA


def test_a_flaky_domain_recovers_after_its_time() -> None:
    clock = HeldClock()
    responder = make_responder(clock)
    assert ask(responder, "flaky.test", "MX").rcode() is dns.rcode.SERVFAIL
    clock.now += 2.9
    assert ask(responder, "flaky.test", "MX").rcode() is dns.rcode.SERVFAIL
    clock.now += 0.2
    assert ask(responder, "flaky.test", "MX").rcode() is dns.rcode.NOERROR


def test_other_classes_and_operations_are_declined() -> None:
    responder = make_responder()
    assert ask(responder, "gmail.com", "MX", rdclass="CH").rcode() is dns.rcode.REFUSED
    update = bytearray(dns.message.make_query("gmail.com", "MX").to_wire())
    update[2] |= 4 << 3
    wire = responder.answer_udp(bytes(update))
    assert wire is not None
    assert dns.message.from_wire(wire).rcode() is dns.rcode.NOTIMP


def test_answers_are_not_answered() -> None:
    response = dns.message.make_response(dns.message.make_query("gmail.com", "MX"))
    assert make_responder().answer_udp(response.to_wire()) is None


@given(st.binary(max_size=80))
def test_noise_has_no_answer_or_one_that_parses(noise: bytes) -> None:
    answer = RESPONDER.answer_udp(noise)
    if answer is not None:
        assert answer[:2] == noise[:2]
        dns.message.from_wire(answer)


@given(st.integers(0, 45), st.integers(0, 255))
def test_a_broken_question_has_no_answer_or_one_that_parses(at: int, octet: int) -> None:
    wire = bytearray(dns.message.make_query("own.gmail-tenant.example", "MX").to_wire())
    wire[at % len(wire)] = octet
    answer = RESPONDER.answer_udp(bytes(wire))
    if answer is not None:
        dns.message.from_wire(answer)


RESPONDER = make_responder()
