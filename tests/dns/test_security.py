"""What DNSSEC proves, as far as the resolvers that are asked may be believed."""

from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest

from bulkmail.dns.answers import DnsOutcome
from bulkmail.dns.resolver import Resolver
from bulkmail.errors import CampaignError
from bulkmail.smtp.tlsa import TlsaRecord
from tests.dns.conftest import HandClock, Net, Run
from tests.dns.server import failing, nodata, nxdomain, records

AD = dns.flags.AD
TLSA = "_25._tcp.mx.a.example"


def trusting(net: Net) -> Resolver:
    return Resolver([net.server.text], clock=net.clock, trust="loopback")


def test_the_bit_is_believed_only_where_that_was_asked_for(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", "a.example", records("a.example 60 MX 10 mx.a.example.", flags=AD))
        net.server.on("A", "mx.a.example", records("mx.a.example 60 A 192.0.2.1", flags=AD))
        net.server.on("AAAA", "mx.a.example", records(flags=AD))
        for resolver, secure in ((net.resolver, False), (trusting(net), True)):
            assert (await resolver.mail_hosts("a.example")).secure is secure
            assert (await resolver.addresses("mx.a.example")).secure is secure

    run(scenario)


def test_one_unproved_answer_on_the_way_spoils_the_whole(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", "a.example", records("a.example 60 CNAME b.example.", flags=AD))
        net.server.on("MX", "b.example", records("b.example 60 MX 10 mx.b.example."))
        net.server.on("A", "mx.a.example", records("mx.a.example 60 A 192.0.2.1", flags=AD))
        net.server.on("AAAA", "mx.a.example", nodata())
        resolver = trusting(net)
        hosts = await resolver.mail_hosts("a.example")
        assert hosts.hosts and not hosts.secure
        assert not (await resolver.addresses("mx.a.example")).secure

    run(scenario)


def test_the_end_of_the_aliases_is_told(run: Run) -> None:
    async def scenario(net: Net) -> None:
        for kind, end in (("A", "mx.b.example 60 A 192.0.2.1"), ("AAAA", "mx.b.example 60 AAAA 2001:db8::1")):
            net.server.on(kind, "mx.a.example", records("mx.a.example 60 CNAME mx.b.example.", end, flags=AD))
        found = await trusting(net).addresses("mx.a.example")
        assert (found.canonical, found.secure) == ("mx.b.example", True)

    run(scenario)


def test_a_host_without_mx_is_proved_by_both_answers(run: Run) -> None:
    async def scenario(net: Net) -> None:
        for flags in (0, AD):
            net.server.on("MX", f"a{flags}.example", records(flags=flags, soa=60))
            net.server.on("A", f"a{flags}.example", records(f"a{flags}.example 60 A 192.0.2.1", flags=AD))
            net.server.on("AAAA", f"a{flags}.example", records(flags=AD))
            found = await trusting(net).mail_hosts(f"a{flags}.example")
            assert (found.outcome, found.secure) == (DnsOutcome.IMPLICIT, bool(flags))

    run(scenario)


def test_tlsa_records_are_read(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("TLSA", TLSA, records(f"{TLSA} 60 TLSA 3 1 1 {'ab' * 32}", flags=AD))
        found = await trusting(net).tlsa(TLSA)
        assert (found.outcome, found.secure) == (DnsOutcome.FOUND, True)
        assert found.records == (TlsaRecord(3, 1, 1, b"\xab" * 32),)

    run(scenario)


def test_no_records_and_no_answer_are_told_apart(run: Run) -> None:
    async def scenario(net: Net) -> None:
        resolver = trusting(net)
        assert (await resolver.tlsa("_25._tcp.none.example")).outcome is DnsOutcome.NOT_FOUND
        net.server.on("TLSA", TLSA, failing(dns.rcode.SERVFAIL))
        found = await resolver.tlsa(TLSA)
        assert (found.outcome, found.records) == (DnsOutcome.TEMPORARY, ())
        assert "SERVFAIL" in found.explanation
        net.server.on("TLSA", f"x{TLSA}", nxdomain())
        assert (await resolver.tlsa(f"x{TLSA}")).outcome is DnsOutcome.NOT_FOUND

    run(scenario)


def test_a_name_too_long_for_records_has_none(run: Run) -> None:
    async def scenario(net: Net) -> None:
        host = ".".join(["x" * 60] * 4)
        found = await trusting(net).tlsa(f"_25._tcp.{host}.example")
        assert (found.outcome, found.secure) == (DnsOutcome.NOT_FOUND, False)
        assert not net.server.asked

    run(scenario)


def test_the_bit_is_asked_for(run: Run) -> None:
    async def scenario(net: Net) -> None:
        seen = []

        def script(query: dns.message.Message, tcp: bool) -> list[bytes]:
            seen.append(bool(query.flags & AD))
            return records("a.example 60 MX 10 mx.a.example.")(query, tcp)

        net.server.on("MX", "a.example", script)
        await net.resolver.mail_hosts("a.example")
        await trusting(net).mail_hosts("a.example")
        assert seen == [False, True]

    run(scenario)


@pytest.mark.parametrize("servers", [["192.0.2.53"], ["127.0.0.1", "192.0.2.53"], ["[2001:db8::53]:53"]])
def test_servers_elsewhere_are_not_believed_by_accident(servers: list[str]) -> None:
    with pytest.raises(CampaignError) as caught:
        Resolver(servers, clock=HandClock(), trust="loopback")
    assert caught.value.path == "dns.validating"
    Resolver(servers, clock=HandClock(), trust="always")


def test_the_systems_servers_are_held_to_the_same(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\nnameserver 192.0.2.53\n")
    with pytest.raises(CampaignError):
        Resolver(clock=HandClock(), trust="loopback", resolv_conf=str(conf))
    conf.write_text("nameserver 127.0.0.53\nnameserver ::1\n")
    Resolver(clock=HandClock(), trust="loopback", resolv_conf=str(conf))
