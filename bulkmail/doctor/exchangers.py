"""Examine the way out: port 25 from each source to mail exchangers, their greeting, TLS and certificate."""

import asyncio
import ssl

from msgspec import Struct

from bulkmail.dns.lookup import MX, Status
from bulkmail.doctor import probe
from bulkmail.doctor.finding import Finding, advice, fine, problem, unknown
from bulkmail.doctor.scene import Scene
from bulkmail.model.campaign import EgressSource, TlsMode
from bulkmail.net.tls import client_context
from bulkmail.policy.reach import forbidden_address

_HOSTS = 4


class Contact(Struct, frozen=True, kw_only=True):
    """What became of one try; `unreached` means no TCP connection, `refusal` a reply that ends it."""

    host: str
    unreached: str = ""
    refusal: str = ""
    offers_tls: bool = False
    tls_failure: str = ""
    certificate: probe.Certificate | None = None


async def examine_exchangers(scene: Scene, domains: tuple[str, ...]) -> list[Finding]:
    """Try the best mail exchangers of the domains; nothing is sent but EHLO, STARTTLS and QUIT."""
    hosts: dict[str, str] = {}
    findings = []
    of_each = await asyncio.gather(*(exchangers_of(scene, one) for one in domains))
    for domain, found in zip(domains, of_each, strict=True):
        if isinstance(found, Finding):
            findings.append(found)
        else:
            for host in found:
                hosts.setdefault(host, domain)
    tries = [(host, source) for host in list(hosts)[:_HOSTS] for source in scene.sources]
    contacts = await asyncio.gather(*(contact(scene, host, source) for host, source in tries))
    if contacts and all(one.unreached for one in contacts):
        port = scene.campaign.delivery.port if scene.campaign else 25
        return [
            *findings,
            problem(
                "port25.closed",
                f"no mail exchanger can be reached at port {port}",
                "; ".join(sorted({one.unreached for one in contacts})),
                remedy="many providers block port 25: have it opened, or send through a relay (delivery.route: relay)",
            ),
        ]
    for (host, source), one in zip(tries, contacts, strict=True):
        findings += judge(one, source, scene.tls_asked(hosts[host], host))
    return findings


async def exchangers_of(scene: Scene, domain: str) -> tuple[str, ...] | Finding:
    """The best hosts of a domain, or itself where it has an address alone."""
    found = await scene.lookups.ask(domain, MX)
    if found.status is Status.FAILED:
        return unknown("port25.unknown", f"the MX of {domain} could not be seen", found.explanation, remedy="try again")
    hosts = tuple(mx.host for mx in sorted(found.records) if mx.host != ".")
    return hosts[:2] if found.records else (domain,)


async def contact(scene: Scene, host: str, source: EgressSource) -> Contact:
    """Connect, greet, STARTTLS; a certificate that is not accepted is looked past on a second connection."""
    addresses = await scene.lookups.addresses(host)
    usable = [one for one in addresses.records if scene.private_allowed or forbidden_address(one) is None]
    if source.address is not None:
        usable = [one for one in usable if (":" in one) == (":" in source.address)]
    if not usable:
        return Contact(host=host, unreached=f"{host}: {addresses.explanation or 'no address that may be tried'}")
    reached = Contact(host=host)
    for ip in usable[:2]:
        reached = await _try(scene, host, ip, source, scene.certificates, None)
        distrust = reached.certificate.distrust if reached.certificate is not None else None
        if distrust is not None:
            reached = await _try(scene, host, ip, source, client_context(verify=False), distrust)
        if not reached.unreached:
            break
    return reached


async def _try(
    scene: Scene, host: str, ip: str, source: EgressSource, context: ssl.SSLContext, distrust: str | None
) -> Contact:
    port = scene.campaign.delivery.port if scene.campaign else 25
    try:
        client = await probe.connected(
            host, ip, port, source=source.address, ehlo=str(source.ehlo), tls=None, seconds=scene.connect_seconds
        )
    except probe.NotReached as error:
        return Contact(host=host, unreached=f"{host}: {error}")
    except probe.FAILURES as error:
        return Contact(host=host, refusal=probe.why(error))
    try:
        if not client.supports_extension("starttls"):
            return Contact(host=host)
        try:
            await probe.secure(client, host, context)
        except probe.FAILURES as error:
            reason = probe.distrust_of(error)
            if reason is not None and distrust is None:
                return Contact(
                    host=host, offers_tls=True, certificate=probe.Certificate(distrust=reason, version="not accepted")
                )
            return Contact(host=host, offers_tls=True, tls_failure=probe.why(error))
        return Contact(host=host, offers_tls=True, certificate=probe.certificate_of(client, distrust))
    finally:
        await probe.leave(client)


def judge(one: Contact, source: EgressSource, asked: TlsMode) -> list[Finding]:
    """The findings of one contact with a host of which the campaign asks for `asked`."""
    place = f"{one.host}" + (f" from {source.address}" if source.address else "")
    if one.unreached:
        return [
            unknown("exchanger.unreached", f"{place} could not be reached", one.unreached, remedy="try again later")
        ]
    if one.refusal:
        return [
            problem(
                "exchanger.refuses",
                f"{place} refuses to talk to us",
                one.refusal,
                remedy="read its reply; often the address is on a block list (doctor --lists) or has no PTR record",
            )
        ]
    make = problem if asked in ("required", "verified") else advice
    if not one.offers_tls:
        return [
            make(
                "tls.missing",
                f"{place} offers no STARTTLS, mail to it travels in clear",
                "no STARTTLS in its EHLO reply",
                remedy="nothing on this side; where the campaign demands TLS, its mail will not be sent",
            )
        ]
    if one.tls_failure:
        return [
            make(
                "tls.broken",
                f"{place} offers STARTTLS, but TLS fails",
                one.tls_failure,
                remedy="tell its postmaster; if it is so with every host, something between tampers with TLS",
            )
        ]
    assert one.certificate is not None
    if one.certificate.distrust is not None:
        return [
            (problem if asked == "verified" else advice)(
                "tls.certificate",
                f"the certificate of {place} proves nothing",
                one.certificate.distrust,
                remedy="only its owner can mend it; where the campaign asks for verified, nothing is sent to it",
            )
        ]
    return [fine("exchanger.answers", f"{place} answers, with TLS", one.certificate.describe())]
