"""A sound set-up yields nothing; each thing that can be wrong yields its own finding."""

import re
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import dns.flags
import dns.rcode
import pytest
from msgspec.structs import replace

from bulkmail.config.load import load_campaign
from bulkmail.dkim.signing import load_keys
from bulkmail.dns.lookup import Lookup, Status
from bulkmail.dns.servers import parse_server
from bulkmail.doctor import examination, nameservers
from bulkmail.doctor.finding import Level
from bulkmail.doctor.lookups import Lookups
from bulkmail.doctor.relays import addresses_of
from bulkmail.doctor.scene import Scene
from bulkmail.doctor.signing import verified
from bulkmail.doctor.sources import greeting_findings
from bulkmail.engine.router import Unroutable
from bulkmail.net.tls import client_context
from bulkmail.sandbox.certificate import make_certificate, server_context
from tests.dkim.material import rsa_key
from tests.dns.server import failing, records
from tests.doctor.town import EHLO, MX, PTR, RELAY, SOURCE, Town, bad
from tests.engine.scene import run

Spoil = Callable[[Town], None]
REFUSED = failing(dns.rcode.SERVFAIL)


def findings_of(folder: Path, spoil: Spoil, recipient: str | None = None) -> dict[str, Level]:
    async def scene() -> dict[str, Level]:
        async with Town(folder) as town:
            spoil(town)
            return bad(await town.examine(recipient))

    return run(scene(), seconds=20)


def nothing(town: Town) -> None:
    pass


@pytest.mark.parametrize("spoil", [nothing, lambda town: town.relayed()], ids=["mx", "relay"])
def test_in_a_sound_set_up_nothing_is_found(tmp_path: Path, spoil: Spoil) -> None:
    assert findings_of(tmp_path, spoil) == {}


def test_the_sandbox_needs_nothing(tmp_path: Path) -> None:
    assert findings_of(tmp_path, lambda town: town.delivery.update(route="sandbox", sources=[])) == {}


def txt(name: str, *texts: str) -> Spoil:
    return lambda town: town.dns.on("TXT", name, records(*(f'{name} 60 TXT "{text}"' for text in texts)))


def has(*lines: str) -> Spoil:
    return lambda town: [town.dns.has(line) for line in lines]


def lacks(rdtype: str, name: str) -> Spoil:
    return lambda town: town.lacks(rdtype, name)


def silent(rdtype: str, name: str) -> Spoil:
    return lambda town: town.dns.on(rdtype, name, REFUSED)


def says(stage: str, reply: str) -> Spoil:
    def behave(town: Town) -> None:
        town.behaviour = lambda at, guest, argument: reply if at == stage else None

    return behave


def source(**keys: str) -> Spoil:
    return lambda town: town.delivery.update(sources=[{"address": SOURCE, "ehlo": EHLO, **keys}])


def in_clear(town: Town) -> None:
    town.tls = None


def distrusted(town: Town) -> None:
    town.dns.has("acme.example 60 MX 10 other.acme.example.")
    town.dns.has("other.acme.example 60 A 127.0.7.1")


def another_key(town: Town) -> None:
    from bulkmail.dkim.keys import SigningKey

    town.publish(SigningKey("acme.example", "s1", rsa_key(1024)).record)


def unsigned(town: Town) -> None:
    del town.changes["dkim"]


def foreign_return(town: Town) -> None:
    town.changes["return_path"] = "bounces@bounces.example"
    has("bounces.example 60 MX 10 mx.acme.example.", f'bounces.example 60 TXT "v=spf1 ip4:{SOURCE} -all"')(town)


def nothing_aligned(town: Town) -> None:
    foreign_return(town)
    del town.changes["dkim"]


def key_for_all_to_read(town: Town) -> None:
    (town.folder / "key.pem").write_text("no key")


def weak_key(town: Town) -> None:
    town._write_key(1024)
    town.publish(load_keys([town.key]).records()[0][1])


def two_records(town: Town) -> None:
    record = load_keys([town.key]).records()[0][1]
    name = "s1._domainkey.acme.example"
    lines = (f'{name} 60 TXT "{record[:200]}" "{record[200:]}"', f'{name} 60 TXT "v=DKIM1; p="')
    town.dns.on("TXT", name, records(*lines))


def over_udp_alone(town: Town) -> None:
    complete = records(". 60 SOA a. b. 1 2 3 4 5", flags=dns.flags.AD)
    town.dns.on("SOA", ".", lambda query, tcp: [] if tcp else complete(query, tcp))


def bounces_lost(town: Town) -> None:
    town.changes["return_path"] = "bounces@lost.acme.example"


