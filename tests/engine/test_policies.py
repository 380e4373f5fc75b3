"""Mail to domains that protect it by MTA-STS or DANE: under proven TLS, or not at all; never in clear."""

import ssl
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import dns.flags
import dns.rcode
import pytest

from bulkmail.model.delivery import Event, Summary
from bulkmail.sandbox.certificate import Authority, server_context
from bulkmail.store.assurance import read_tls_sessions
from tests.dns.server import Script, failing, nodata, nxdomain, records
from tests.engine.exchanger import Exchanger
from tests.engine.scene import Internet, addresses, run, send
from tests.http.server import HttpsServer, says

DOMAIN, HOST = "shop.example", "mx.shop.example"
URL = f"mta-sts.{DOMAIN}/.well-known/mta-sts.txt"
TLSA = f"_25._tcp.{HOST}"
AD = dns.flags.AD


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(now_seconds=time.time())


class Town:
    """One domain, its exchanger, its web server, and campaigns to it."""

    def __init__(self, folder: Path, internet: Internet, web: HttpsServer, authority: Authority) -> None:
        self.folder, self.internet, self.web = folder, internet, web
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(authority.certificate)
        self.mx: Exchanger
        self._count = 0

    async def exchanger(self, context: ssl.SSLContext | None, behaviour: Any = lambda *_: None) -> Exchanger:
        self.mx = await self.internet.exchanger(HOST, behaviour, DOMAIN, tls_context=context)
        return self.mx

    def publish(self, mode: str, *mx: str, identity: str = "1") -> None:
        """An MTA-STS policy."""
        lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in mx), "max_age: 86400"]
        self.web.scripts[URL] = says("\n".join(lines).encode())
        self.internet.dns.has(f'_mta-sts.{DOMAIN} 300 TXT "v=STSv1; id={identity};"')
        self.internet.dns.has(f"mta-sts.{DOMAIN} 300 A {self.web.address}")

    def sign(self, *tlsa: str) -> None:
        """DNSSEC over MX and addresses, and TLSA records with it."""
        server = self.internet.dns
        server.on("MX", DOMAIN, records(f"{DOMAIN} 300 MX 10 {HOST}.", flags=AD))
        server.on("A", HOST, records(f"{HOST} 300 A {self.mx.address}", flags=AD))
        server.on("AAAA", HOST, records(flags=AD))
        if tlsa:
            name = f"_{self.internet.port}._tcp.{HOST}"
            server.on("TLSA", name, records(*(f"{name} 300 TLSA {one}" for one in tlsa), flags=AD))

    async def send(self, count: int = 5, *, to: list[str] | None = None, **changes: Any) -> tuple[Summary, list[Event]]:
        self._count += 1
        changes = {"delivery": {"expire": "1s", "retry": ["300ms"]}, **changes}
        campaign = self.internet.campaign(
            self.folder / str(self._count),
            to or addresses(count, DOMAIN),
            campaign=f"trial-{self._count}",
            tls={"mta_sts_port": self.web.port, "authorities": str(self.roots), **changes.pop("tls", {})},
            dns={"servers": [self.internet.dns.text], "timeout": "1s", "validating": "loopback"},
            **changes,
        )
        return await send(campaign, self.folder / "state")

    def nothing_came_in_clear(self) -> None:
        assert not any(
            line.startswith("MAIL") for guest in self.mx.guests if not guest.encrypted for line in guest.commands
        )


def play(folder: Path, authority: Authority, main: Callable[[Town], Awaitable[None]]) -> None:
    async def scene() -> None:
        context = server_context(*authority.issue([f"mta-sts.{DOMAIN}"]))
        async with Internet() as internet, HttpsServer(context) as web:
            await main(Town(folder, internet, web, authority))

    run(scene(), seconds=20)


def proofs(events: list[Event]) -> set[str]:
    """The last words of `tls` in the events of deliveries."""
    return {(event.tls or "clear").split()[-1] for event in events if event.disposition == "delivered"}


def lane_words(events: list[Event]) -> str:
    return " ".join(event.reply or "" for event in events if event.event == "lane")


