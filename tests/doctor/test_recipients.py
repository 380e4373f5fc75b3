"""One recipient: what is known of the way there, and what stands in it."""

from pathlib import Path

import dns.rcode
import pytest

from bulkmail.doctor import policies
from bulkmail.doctor.finding import Finding, Level
from bulkmail.sandbox.certificate import server_context
from bulkmail.store.suppressions import Suppression, Suppressions
from tests.dns.server import failing
from tests.doctor.test_campaigns import Spoil, has, lacks, nothing, says, silent
from tests.doctor.town import MX, Town, bad, pair
from tests.engine.scene import run
from tests.http.server import HttpsServer
from tests.http.server import says as answers

SOMEONE = "someone@acme.example"


def look(folder: Path, spoil: Spoil, **options: object) -> list[Finding]:
    async def scene() -> list[Finding]:
        async with Town(folder) as town:
            spoil(town)
            town.options |= options
            findings = await town.examine(SOMEONE)
            assert not accepted_by(town)
            return findings

    return run(scene(), seconds=20)


def accepted_by(town: Town) -> list[str]:
    """Messages that arrived: the doctor sends none."""
    return [recipient for exchanger in town.internet._exchangers for recipient in exchanger.recipients]


def test_a_recipient_who_can_be_reached_yields_site_and_addresses(tmp_path: Path) -> None:
    findings = look(
        tmp_path,
        has(
            f"_25._tcp.{MX} 60 TLSA 3 1 1 " + "ab" * 32,
        ),
    )
    assert bad(findings) == {}
    said = {finding.id: f"{finding.what} {finding.evidence}" for finding in findings}
    assert "mx.acme.example" in said["recipient.site"]
    assert "127.0.7.1" in said["exchanger.addresses"]
    assert "sts.none" in said
    assert "3 1 1 abab" in said["tlsa.found"]
    assert "TLSv1.3" in said["exchanger.answers"]
    assert "rcpt.accepted" not in said


BROKEN: list[tuple[str, Spoil, Level]] = [
    ("recipient.null-mx", has("acme.example 60 MX 0 ."), Level.PROBLEM),
    ("recipient.no-domain", lacks("MX", "acme.example"), Level.PROBLEM),
    ("recipient.unknown", silent("MX", "acme.example"), Level.UNKNOWN),
    ("sts.unknown", silent("TXT", "_mta-sts.acme.example"), Level.UNKNOWN),
    ("tlsa.unknown", silent("TLSA", f"_25._tcp.{MX}"), Level.UNKNOWN),
    ("exchanger.unresolved", has("acme.example 60 MX 10 nowhere.example."), Level.PROBLEM),
    ("exchanger.unreached", has("acme.example 60 MX 10 nowhere.example."), Level.UNKNOWN),
    ("exchanger.forbidden", lambda town: town.delivery.update(allow_private_mx=False), Level.PROBLEM),
    ("exchanger.refuses", says("connect", "554 5.7.1 no"), Level.PROBLEM),
]


@pytest.mark.parametrize(("expected", "spoil", "level"), BROKEN, ids=[id for id, _, _ in BROKEN])
def test_what_stands_in_the_way_is_found(tmp_path: Path, expected: str, spoil: Spoil, level: Level) -> None:
    found = bad(look(tmp_path, spoil))
    assert found.get(expected) is level, found


@pytest.mark.parametrize(
    ("expected", "spoil", "level"),
    [
        ("rcpt.accepted", nothing, Level.FINE),
        ("rcpt.refused", says("rcpt", "550 5.1.1 nobody here"), Level.PROBLEM),
        ("rcpt.later", says("rcpt", "451 4.7.1 greylisted"), Level.UNKNOWN),
        ("rcpt.unknown", says("mail", "!close"), Level.UNKNOWN),
    ],
)
def test_the_mailbox_is_asked_for_only_on_demand(tmp_path: Path, expected: str, spoil: Spoil, level: Level) -> None:
    findings = look(tmp_path, spoil, rcpt_probe=True)
    assert [finding.level for finding in findings if finding.id == expected] == [level], findings


