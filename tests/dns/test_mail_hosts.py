"""What mail_hosts, addresses and txt make of what a DNS server says."""

import dns.message
import dns.rcode
import pytest

from bulkmail.dns.answers import DnsOutcome, MxHost
from tests.dns.conftest import Net, Run
from tests.dns.server import Script, failing, nodata, nxdomain, records, referral, silence

GARDEN = "garden.example"


def mx(*hosts: str, owner: str = GARDEN) -> list[str]:
    return [f"{owner} 300 MX {host}" for host in hosts]


def test_mx_hosts_come_by_preference_then_by_name_in_lower_case(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, records(*mx("20 c.example.", "10 B.Example.", "10 a.example.")))
        found = await net.resolver.mail_hosts("Garden.Example.")
        assert found.outcome is DnsOutcome.FOUND
        assert found.hosts == (MxHost(10, "a.example"), MxHost(10, "b.example"), MxHost(20, "c.example"))
        assert found.explanation == ""
        assert found.expires == net.clock.now + 300

    run(scenario)


def test_a_host_listed_more_than_once_keeps_its_best_preference(run: Run) -> None:
    async def scenario(net: Net) -> None:
        lines = mx("30 a.example.", "10 b.example.", "5 a.example.", "20 a.example.")
        net.server.on("MX", GARDEN, records(*lines))
        found = await net.resolver.mail_hosts(GARDEN)
        assert found.hosts == (MxHost(5, "a.example"), MxHost(10, "b.example"))

    run(scenario)