def test_under_an_enforced_policy_mail_goes_where_the_certificate_is_good(tmp_path: Path, authority: Authority) -> None:
    async def main(town: Town) -> None:
        await town.exchanger(server_context(*authority.issue([HOST])))
        town.publish("enforce", "*.shop.example")
        summary, events = await town.send(20)
        assert summary.delivered == 20
        assert proofs(events) == {"sts"}
        assert all(guest.encrypted for guest in town.mx.guests)
        [row] = read_tls_sessions(tmp_path / "state")
        assert (row.domain, row.policy_type, row.result) == (DOMAIN, "sts", "")
        assert row.policy == "version: STSv1\nmode: enforce\nmx: *.shop.example"
        assert row.sessions == len(town.mx.guests)

    play(tmp_path, authority, main)


@pytest.mark.parametrize(
    ("certificate", "result"),
    [
        (lambda authority: authority.issue(["www.shop.example"]), "certificate-host-mismatch"),
        (lambda authority: authority.issue([HOST], days=-1), "certificate-expired"),
        (lambda _: Authority(now_seconds=time.time()).issue([HOST]), "certificate-not-trusted"),
        (None, "starttls-not-supported"),
    ],
    ids=["another name", "expired", "a stranger's", "no TLS at all"],
)
def test_under_an_enforced_policy_mail_waits_where_it_is_not(
    tmp_path: Path, authority: Authority, certificate: Any, result: str
) -> None:
    async def main(town: Town) -> None:
        await town.exchanger(server_context(*certificate(authority)) if certificate else None)
        town.publish("enforce", HOST)
        summary, _events = await town.send()
        # Given up in the end, for the campaign's time is short; but not refused for good.
        assert (summary.delivered, summary.bounced, summary.expired) == (0, 0, 5)
        assert not town.mx.accepted
        town.nothing_came_in_clear()
        assert {row.result for row in read_tls_sessions(tmp_path / "state")} == {result}

    play(tmp_path, authority, main)


def test_under_a_policy_in_testing_mail_goes_anyway_and_the_failure_is_counted(
    tmp_path: Path, authority: Authority
) -> None:
    async def main(town: Town) -> None:
        await town.exchanger(server_context(*authority.issue(["www.shop.example"])))
        town.publish("testing", HOST)
        summary, events = await town.send(20)
        assert summary.delivered == 20
        assert {event.tls.split()[-1] for event in events if event.tls} == {"TLS_AES_256_GCM_SHA384"}
        [row] = read_tls_sessions(tmp_path / "state")
        assert (row.result, row.host) == ("certificate-host-mismatch", HOST)

    play(tmp_path, authority, main)


@pytest.mark.parametrize("mx", [(HOST,), ("elsewhere.example",)], ids=["good", "other hosts"])
def test_a_policy_in_testing_asks_for_proof_where_it_can_be_had(
    tmp_path: Path, authority: Authority, mx: tuple[str, ...]
) -> None:
    async def main(town: Town) -> None:
        await town.exchanger(server_context(*authority.issue([HOST])))
        town.publish("testing", *mx)
        summary, events = await town.send()
        assert summary.delivered == 5
        assert proofs(events) == {"sts"}
        results = {row.result for row in read_tls_sessions(tmp_path / "state")}
        assert results == ({""} if mx == (HOST,) else {"validation-failure"})

    play(tmp_path, authority, main)


def test_hosts_outside_the_policy_are_passed_over(tmp_path: Path, authority: Authority) -> None:
    async def main(town: Town) -> None:
        context = server_context(*authority.issue([HOST, "evil.example"]))
        await town.exchanger(context)
        evil = await town.internet.exchanger("evil.example", lambda *_: None, tls_context=context)
        town.internet.dns.on("MX", DOMAIN, records(f"{DOMAIN} 300 MX 5 evil.example.", f"{DOMAIN} 300 MX 10 {HOST}."))
        town.publish("enforce", HOST)
        summary, _ = await town.send()
        assert summary.delivered == 5
        assert len(town.mx.accepted) == 5
        assert not evil.guests

    play(tmp_path, authority, main)


