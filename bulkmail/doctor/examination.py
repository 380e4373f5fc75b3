"""The rounds of examinations: of a machine, of a campaign, of one recipient; side by side, each within its time."""

import asyncio
from collections.abc import Awaitable, Sequence
from pathlib import Path

from msgspec import Struct

from bulkmail.address import parse_address, parse_mailbox, wire_address
from bulkmail.dkim.signing import Signer
from bulkmail.doctor.exchangers import examine_exchangers
from bulkmail.doctor.finding import Finding, advice, fine, unknown
from bulkmail.doctor.machine import examine_machine, look_at_machine
from bulkmail.doctor.nameservers import examine_nameservers
from bulkmail.doctor.recipient import examine_recipient, suppression_finding
from bulkmail.doctor.relays import examine_relays
from bulkmail.doctor.reputation import BlockList, examine_reputation
from bulkmail.doctor.scene import Scene
from bulkmail.doctor.sender import Identity, examine_sender
from bulkmail.doctor.signing import examine_signing
from bulkmail.doctor.sources import examine_sources, public_addresses
from bulkmail.engine.ways import Way, Ways
from bulkmail.model.campaign import Campaign

EXAMINATION_SECONDS = 30.0


class Wishes(Struct, frozen=True, kw_only=True):
    """What is asked for beyond the usual: block lists, hosts to try port 25 with, a probe of RCPT."""

    lists: tuple[BlockList, ...] = ()
    probes: tuple[str, ...] = ()
    rcpt_probe: bool = False


def machine_findings(directory: Path | None, *, now: float) -> list[Finding]:
    """The machine and the state directory; nothing is written and nobody asked."""
    return examine_machine(look_at_machine(directory, now=now))


async def examine_network(scene: Scene, wishes: Wishes) -> list[Finding]:
    """Without a campaign: DNS, this machine's addresses, port 25 to the hosts named."""
    findings = await _nameservers(scene)
    if _dead(findings):
        return findings
    rounds: dict[str, Awaitable[list[Finding]]] = {"sources": examine_sources(scene), **_lists(scene, wishes, ())}
    if wishes.probes:
        rounds["port25"] = examine_exchangers(scene, wishes.probes)
    else:
        findings.append(
            advice(
                "port25.untried",
                "whether port 25 is open was not tried",
                "no campaign and no --probe",
                remedy="name a domain whose exchangers may be greeted: bulkmail doctor --probe example.org",
            )
        )
    return findings + await _together(**rounds)


async def examine_campaign(
    scene: Scene, campaign: Campaign, signer: Signer, sample: bytes | None, wishes: Wishes
) -> list[Finding]:
    """All that this campaign needs. In the sandbox it needs nothing of the world outside."""
    if campaign.delivery.route == "sandbox":
        return [
            fine("campaign.sandbox", "the campaign is sent in the sandbox, which needs nothing else (delivery.route)")
        ]
    findings = await _nameservers(scene)
    if _dead(findings):
        return findings
    who = identity_of(campaign, signer)
    relayed = campaign.delivery.route == "relay"
    rounds: dict[str, Awaitable[list[Finding]]] = {
        "relays": examine_relays(scene, campaign, who.sender),
        "sender": examine_sender(scene, who, relayed=relayed),
        "signing": examine_signing(scene, signer, sample),
        **_lists(scene, wishes, (who.author, *(one for one in (who.bounce_domain,) if one != who.author))),
    }
    if not relayed:
        rounds["sources"] = examine_sources(scene)
    if not relayed or wishes.probes:
        usual = tuple(dict.fromkeys((who.author, who.bounce_domain)))
        rounds["port25"] = examine_exchangers(scene, wishes.probes or usual)
    return findings + await _together(**rounds)


async def examine_one(
    scene: Scene, address: str, wishes: Wishes, *, suppressed: str | None, sender: str
) -> list[Finding]:
    """What stands between us and one recipient; `address` in wire form."""
    findings = await _nameservers(scene)
    if _dead(findings):
        return findings
    domain = address.rpartition("@")[2]
    rounds = _lists(scene, wishes, (domain,))
    ways = Ways(scene.campaign.delivery).of(domain) if scene.campaign is not None else None
    if scene.campaign is not None and ways is not None:
        findings += [suppression_finding(address, suppressed), _routed(domain, ways)]
        rounds["relays"] = examine_relays(scene, scene.campaign, sender)
    else:
        rounds["recipient"] = examine_recipient(
            scene, address, suppressed=suppressed, sender=sender, probe_recipient=wishes.rcpt_probe
        )
    return findings + await _together(**rounds)


def _routed(domain: str, ways: tuple[Way, ...]) -> Finding:
    hosts = ", ".join(host for way in ways for _, host in way.site.hosts)
    return fine("recipient.routed", f"mail to {domain} goes as the campaign says, not by its MX", hosts)


def identity_of(campaign: Campaign, signer: Signer) -> Identity:
    """Who the campaign's messages say they are from."""
    return Identity(
        author=parse_mailbox(campaign.from_).address.domain,
        sender=sender_of(campaign),
        signing=tuple(dict.fromkeys(key.domain.lower() for key in signer.keys)),
    )


def sender_of(campaign: Campaign) -> str:
    """The envelope sender without a token, in wire form."""
    address = parse_address(campaign.return_path) if campaign.return_path else parse_mailbox(campaign.from_).address
    return wire_address(address)


async def _nameservers(scene: Scene) -> list[Finding]:
    return await examine_nameservers(scene.lookups.servers, timeout_seconds=scene.lookups.timeout_seconds)


def _dead(findings: Sequence[Finding]) -> bool:
    return any(finding.id == "dns.none" for finding in findings)


def _lists(scene: Scene, wishes: Wishes, domains: tuple[str, ...]) -> dict[str, Awaitable[list[Finding]]]:
    if not wishes.lists:
        return {}

    async def ask() -> list[Finding]:
        addresses = tuple(dict.fromkeys(ip for ip, _ in await public_addresses(scene)))
        return await examine_reputation(scene, wishes.lists, addresses=addresses, domains=domains)

    return {"lists": ask()}


async def _together(**rounds: Awaitable[list[Finding]]) -> list[Finding]:
    each = await asyncio.gather(*(_within(name, examination) for name, examination in rounds.items()))
    return [finding for some in each for finding in some]


async def _within(name: str, examination: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        async with asyncio.timeout(EXAMINATION_SECONDS):
            return await examination
    except TimeoutError:
        return [
            unknown(
                "examination.timeout",
                f"the examination of {name} did not end",
                f"given up after {EXAMINATION_SECONDS:g} s",
                remedy="look at the other findings first, then try again",
            )
        ]