def no_rows(town: Town) -> None:
    (town.folder / "body.txt").write_text("x")
    town.changes["subject"] = "Hello {{ nobody_has_this }}"


BROKEN: list[tuple[str, Spoil, Level]] = [
    ("dns.tcp", over_udp_alone, Level.PROBLEM),
    ("ipv4.absent", source(address="::1"), Level.PROBLEM),
    ("source.private", lambda town: town.delivery.update(allow_private_mx=False), Level.UNKNOWN),
    ("port25.unknown", silent("MX", "acme.example"), Level.UNKNOWN),
    ("from.unknown", silent("MX", "acme.example"), Level.UNKNOWN),
    ("return-path.no-mail", bounces_lost, Level.PROBLEM),
    ("dkim.weak", weak_key, Level.ADVICE),
    ("dkim.several", two_records, Level.ADVICE),
    ("dkim.key", key_for_all_to_read, Level.PROBLEM),
    ("campaign.sample", no_rows, Level.PROBLEM),
    ("dns.refuses", silent("SOA", "."), Level.PROBLEM),
    ("dns.validation", has(". 60 SOA a. b. 1 2 3 4 5"), Level.ADVICE),
    ("ptr.missing", lacks("PTR", PTR), Level.PROBLEM),
    ("ptr.unknown", silent("PTR", PTR), Level.UNKNOWN),
    ("ptr.unconfirmed", has(f"{PTR} 60 PTR elsewhere.example."), Level.PROBLEM),
    (
        "ptr.generic",
        has(f"{PTR} 60 PTR 127-0-6-1.isp.example.", f"127-0-6-1.isp.example 60 A {SOURCE}"),
        Level.ADVICE,
    ),
    ("ehlo.other-name", has(f"{PTR} 60 PTR out.acme.example.", f"out.acme.example 60 A {SOURCE}"), Level.ADVICE),
    ("ehlo.unresolved", lacks("A", EHLO), Level.PROBLEM),
    ("ehlo.unknown", silent("A", EHLO), Level.UNKNOWN),
    ("ehlo.elsewhere", has(f"{EHLO} 60 A 127.0.6.9"), Level.PROBLEM),
    ("source.absent", source(address="192.0.2.77"), Level.PROBLEM),
    ("spf.missing", lacks("TXT", "acme.example"), Level.PROBLEM),
    ("spf.fail", txt("acme.example", "v=spf1 ip4:192.0.2.1 -all"), Level.PROBLEM),
    ("spf.weak", txt("acme.example", "v=spf1 ip4:192.0.2.1 ~all"), Level.PROBLEM),
    ("spf.invalid", txt("acme.example", "v=spf1 ip4:nonsense -all"), Level.PROBLEM),
    ("spf.unknown", silent("TXT", "acme.example"), Level.UNKNOWN),
    (
        "spf.lookups",
        txt("acme.example", "v=spf1 " + "-mx " * 8 + f"a:{EHLO} -all"),
        Level.ADVICE,
    ),
    ("dmarc.missing", lacks("TXT", "_dmarc.acme.example"), Level.PROBLEM),
    ("dmarc.unknown", silent("TXT", "_dmarc.acme.example"), Level.UNKNOWN),
    ("dmarc.several", txt("_dmarc.acme.example", "v=DMARC1; p=none", "v=DMARC1; p=reject"), Level.PROBLEM),
    ("dmarc.invalid", txt("_dmarc.acme.example", "v=DMARC1; p=refuse; rua=mailto:a@acme.example"), Level.PROBLEM),
    ("dmarc.none", txt("_dmarc.acme.example", "v=DMARC1; p=none; rua=mailto:a@acme.example"), Level.ADVICE),
    ("dmarc.reports", txt("_dmarc.acme.example", "v=DMARC1; p=reject"), Level.ADVICE),
    ("dmarc.spf-unaligned", foreign_return, Level.ADVICE),
    ("dmarc.dkim-unaligned", unsigned, Level.PROBLEM),
    ("dmarc.unaligned", nothing_aligned, Level.PROBLEM),
    ("from.no-mail", has("acme.example 60 MX 0 ."), Level.PROBLEM),
    ("dkim.missing", unsigned, Level.PROBLEM),
    ("dkim.unpublished", lacks("TXT", "s1._domainkey.acme.example"), Level.PROBLEM),
    ("dkim.unknown", silent("TXT", "s1._domainkey.acme.example"), Level.UNKNOWN),
    ("dkim.published", another_key, Level.PROBLEM),
    ("exchanger.refuses", says("connect", "554 5.7.1 you are on a list"), Level.PROBLEM),
    ("port25.closed", has(f"{MX} 60 A 127.0.7.200"), Level.PROBLEM),
    ("tls.missing", in_clear, Level.ADVICE),
    ("tls.broken", says("starttls", "454 4.7.0 not now"), Level.ADVICE),
    ("tls.certificate", distrusted, Level.ADVICE),
]