def test_where_no_host_is_in_the_policy_mail_waits(tmp_path: Path, authority: Authority) -> None:
    async def main(town: Town) -> None:
        await town.exchanger(server_context(*authority.issue([HOST])))
        town.publish("enforce", "mx.elsewhere.example")
        summary, events = await town.send()
        assert (summary.delivered, summary.bounced, summary.expired) == (0, 0, 5)
        assert not town.mx.guests
        assert "none of the hosts" in lane_words(events)

    play(tmp_path, authority, main)


@pytest.mark.parametrize(
    ("txt", "page"),
    [
        (nxdomain(), None),
        (nodata(), None),
        (failing(dns.rcode.SERVFAIL), None),
        (None, says(b"", status="302 Found", location="https://evil.example/")),
        (None, says(b"version: STSv1\nmode: none\nmax_age: 1", kind="text/html")),
        (None, says(b"v" * 70000)),
    ],
    ids=["TXT gone", "TXT emptied", "TXT fails", "redirect", "another type", "too long"],
)
def test_a_kept_policy_keeps_mail_from_a_host_in_between(
    tmp_path: Path, authority: Authority, txt: Script | None, page: Any
) -> None:
    """The classic attack: the announcement or the page is taken away, and STARTTLS with it. T10."""

    async def main(town: Town) -> None:
        await town.exchanger(server_context(*authority.issue([HOST])))
        town.publish("enforce", HOST)
        assert (await town.send())[0].delivered == 5
        honest = town.mx
        town.mx = await town.internet.exchanger("mx2.shop.example")
        town.internet.dns.has(f"{HOST} 300 A {town.mx.address}")
        town.publish("enforce", HOST, identity="2")
        if txt is not None:
            town.internet.dns.on("TXT", f"_mta-sts.{DOMAIN}", txt)
        if page is not None:
            town.web.scripts[URL] = page
        summary, _ = await town.send()
        assert (summary.delivered, summary.expired) == (0, 5)
        assert len(honest.accepted) == 5
        assert town.mx.guests and not town.mx.accepted
        town.nothing_came_in_clear()

    play(tmp_path, authority, main)


def test_a_policy_that_was_announced_and_never_had_still_rules_out_clear_text(
    tmp_path: Path, authority: Authority
) -> None:
    async def main(town: Town) -> None:
        await town.exchanger(None)
        town.publish("enforce", HOST)
        town.web.scripts[URL] = says(b"", status="302 Found", location="https://evil.example/")
        summary, _ = await town.send()
        assert summary.expired == 5
        town.nothing_came_in_clear()

    play(tmp_path, authority, main)


def test_a_host_that_meets_its_tlsa_records_needs_no_other_certificate(tmp_path: Path, authority: Authority) -> None:
    async def main(town: Town) -> None:
        stranger = Authority(now_seconds=time.time())
        # Expired, of another name, vouched for by nobody: RFC 7672 §3.1.1 has it that only the key counts.
        await town.exchanger(server_context(*stranger.issue(["other.example"], days=-1)))
        town.sign(f"3 1 1 {stranger.key_digest.hex()}")
        summary, events = await town.send(20)
        assert summary.delivered == 20
        assert proofs(events) == {"dane"}
        assert {row.policy_type for row in read_tls_sessions(tmp_path / "state")} == {"tlsa"}

    play(tmp_path, authority, main)


def test_a_trust_anchor_in_the_dns_vouches_for_the_right_name_only(tmp_path: Path, authority: Authority) -> None:
    async def main(town: Town) -> None:
        stranger = Authority(now_seconds=time.time())
        anchor = sha256(ssl.PEM_cert_to_DER_cert(stranger.certificate.decode())).hexdigest()
        await town.exchanger(server_context(*stranger.issue([HOST])))
        town.sign(f"2 0 1 {anchor}")
        summary, events = await town.send()
        assert (summary.delivered, proofs(events)) == (5, {"dane"})
        town.mx = await town.internet.exchanger("b.example", tls_context=server_context(*stranger.issue(["b.example"])))
        town.sign(f"2 0 1 {anchor}")
        summary, events = await town.send()
        assert (summary.delivered, summary.expired) == (0, 5)
        assert not town.mx.accepted

    play(tmp_path, authority, main)