def test_without_mx_the_domain_itself_is_the_mail_host(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.has(f"{GARDEN} 60 AAAA 2001:db8::1")
        found = await net.resolver.mail_hosts(GARDEN)
        assert (found.outcome, found.hosts) == (DnsOutcome.IMPLICIT, (MxHost(0, GARDEN),))

    run(scenario)


def test_neither_mx_nor_address_is_permanent(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("TXT", GARDEN, nodata())
        found = await net.resolver.mail_hosts(GARDEN)
        assert (found.outcome, found.hosts) == (DnsOutcome.NOT_FOUND, ())
        assert found.explanation == "garden.example has neither a mail exchanger (MX) nor an address"

    run(scenario)


def test_no_mx_and_an_address_look_up_that_fails_is_temporary(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("A", GARDEN, failing(dns.rcode.SERVFAIL))
        found = await net.resolver.mail_hosts(GARDEN)
        assert found.outcome is DnsOutcome.TEMPORARY
        assert found.explanation == (
            f"no answer for A of garden.example: DNS server {net.server.text} answered SERVFAIL"
        )

    run(scenario)


def test_a_domain_that_does_not_exist_is_permanent_and_asked_for_once(run: Run) -> None:
    async def scenario(net: Net) -> None:
        found = await net.resolver.mail_hosts(GARDEN)
        assert found.outcome is DnsOutcome.NOT_FOUND
        assert found.explanation == "garden.example does not exist (NXDOMAIN)"
        assert net.server.asked == ["MX garden.example"]

    run(scenario)


@pytest.mark.parametrize("preference", [0, 10])
def test_a_single_null_mx_means_that_the_domain_takes_no_mail(run: Run, preference: int) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, records(*mx(f"{preference} .")))
        net.server.has(f"{GARDEN} 60 A 192.0.2.1")
        found = await net.resolver.mail_hosts(GARDEN)
        assert (found.outcome, found.hosts) == (DnsOutcome.NULL_MX, ())
        assert "RFC 7505" in found.explanation

    run(scenario)


def test_a_null_mx_among_others_is_ignored(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, records(*mx("0 .", "10 a.example.")))
        found = await net.resolver.mail_hosts(GARDEN)
        assert (found.outcome, found.hosts) == (DnsOutcome.FOUND, (MxHost(10, "a.example"),))
        assert "'.' is ignored" in found.explanation

    run(scenario)


def test_an_address_in_place_of_an_mx_host_is_ignored_and_explained(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, records(*mx("0 192.0.2.1.", "10 a.example.")))
        found = await net.resolver.mail_hosts(GARDEN)
        assert found.hosts == (MxHost(10, "a.example"),)
        assert "192.0.2.1 is ignored, as it is an address" in found.explanation

    run(scenario)


def test_mx_of_which_none_is_usable_do_not_fall_back_to_the_address_of_the_domain(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, records(*mx("0 192.0.2.1.", r"10 a\032b.example.", "20 .")))
        net.server.has(f"{GARDEN} 60 A 192.0.2.1")
        found = await net.resolver.mail_hosts(GARDEN)
        assert (found.outcome, found.hosts) == (DnsOutcome.NOT_FOUND, ())
        assert found.explanation.startswith("garden.example has no usable mail exchanger: ")

    run(scenario)


def test_of_many_mx_the_best_20_are_used(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, records(*mx(*(f"{500 - i} mx{i}.example." for i in range(40)))))
        found = await net.resolver.mail_hosts(GARDEN)
        assert found.hosts == tuple(MxHost(500 - i, f"mx{i}.example") for i in range(39, 19, -1))
        assert "first 20 of 40" in found.explanation

    run(scenario)


def test_cnames_are_followed_within_an_answer_and_from_answer_to_answer(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, records(f"{GARDEN} 40 CNAME a.example.", *mx("5 m.example.", owner="a.example")))
        found = await net.resolver.mail_hosts(GARDEN)
        assert (found.hosts, found.expires) == ((MxHost(5, "m.example"),), net.clock.now + 40)
        net.server.on("A", "one.example", records("one.example 30 CNAME two.example."))
        net.server.on("A", "two.example", records("two.example 20 CNAME three.example."))
        net.server.has("three.example 90 A 192.0.2.3")
        addresses = await net.resolver.addresses("one.example")
        assert (addresses.addresses, addresses.outcome) == (("192.0.2.3",), DnsOutcome.FOUND)
        assert addresses.expires == net.clock.now + 20

    run(scenario)


@pytest.mark.parametrize(("length", "outcome"), [(16, DnsOutcome.FOUND), (17, DnsOutcome.TEMPORARY)])
def test_up_to_16_cnames_are_followed(run: Run, length: int, outcome: DnsOutcome) -> None:
    async def scenario(net: Net) -> None:
        for i in range(length):
            net.server.on("TXT", f"c{i}.example", records(f"c{i}.example 30 CNAME c{i + 1}.example."))
        net.server.has(f"c{length}.example 30 TXT end")
        assert (await net.resolver.txt("c0.example")).outcome is outcome

    run(scenario)


@pytest.mark.parametrize("together", [True, False])
def test_a_cname_loop_is_temporary_and_ends(run: Run, together: bool) -> None:
    async def scenario(net: Net) -> None:
        there, back = "a.example 30 CNAME b.example.", "b.example 30 CNAME a.example."
        net.server.on("MX", "a.example", records(there, back) if together else records(there))
        net.server.on("MX", "b.example", records(back))
        found = await net.resolver.mail_hosts("a.example")
        assert found.outcome is DnsOutcome.TEMPORARY
        assert found.explanation == "MX of a.example: its CNAMEs form a loop or are too many"
        assert len(net.server.asked) <= 3

    run(scenario)


def test_an_alias_of_a_name_that_does_not_exist_is_permanent(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, records(f"{GARDEN} 30 CNAME gone.example."))
        found = await net.resolver.mail_hosts(GARDEN)
        assert found.outcome is DnsOutcome.NOT_FOUND
        assert found.explanation == "gone.example, the CNAME target of garden.example, does not exist (NXDOMAIN)"

    run(scenario)


def test_an_alias_of_a_name_without_mx_has_an_implicit_host(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, records(f"{GARDEN} 30 CNAME web.example.", soa=60))
        net.server.on("A", GARDEN, records(f"{GARDEN} 30 CNAME web.example.", "web.example 30 A 192.0.2.8"))
        net.server.on("AAAA", GARDEN, nodata())
        assert (await net.resolver.mail_hosts(GARDEN)).hosts == (MxHost(0, GARDEN),)
        assert (await net.resolver.addresses(GARDEN)).addresses == ("192.0.2.8",)

    run(scenario)


def test_addresses_are_ipv4_then_ipv6(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("A", "mx.example", records("mx.example 50 A 192.0.2.9", "mx.example 50 A 192.0.2.1"))
        net.server.has("mx.example 40 AAAA 2001:DB8:0::1")
        found = await net.resolver.addresses("MX.example")
        assert set(found.addresses[:2]) == {"192.0.2.9", "192.0.2.1"}
        assert found.addresses[2:] == ("2001:db8::1",)
        assert found.expires == net.clock.now + 40

    run(scenario)


def test_one_family_is_enough_when_the_other_fails(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.has("mx.example 50 A 192.0.2.9")
        net.server.on("AAAA", "mx.example", failing(dns.rcode.SERVFAIL))
        found = await net.resolver.addresses("mx.example")
        assert (found.outcome, found.addresses) == (DnsOutcome.FOUND, ("192.0.2.9",))
        assert "AAAA of mx.example" in found.explanation
        assert found.expires == net.clock.now + 5

    run(scenario)


def test_a_host_without_addresses_is_permanent_and_with_a_failure_temporary(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("TXT", "bare.example", nodata())
        found = await net.resolver.addresses("bare.example")
        assert (found.outcome, found.addresses) == (DnsOutcome.NOT_FOUND, ())
        assert "no address" in found.explanation
        assert "NXDOMAIN" in (await net.resolver.addresses("gone.example")).explanation
        net.server.on("AAAA", "half.example", failing(dns.rcode.REFUSED))
        assert (await net.resolver.addresses("half.example")).outcome is DnsOutcome.TEMPORARY

    run(scenario)


@pytest.mark.parametrize("literal", ["192.0.2.1", "2001:db8::1"])
def test_an_address_is_its_own_address_without_a_question(run: Run, literal: str) -> None:
    async def scenario(net: Net) -> None:
        found = await net.resolver.addresses(literal)
        assert (found.outcome, found.addresses) == (DnsOutcome.FOUND, (literal,))
        assert net.server.asked == []

    run(scenario)


@pytest.mark.parametrize(
    "name", ["", ".", "a..example", "a b.example", "x" * 64 + ".example", "gärten.example", "a." * 128]
)
def test_what_is_no_name_is_permanent_without_a_question(run: Run, name: str) -> None:
    async def scenario(net: Net) -> None:
        for found in (
            await net.resolver.mail_hosts(name),
            await net.resolver.addresses(name),
            await net.resolver.txt(name),
        ):
            assert found.outcome is DnsOutcome.NOT_FOUND
            assert "not a domain name" in found.explanation
        assert net.server.asked == []

    run(scenario)


def test_the_strings_of_a_txt_record_are_joined(run: Run) -> None:
    async def scenario(net: Net) -> None:
        name = "s._domainkey.garden.example"
        net.server.on("TXT", name, records(f'{name} 60 TXT "v=DKIM1; " "p=abc"'))
        found = await net.resolver.txt(name)
        assert (found.outcome, found.texts) == (DnsOutcome.FOUND, (b"v=DKIM1; p=abc",))
        assert (await net.resolver.txt("none.example")).outcome is DnsOutcome.NOT_FOUND

    run(scenario)


@pytest.mark.parametrize(
    ("script", "part"),
    [
        (failing(dns.rcode.SERVFAIL), "answered SERVFAIL"),
        (failing(dns.rcode.REFUSED), "answered REFUSED"),
        (failing(dns.rcode.FORMERR), "answered FORMERR"),
        (failing(dns.rcode.NOTAUTH), "answered NOTAUTH"),
        (referral(), "not a recursive resolver"),
    ],
)
def test_a_server_that_does_not_answer_the_question_is_temporary(run: Run, script: Script, part: str) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, script)
        found = await net.resolver.mail_hosts(GARDEN)
        assert found.outcome is DnsOutcome.TEMPORARY
        assert found.explanation.startswith(f"no answer for MX of garden.example: DNS server {net.server.text} ")
        assert found.explanation.endswith(part)

    run(scenario)


def test_an_answer_together_with_nxdomain_is_temporary(run: Run) -> None:
    async def scenario(net: Net) -> None:
        def contradiction(query: dns.message.Message, tcp: bool) -> list[bytes]:
            message = dns.message.from_wire(records(*mx("5 m.example."))(query, tcp)[0])
            message.set_rcode(dns.rcode.NXDOMAIN)
            return [message.to_wire()]

        net.server.on("MX", GARDEN, contradiction)
        found = await net.resolver.mail_hosts(GARDEN)
        assert found.outcome is DnsOutcome.TEMPORARY
        assert "contradicts itself" in found.explanation

    run(scenario)


def test_silence_is_temporary_never_permanent(run: Run) -> None:
    async def scenario(net: Net) -> None:
        net.server.on("MX", GARDEN, silence())
        net.server.on("A", GARDEN, nxdomain())
        found = await net.resolver_of([net.server.text], timeout_seconds=0.06).mail_hosts(GARDEN)
        assert found.outcome is DnsOutcome.TEMPORARY
        assert found.explanation == (
            f"no answer for MX of garden.example: DNS server {net.server.text} did not answer within 0.02 s"
        )
        assert net.server.asked == ["MX garden.example"] * 3

    run(scenario)