@pytest.mark.parametrize(("expected", "spoil", "level"), BROKEN, ids=[id for id, _, _ in BROKEN])
def test_what_is_wrong_is_found(tmp_path: Path, expected: str, spoil: Spoil, level: Level) -> None:
    late = {"port25.closed"}  # the exchangers' addresses are set when they start

    async def scene() -> dict[str, Level]:
        async with Town(tmp_path) as town:
            if expected in late:
                start = town.start

                async def then_spoil() -> None:
                    await start()
                    spoil(town)

                town.start = then_spoil  # type: ignore[method-assign]
            else:
                spoil(town)
            return bad(await town.examine())

    found = run(scene(), seconds=20)
    assert found.get(expected) is level, found


def relay(extensions: tuple[str, ...] = ("AUTH PLAIN LOGIN",), **keys: object) -> Spoil:
    def spoil(town: Town) -> None:
        town.relayed(**keys)
        town.relay_extensions = extensions

    return spoil


def relay_says(stage: str, reply: str) -> Spoil:
    def spoil(town: Town) -> None:
        town.relayed()
        town.relay_behaviour = lambda at, guest, argument: reply if at == stage else None

    return spoil


def relay_in_clear(town: Town) -> None:
    town.relayed()
    town.tls = None


def empty_password(town: Town) -> None:
    town.relayed()
    (town.folder / "password").write_text("\n")


RELAYS: list[tuple[str, Spoil, Level]] = [
    ("relay.secret", empty_password, Level.PROBLEM),
    ("relay.unresolved", relay(host="nowhere.example"), Level.PROBLEM),
    ("relay.unreachable", relay(port=1), Level.PROBLEM),
    ("relay.greeting", relay_says("connect", "554 5.7.1 go away"), Level.PROBLEM),
    ("relay.starttls", relay_in_clear, Level.PROBLEM),
    ("relay.tls", relay_says("starttls", "454 4.7.0 not now"), Level.PROBLEM),
    ("relay.tls", relay(tls="implicit"), Level.PROBLEM),
    ("relay.auth-missing", relay(extensions=()), Level.PROBLEM),
    ("relay.mechanism", relay(auth="cram-md5"), Level.PROBLEM),
    ("relay.login-untried", relay(extensions=("AUTH SCRAM-SHA-256",)), Level.UNKNOWN),
    (
        "relay.login-untried",
        relay(extensions=("AUTH OAUTHBEARER",), password_file=None, token_command="echo token"),
        Level.UNKNOWN,
    ),
    ("relay.client-certificate", relay(certificate="password"), Level.PROBLEM),
    ("relay.login", relay_says("auth", "535 5.7.8 no"), Level.PROBLEM),
    ("relay.sender", relay_says("mail", "553 5.7.1 not yours"), Level.PROBLEM),
    ("relay.clear", relay(tls="none", username=None, password_file=None), Level.ADVICE),
]


@pytest.mark.parametrize(("expected", "spoil", "level"), RELAYS, ids=[f"{n}-{one[0]}" for n, one in enumerate(RELAYS)])
def test_what_is_wrong_with_a_relay_is_found(tmp_path: Path, expected: str, spoil: Spoil, level: Level) -> None:
    found = findings_of(tmp_path, spoil)
    assert found.get(expected) is level, found