@pytest.mark.parametrize(
    ("tls", "level"),
    [
        ({}, Level.ADVICE),
        ({"domains": {"acme.example": "required"}}, Level.PROBLEM),
        ({"domains": {"other.example": "required"}}, Level.ADVICE),
        ({"sites": {"*.acme.example": "verified"}}, Level.PROBLEM),
        ({"sites": {"*.acme.example": "verified"}, "domains": {"acme.example": "opportunistic"}}, Level.ADVICE),
    ],
)
def test_what_the_campaign_asks_of_a_place_decides_what_is_wrong_with_it(
    tmp_path: Path, tls: dict[str, object], level: Level
) -> None:
    def spoil(town: Town) -> None:
        town.tls = None
        town.changes["tls"] = tls

    assert bad(look(tmp_path, spoil)).get("tls.missing") is level


def test_a_suppressed_recipient_is_said_to_be_so(tmp_path: Path) -> None:
    with Suppressions.open(tmp_path / "state") as suppressions:
        suppressions.add(Suppression(key=SOMEONE, address=SOMEONE, reason="complained", source="test", time=1.0))
    (finding,) = [one for one in look(tmp_path, nothing) if one.id == "recipient.suppressed"]
    assert finding.level is Level.PROBLEM and "complained" in finding.evidence


LISTED = "1.6.0.127.bad.example"


def block_list(town: Town) -> None:
    has("2.0.0.127.bad.example 60 A 127.0.0.2")(town)


@pytest.mark.parametrize(
    ("expected", "lines", "level"),
    [
        ("list.clean", [], Level.FINE),
        ("list.listed", [f"{LISTED} 60 A 127.0.0.2"], Level.PROBLEM),
        ("list.unknown", [f"{LISTED} 60 A 127.255.255.255"], Level.UNKNOWN),
        ("list.unusable", ["2.0.0.127.bad.example 60 A 127.255.255.254"], Level.UNKNOWN),
        ("list.unusable", ["1.0.0.127.bad.example 60 A 127.0.0.2"], Level.UNKNOWN),
    ],
)
def test_block_lists_are_believed_only_if_they_pass_their_own_test(
    tmp_path: Path, expected: str, lines: list[str], level: Level
) -> None:
    def spoil(town: Town) -> None:
        block_list(town)
        has(*lines)(town)

    findings = look(tmp_path, spoil, zones=("bad.example",))
    assert [finding.level for finding in findings if finding.id == expected] == [level], findings


def test_a_list_that_is_gone_is_not_taken_for_a_clean_bill(tmp_path: Path) -> None:
    assert bad(look(tmp_path, nothing, zones=("gone.example",))) == {"list.unusable": Level.UNKNOWN}
    spoil = lambda town: town.dns.on("A", "2.0.0.127.gone.example", failing(dns.rcode.REFUSED))  # noqa: E731
    assert bad(look(tmp_path, spoil, zones=("gone.example",))) == {"list.unusable": Level.UNKNOWN}


def test_mail_that_goes_by_a_relay_is_examined_at_the_relay(tmp_path: Path) -> None:
    findings = look(tmp_path, lambda town: town.relayed())
    assert bad(findings) == {}
    said = {finding.id: finding.evidence for finding in findings}
    assert "relay.example" in said["recipient.routed"] and "relay.ready" in said and "recipient.site" not in said


@pytest.mark.parametrize(
    ("expected", "body", "level"),
    [
        ("sts.policy", "version: STSv1\nmode: enforce\nmx: *.acme.example\nmax_age: 86400\n", Level.FINE),
        ("sts.barred", "version: STSv1\nmode: enforce\nmx: mx.other.example\nmax_age: 86400\n", Level.PROBLEM),
        ("sts.policy", "version: STSv1\nmode: testing\nmx: mx.other.example\nmax_age: 86400\n", Level.FINE),
        ("sts.unfetched", "no policy", Level.UNKNOWN),
    ],
)
def test_an_announced_policy_is_fetched_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: str, body: str, level: Level
) -> None:
    async def scene() -> list[Finding]:
        async with Town(tmp_path) as town, HttpsServer(server_context(*pair())) as web:
            web.scripts["mta-sts.acme.example/.well-known/mta-sts.txt"] = answers(body.encode())
            monkeypatch.setattr(policies, "HTTPS_PORT", web.port)
            has('_mta-sts.acme.example 60 TXT "v=STSv1; id=20260101"', "mta-sts.acme.example 60 A 127.0.0.1")(town)
            return await town.examine(SOMEONE)

    findings = run(scene())
    assert "sts.announced" in {finding.id for finding in findings}
    assert [finding.level for finding in findings if finding.id == expected] == [level], findings