def test_under_a_trust_anchor_a_certificate_for_the_domain_is_good_for_that_domain_alone(
    tmp_path: Path, authority: Authority
) -> None:
    async def main(town: Town) -> None:
        stranger = Authority(now_seconds=time.time())
        anchor = sha256(ssl.PEM_cert_to_DER_cert(stranger.certificate.decode())).hexdigest()
        # RFC 7672 §3.2.2: the recipient's domain, and what it is an alias of, are names to look for too.
        await town.exchanger(server_context(*stranger.issue([DOMAIN, "real.alias.example"])))
        town.sign(f"2 0 1 {anchor}")
        server = town.internet.dns
        server.on("MX", "other.example", records(f"other.example 300 MX 10 {HOST}.", flags=AD))
        server.on("MX", "unsigned.example", records(f"unsigned.example 300 MX 10 {HOST}."))
        alias, end = "alias.example 300 CNAME real.alias.example.", f"real.alias.example 300 MX 10 {HOST}."
        server.on("MX", "alias.example", records(alias, end, flags=AD))
        several = [f"r{number}@{domain}" for number in range(5) for domain in (DOMAIN, "alias.example")]
        strangers = [f"r{number}@other.example" for number in range(5)]
        summary, events = await town.send(to=several + strangers)
        assert (summary.delivered, summary.expired, proofs(events)) == (10, 5, {"dane"})
        delivered = {event.recipient for event in events if event.disposition == "delivered"}
        assert delivered == set(several)
        assert not any("other.example" in line for guest in town.mx.guests for line in guest.commands)
        # Where nobody proves that this is the domain's host, no TLSA record is looked for.
        summary, events = await town.send(to=["r@unsigned.example"])
        assert (summary.delivered, proofs(events)) == (1, {"TLS_AES_256_GCM_SHA384"})

    play(tmp_path, authority, main)


@pytest.mark.parametrize("tls", [True, False], ids=["another key", "no TLS"])
def test_a_host_that_does_not_meet_them_gets_nothing(tmp_path: Path, authority: Authority, tls: bool) -> None:
    async def main(town: Town) -> None:
        await town.exchanger(server_context(*authority.issue([HOST])) if tls else None)
        town.sign(f"3 1 1 {sha256(b'another key').hexdigest()}")
        # MTA-STS would be content, and has no say (RFC 8461 §2).
        town.publish("enforce", HOST)
        summary, _events = await town.send()
        assert (summary.delivered, summary.bounced, summary.expired) == (0, 0, 5)
        assert not town.mx.accepted
        town.nothing_came_in_clear()
        results = {row.result for row in read_tls_sessions(tmp_path / "state")}
        assert results == {"validation-failure" if tls else "starttls-not-supported"}

    play(tmp_path, authority, main)


def test_a_host_whose_tlsa_records_cannot_be_had_gets_nothing(tmp_path: Path, authority: Authority) -> None:
    """A validating resolver says SERVFAIL of what is signed and forged, and of what is kept from it: T10."""

    async def main(town: Town) -> None:
        await town.exchanger(None)
        town.sign()
        town.internet.dns.on("TLSA", f"_{town.internet.port}._tcp.{HOST}", failing(dns.rcode.SERVFAIL))
        summary, events = await town.send()
        assert (summary.delivered, summary.bounced, summary.expired) == (0, 0, 5)
        assert not town.mx.guests
        assert "SERVFAIL" in lane_words(events)
        assert {row.result for row in read_tls_sessions(tmp_path / "state")} == {"dnssec-invalid"}

    play(tmp_path, authority, main)


def test_records_that_nobody_can_use_still_demand_tls(tmp_path: Path, authority: Authority) -> None:
    async def main(town: Town) -> None:
        await town.exchanger(None)
        town.sign("1 0 1 " + "00" * 32, "3 1 9 00")
        assert (await town.send())[0].expired == 5
        town.nothing_came_in_clear()
        town.mx = await town.internet.exchanger(
            "b.example", tls_context=server_context(*authority.issue(["b.example"]))
        )
        town.sign("1 0 1 " + "00" * 32, "3 1 9 00")
        summary, events = await town.send()
        assert summary.delivered == 5
        assert proofs(events) == {"TLS_AES_256_GCM_SHA384"}

    play(tmp_path, authority, main)


