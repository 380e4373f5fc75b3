"""Examine one recipient: suppression, mail exchangers and site, TLS policies, and (if asked) what RCPT is answered."""

import asyncio

import aiosmtplib

from bulkmail.dns.lookup import MX, Status
from bulkmail.doctor import probe
from bulkmail.doctor.exchangers import contact, judge
from bulkmail.doctor.finding import Finding, fine, problem, unknown
from bulkmail.doctor.lookups import TLSA
from bulkmail.doctor.policies import examine_sts_policy
from bulkmail.doctor.scene import Scene
from bulkmail.policy.reach import forbidden_address
from bulkmail.policy.route import MailHost, site_of
from bulkmail.smtp.sts import announced_id

_HOSTS = 3


async def examine_recipient(
    scene: Scene, address: str, *, suppressed: str | None, sender: str, probe_recipient: bool
) -> list[Finding]:
    """`address` in wire form; `suppressed` says why it gets no mail; `sender` is the envelope sender of a probe."""
    findings = [suppression_finding(address, suppressed)]
    domain = address.rpartition("@")[2]
    hosts = await _hosts(scene, domain, findings)
    if not hosts:
        return findings
    site = site_of(hosts)
    findings.append(
        fine(
            "recipient.site",
            f"{domain} is of the site {site.name}",
            ", ".join(f"{rank} {host}" for rank, host in hosts[:5]),
        )
    )
    names = [host for _, host in site.hosts[:_HOSTS]]
    findings += await _addresses(scene, names)
    findings += await _policies(scene, domain, names)
    source = scene.sources[0]
    reached = await contact(scene, names[0], source)
    findings += judge(reached, source, scene.tls_asked(domain, names[0]))
    if probe_recipient and not reached.unreached and not reached.refusal:
        findings.append(await _ask_for(scene, names[0], address, sender))
    return findings


def suppression_finding(address: str, suppressed: str | None) -> Finding:
    """Whether the address gets mail at all; `suppressed` says why not."""
    if suppressed is None:
        return fine("recipient.free", f"{address} is not suppressed")
    return problem(
        "recipient.suppressed",
        f"{address} is suppressed and gets no mail",
        suppressed,
        remedy=f"if that was a mistake: bulkmail suppress remove {address}",
    )


async def _hosts(scene: Scene, domain: str, findings: list[Finding]) -> list[MailHost]:
    found = await scene.lookups.ask(domain, MX)
    if found.status is Status.FAILED:
        findings.append(
            unknown("recipient.unknown", f"{domain} could not be resolved", found.explanation, remedy="try again")
        )
        return []
    if [mx.host for mx in found.records] == ["."]:
        findings.append(
            problem(
                "recipient.null-mx",
                f"{domain} takes no mail",
                "null MX (RFC 7505)",
                remedy="take the address off the list",
            )
        )
        return []
    hosts = [(mx.preference, mx.host) for mx in found.records if mx.host != "."]
    if hosts:
        return hosts
    own = await scene.lookups.addresses(domain)
    if own.records:
        return [(0, domain)]
    if own.status is Status.FAILED:
        findings.append(
            unknown("recipient.unknown", f"{domain} could not be resolved", own.explanation, remedy="try again")
        )
    else:
        findings.append(
            problem(
                "recipient.no-domain",
                f"{domain} has neither a mail exchanger nor an address",
                found.explanation,
                remedy="look for a misspelling, and take the address off the list",
            )
        )
    return []


async def _addresses(scene: Scene, names: list[str]) -> list[Finding]:
    findings = []
    for name, found in zip(
        names, await asyncio.gather(*(scene.lookups.addresses(name) for name in names)), strict=True
    ):
        if found.status is Status.FAILED:
            findings.append(
                unknown("exchanger.unknown", f"{name} could not be resolved", found.explanation, remedy="try again")
            )
        elif not found.records:
            findings.append(
                problem(
                    "exchanger.unresolved",
                    f"the mail exchanger {name} has no address",
                    found.explanation,
                    remedy="only its owner can mend that; the other exchangers are used",
                )
            )
        elif not scene.private_allowed and all(forbidden_address(ip) for ip in found.records):
            findings.append(
                problem(
                    "exchanger.forbidden",
                    f"the mail exchanger {name} is at an address that no mail is sent to",
                    f"{found.records[0]} is {forbidden_address(found.records[0])}",
                    remedy="in a test network, set delivery.allow_private_mx: true",
                )
            )
        else:
            findings.append(fine("exchanger.addresses", f"the mail exchanger {name}", ", ".join(found.records[:6])))
    return findings


async def _policies(scene: Scene, domain: str, names: list[str]) -> list[Finding]:
    sts, tlsa = await asyncio.gather(
        scene.lookups.texts(f"_mta-sts.{domain}"),
        asyncio.gather(*(scene.lookups.ask(f"_25._tcp.{name}", TLSA) for name in names)),
    )
    findings = []
    if sts.status is Status.FAILED:
        findings.append(
            unknown(
                "sts.unknown", f"the MTA-STS record of {domain} could not be seen", sts.explanation, remedy="try again"
            )
        )
    elif identity := announced_id(text.encode() for text in sts.records):
        findings.append(fine("sts.announced", f"{domain} announces an MTA-STS policy", f"id {identity}"))
        findings += await examine_sts_policy(scene, domain, names)
    else:
        findings.append(fine("sts.none", f"{domain} announces no MTA-STS policy"))
    for name, found in zip(names, tlsa, strict=True):
        if found.status is Status.FAILED:
            findings.append(
                unknown(
                    "tlsa.unknown",
                    f"the TLSA records of {name} could not be seen; DANE would hold mail back",
                    found.explanation,
                    remedy="try again",
                )
            )
        elif found.records:
            shown = ", ".join(
                f"{one.usage} {one.selector} {one.matching} {one.data[:16]}..." for one in found.records[:3]
            )
            findings.append(fine("tlsa.found", f"{name} has TLSA records (DANE)", shown))
    return findings


async def _ask_for(scene: Scene, host: str, address: str, sender: str) -> Finding:
    """MAIL, RCPT, RSET, QUIT: no message is sent."""
    found = await scene.lookups.addresses(host)
    source = scene.sources[0]
    port = scene.campaign.delivery.port if scene.campaign else 25
    usable = [ip for ip in found.records if scene.private_allowed or forbidden_address(ip) is None]
    try:
        client = await probe.connected(
            host, usable[0], port, source=source.address, ehlo=str(source.ehlo), tls=None, seconds=scene.connect_seconds
        )
    except (probe.NotReached, *probe.FAILURES) as error:
        return unknown("rcpt.unknown", f"{address} could not be asked for", probe.why(error), remedy="try again")
    try:
        await client.mail(sender)
        said = await client.rcpt(address)
    except aiosmtplib.SMTPResponseException as error:
        if str(error.code).startswith("4"):
            return unknown(
                "rcpt.later", f"{host} does not say now", probe.why(error), remedy="try again; it may be greylisting"
            )
        return problem(
            "rcpt.refused",
            f"{host} refuses {address}, or this sender",
            probe.why(error),
            remedy="read its reply: an unknown mailbox goes off the list, a policy is about the sender",
        )
    except probe.FAILURES as error:
        return unknown("rcpt.unknown", f"{address} could not be asked for", probe.why(error), remedy="try again")
    finally:
        await probe.leave(client)
    return fine(
        "rcpt.accepted",
        f"{host} says yes to {address}; that is no proof, many refuse later",
        f"{said.code} {said.message}",
    )
