"""What only the network knows: records of the sender's domains, dead recipient domains, links that are broken."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from bulkmail.dkim.signing import Signer
from bulkmail.dns.lookup import MX, Status
from bulkmail.dns.servers import parse_server, system_servers
from bulkmail.doctor.examination import identity_of
from bulkmail.doctor.finding import Level as DoctorLevel
from bulkmail.doctor.lookups import Lookups
from bulkmail.doctor.scene import Scene
from bulkmail.doctor.sender import examine_sender
from bulkmail.errors import CampaignError
from bulkmail.http.client import HttpClient
from bulkmail.http.errors import HttpError
from bulkmail.model.campaign import Campaign
from bulkmail.net.tls import client_context
from bulkmail.outbound import egress_sources
from bulkmail.preflight.finding import Finding, found
from bulkmail.preflight.records import RecordsFile
from bulkmail.preflight.signatures import published_findings
from bulkmail.preflight.sizes import MIB

LINK_SECONDS = 15.0
LINKS_AT_ONCE = 8
MOST_LINKS = 500
MOST_DOMAINS = 2_000
GONE = (404, 410)


class Hosts(Struct, frozen=True):
    """Mail exchangers by domain, and what was found on the way."""

    by_domain: dict[str, tuple[tuple[int, str], ...]]
    findings: list[Finding]


def lookups_of(campaign: Campaign, records: Path | None) -> Lookups:
    """The DNS as the campaign asks it, or the file in its place. CampaignError where there is neither."""
    if records is not None:
        return RecordsFile(records)
    named = campaign.dns.servers
    servers = (
        tuple(parse_server(text, default_port=53, path=f"dns.servers[{n}]") for n, text in enumerate(named))
        if named
        else tuple(system_servers("/etc/resolv.conf", default_port=53))
    )
    return Lookups(servers, timeout_seconds=float(campaign.dns.timeout))


async def origin_findings(campaign: Campaign, signer: Signer, lookups: Lookups, now: float) -> list[Finding]:
    """SPF, DKIM and DMARC as receivers will find them."""
    scene = Scene(
        campaign=campaign,
        sources=egress_sources(campaign),
        lookups=lookups,
        certificates=client_context(verify=True),
        now=now,
    )
    published = await published_findings(campaign, signer, lookups)
    relayed = campaign.delivery.route == "relay"
    seen = await examine_sender(scene, identity_of(campaign, signer), relayed=relayed)
    return published + [
        found(
            each.id,
            f"{each.what} ({each.evidence})" if each.evidence else each.what,
            where=str(campaign.file),
            remedy=each.remedy,
        )
        for each in seen
        if each.level is not DoctorLevel.FINE
    ]


async def find_hosts(domains: Counter[str], lookups: Lookups) -> Hosts:
    """Where the mail of the largest domains goes, and those that take none."""
    names = [domain for domain, _ in domains.most_common(MOST_DOMAINS)]
    answers = await asyncio.gather(*(lookups.ask(name, MX) for name in names))
    by_domain: dict[str, tuple[tuple[int, str], ...]] = {}
    dead = []
    for name, answer in zip(names, answers, strict=True):
        hosts = tuple((mx.preference, mx.host) for mx in answer.records if mx.host != ".")
        if hosts:
            by_domain[name] = hosts
        elif answer.records:
            dead.append(f"{name} (null MX)")
        elif answer.status is not Status.FAILED:
            addresses = await lookups.addresses(name)
            if addresses.status is Status.FOUND:
                by_domain[name] = ((0, name),)
            elif addresses.status is not Status.FAILED:
                dead.append(f"{name} ({domains[name]:,})")
    findings = []
    if dead:
        what = f"{len(dead):,} {'domain takes' if len(dead) == 1 else 'domains take'} no mail: {', '.join(dead[:10])}"
        what += ", ..." if len(dead) > 10 else ""
        findings.append(found("recipients.dead-domain", what, remedy="take their rows out: each will bounce"))
    return Hosts(by_domain, findings)


async def fetched_findings(campaign: Campaign, links: Iterable[str], pictures: Iterable[str]) -> list[Finding]:
    """Ask each server once; `links` and `pictures` are https and http URLs."""
    lookups = lookups_of(campaign, None)

    async def look_up(host: str) -> Sequence[str]:
        return (await lookups.addresses(host)).records

    client = HttpClient(look_up, allow_private=campaign.delivery.allow_private_mx, connections=LINKS_AT_ONCE)
    slots = asyncio.Semaphore(LINKS_AT_ONCE)

    async def ask(url: str, subject: str) -> Finding | None:
        async with slots:
            try:
                answer = await client.request("GET", url, timeout_seconds=LINK_SECONDS, limit_bytes=30 * MIB)
            except HttpError as error:
                if error.kind == "dns":
                    remedy = "look at the spelling"
                    return found(f"{subject}.broken", f"{url}: {error}", remedy=remedy)
                return found("links.unanswered", f"{url}: {error}", remedy="try again, or look at the server")
        if answer.status in GONE:
            return found(f"{subject}.broken", f"{url} answers {answer.status}", remedy="link to what is there")
        if answer.status >= 400:
            return found("links.unanswered", f"{url} answers {answer.status}", remedy="look at it in a browser")
        return None

    asked = [(url, "links") for url in list(links)[:MOST_LINKS]] + [
        (url, "images") for url in list(pictures)[:MOST_LINKS]
    ]
    try:
        answers = await asyncio.gather(*(ask(url, subject) for url, subject in asked))
    finally:
        await client.close()
        await lookups.close()
    return [answer for answer in answers if answer is not None]


def unusable(campaign: Campaign, error: CampaignError) -> Finding:
    """The DNS could not be asked at all."""
    return found("dns.unusable", error.message, where=str(campaign.file), remedy=error.hint or "")