@pytest.mark.parametrize("base", ["real.shop.example", HOST])
def test_records_stand_at_the_end_of_the_aliases_or_at_the_name_itself(
    tmp_path: Path, authority: Authority, base: str
) -> None:
    async def main(town: Town) -> None:
        # RFC 7672 §2.2.2; the certificate is for the name that is asked for, where the records stand.
        await town.exchanger(server_context(*authority.issue([base])))
        town.sign()
        server = town.internet.dns
        anchor = sha256(ssl.PEM_cert_to_DER_cert(authority.certificate.decode())).hexdigest()
        alias, end = f"{HOST} 300 CNAME real.shop.example.", f"real.shop.example 300 A {town.mx.address}"
        server.on("A", HOST, records(alias, end, flags=AD))
        server.on("AAAA", HOST, records(alias, flags=AD, soa=60))
        name = f"_{town.internet.port}._tcp.{base}"
        server.on("TLSA", name, records(f"{name} 300 TLSA 2 0 1 {anchor}", flags=AD))
        summary, events = await town.send()
        assert (summary.delivered, proofs(events)) == (5, {"dane"})

    play(tmp_path, authority, main)


@pytest.mark.parametrize("unsigned", ["MX", "A", "TLSA"])
def test_what_dnssec_does_not_prove_is_not_believed(tmp_path: Path, authority: Authority, unsigned: str) -> None:
    async def main(town: Town) -> None:
        await town.exchanger(server_context(*authority.issue([HOST])))
        wrong = f"3 1 1 {sha256(b'another key').hexdigest()}"
        town.sign(wrong)
        server, name = town.internet.dns, f"_{town.internet.port}._tcp.{HOST}"
        line = {"MX": f"{DOMAIN} 300 MX 10 {HOST}.", "A": f"{HOST} 300 A {town.mx.address}"}.get(
            unsigned, f"{name} 300 TLSA {wrong}"
        )
        server.has(line)
        summary, _events = await town.send()
        assert summary.delivered == 5
        assert (f"TLSA {name}" in server.asked) == (unsigned == "TLSA")

    play(tmp_path, authority, main)


def test_the_word_of_the_campaign_counts_by_domain_and_by_host(tmp_path: Path, authority: Authority) -> None:
    async def main(town: Town) -> None:
        await town.exchanger(server_context(*authority.issue(["other.example"])))
        assert (await town.send())[0].delivered == 5
        assert (await town.send(tls={"sites": {"*.shop.example": "verified"}}))[0].expired == 5
        assert (await town.send(tls={"domains": {DOMAIN: "verified"}}))[0].expired == 5
        both = {"domains": {DOMAIN: "opportunistic"}, "sites": {HOST: "verified"}}
        assert (await town.send(tls=both))[0].delivered == 5
        summary, events = await town.send(tls={"domains": {DOMAIN: "none"}})
        assert (summary.delivered, proofs(events)) == (5, {"clear"})

    play(tmp_path, authority, main)


def test_a_second_connection_resumes_the_session_of_the_first(tmp_path: Path, authority: Authority) -> None:
    async def main(town: Town) -> None:
        context = server_context(*authority.issue([HOST]))
        await town.exchanger(context)
        town.publish("enforce", HOST)
        limits = {"default": {"connections": 1, "messages_per_connection": 5}}
        assert (await town.send(20, limits=limits))[0].delivered == 20
        statistics = context.session_stats()
        assert statistics["accept_good"] == len(town.mx.guests) == 4
        assert statistics["hits"] == 3

    play(tmp_path, authority, main)


def test_a_server_of_old_tls_alone_gets_mail_in_clear_or_none(tmp_path: Path, authority: Authority) -> None:
    async def main(town: Town) -> None:
        context = server_context(*authority.issue([HOST]))
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        await town.exchanger(context)
        summary, events = await town.send(delivery={"tls": "required", "expire": "1s", "retry": ["300ms"]})
        assert summary.expired == 5
        assert not town.mx.accepted
        summary, events = await town.send()
        assert (summary.delivered, proofs(events)) == (5, {"clear"})

    play(tmp_path, authority, main)