def test_a_relay_whose_certificate_is_for_another_name_gets_no_password(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town(tmp_path) as town:
            town.relayed(host="other.example")
            town.dns.has("other.example 60 A 127.0.7.2")
            found = bad(await town.examine())
            assert found["relay.certificate"] is Level.PROBLEM
            commands = [command for guest in town.relay.guests for command in guest.commands]
            assert commands and not [command for command in commands if command.startswith("AUTH")]

    run(scene())


def own_roots(town: Town) -> None:
    pair = make_certificate([RELAY, MX], now_seconds=time.time())
    (town.folder / "own-roots.pem").write_bytes(pair[0])
    town.relayed()
    town.tls = server_context(*pair)
    town.changes["tls"] = {"authorities": "own-roots.pem"}


def unproved_without_login(town: Town) -> None:
    town.relayed(username=None, password_file=None)
    town.tls = server_context(*make_certificate(["other.example"], now_seconds=time.time()))


def asks_for_a_certificate(town: Town) -> None:
    certificate, key = make_certificate(["acme.example"], now_seconds=time.time())
    for name, content in (("client.pem", certificate), ("client.key", key)):
        (town.folder / name).touch(mode=0o600)
        (town.folder / name).write_bytes(content)
    town.relayed(certificate="client.pem", key="client.key")
    assert town.tls is not None
    town.tls.load_verify_locations(str(town.folder / "client.pem"))
    town.tls.verify_mode = ssl.CERT_REQUIRED


@pytest.mark.parametrize("spoil", [own_roots, unproved_without_login, asks_for_a_certificate])
def test_a_relay_that_the_engine_would_send_to_is_not_complained_of(tmp_path: Path, spoil: Spoil) -> None:
    found = findings_of(tmp_path, spoil)
    assert not [id for id in found if id.startswith("relay.")], found


def test_a_relay_is_looked_for_where_the_engine_looks(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town(tmp_path) as town:
            town.relayed(host="localhost", port=587)
            campaign = load_campaign(str(town.internet.campaign(town.folder, town.recipients, delivery=town.delivery)))
            lookups = Lookups((parse_server(town.dns.text, default_port=53, path=""),), timeout_seconds=2.0)
            scene = Scene(
                campaign=campaign, sources=(), lookups=lookups, certificates=client_context(verify=True), now=0.0
            )
            try:
                relay = campaign.delivery.relay[0]
                assert isinstance(await addresses_of(scene, campaign, relay), Unroutable)
                campaign = replace(campaign, dns=replace(campaign.dns, servers=()))
                assert "127.0.0.1" in await addresses_of(scene, campaign, relay)
            finally:
                await lookups.close()

    run(scene())


def test_a_password_that_the_relay_repeats_is_not_shown(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town(tmp_path) as town:
            relay_says("auth", "535 5.7.8 opensesame is wrong")(town)
            findings = await town.examine()
            assert "relay.login" in bad(findings)
            assert not [finding for finding in findings if "opensesame" in repr(finding)]

    run(scene())


def test_from_and_return_path_of_one_domain_are_told_once(tmp_path: Path) -> None:
    found = findings_of(tmp_path, has("acme.example 60 MX 0 ."))
    assert [id for id in found if id.endswith(".no-mail")] == ["from.no-mail"]


def test_a_slow_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nameservers, "SLOW_SECONDS", 0.0)
    assert findings_of(tmp_path, nothing) == {"dns.slow": Level.ADVICE}


def test_an_examination_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "EXAMINATION_SECONDS", 0.0)
    assert findings_of(tmp_path, nothing) == {"examination.timeout": Level.UNKNOWN}


def test_a_certificate_about_to_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkmail.doctor.relays.EXPIRES_SOON_SECONDS", 40 * 86400.0)
    assert findings_of(tmp_path, relay()) == {"relay.expires": Level.ADVICE}


def test_a_message_changed_after_signing_does_not_verify(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Town(tmp_path) as town:
            signer = load_keys([town.key])
            header, body = b"From: a@acme.example\r\nTo: b@c.example\r\n", b"Hello\r\n"
            signature = signer.sign(header, body, now=int(time.time()))
            ((name, record),) = signer.records()
            assert verified(signature + header + b"\r\n" + body, name, record, 0)
            assert not verified(signature + header + b"\r\n" + b"Bye\r\n", name, record, 0)
            assert not verified(signature + header + b"\r\n" + body, "other", record, 0)

    run(scene())


def test_every_finding_is_in_the_documentation() -> None:
    root = Path(__file__).parents[2]
    sources = [*(root / "bulkmail/doctor").glob("*.py"), root / "bulkmail/cli/doctor.py"]
    ids = {found for file in sources for found in re.findall(r'^\s*"([a-z0-9]+\.[a-z0-9-]+)",', file.read_text(), re.M)}
    ids |= {
        found
        for file in sources
        for found in re.findall(
            r'(?:problem|unknown|advice|fine|make|\))\(\s*"([a-z0-9-]+\.[a-z0-9-]+)"', file.read_text()
        )
    }
    documented = set(re.findall(r"`([a-z0-9-]+\.[a-z0-9-]+)`", (root / "docs/doctor.md").read_text()))
    assert len(ids) > 80
    assert ids <= documented, ids - documented
    composed = {"from.no-mail", "return-path.no-mail", "from.unknown", "return-path.unknown"}
    keys = {"dns.servers", "delivery.sources", "delivery.tls"}
    assert documented - ids <= composed | keys


def test_a_name_to_greet_with_is_a_full_one() -> None:
    (found,) = greeting_findings("192.0.2.1", "localhost", Lookup(status=Status.FOUND, records=("192.0.2.1",)))
    assert (found.id, found.level) == ("ehlo.name", Level.PROBLEM)
