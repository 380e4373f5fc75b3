"""Examine each egress source: its address on this machine, its PTR name, and the name it greets with."""

import asyncio
import ipaddress
import re
import socket

from bulkmail.dns.lookup import Lookup, Status
from bulkmail.doctor.finding import Finding, advice, fine, problem, unknown
from bulkmail.doctor.scene import Scene
from bulkmail.model.campaign import EgressSource
from bulkmail.policy.reach import forbidden_address

# Connecting a datagram socket sends nothing, but makes the kernel choose a source address.
_FAR_V4, _FAR_V6 = "198.41.0.4", "2001:503:ba3e::2:30"
_GENERIC = re.compile(r"dyn|dial|pool|dhcp|dsl|cable|cust|client|broadband|ppp", re.IGNORECASE)


async def examine_sources(scene: Scene) -> list[Finding]:
    """One address after the other; also whether IPv4 and IPv6 can be used at all."""
    findings = [finding for source in scene.sources for finding in _bindable(source)]
    families = {ipaddress.ip_address(source.address).version for source in scene.sources if source.address}
    if families == {6}:
        findings.append(
            problem(
                "ipv4.absent",
                "all sources are IPv6, but many receivers have IPv4 alone",
                ", ".join(str(source.address) for source in scene.sources),
                remedy="add a source with an IPv4 address to delivery.sources",
            )
        )
    if not families and local_address(4) is None and local_address(6) is None:
        findings.append(
            problem("network.none", "this machine has no route to the Internet", remedy="connect it, or set a gateway")
        )
    pairs = await public_addresses(scene)
    if not pairs and (families or local_address(4) or local_address(6)) and scene.sources:
        findings.append(
            unknown(
                "source.private",
                "mail leaves from a private address, so receivers see another one, which is not known here",
                ", ".join(str(one.address or local_address(4) or local_address(6)) for one in scene.sources),
                remedy="name the public address: bulkmail doctor ... --address IP",
            )
        )
    each = await asyncio.gather(*(_identity(scene, address, str(source.ehlo)) for address, source in pairs))
    return findings + [finding for some in each for finding in some]


async def public_addresses(scene: Scene) -> list[tuple[str, EgressSource]]:
    """The addresses that receivers see, with the source that each belongs to; none of those that cannot be known."""
    if scene.public:
        return [(address, scene.sources[0]) for address in scene.public]
    pairs = []
    for source in scene.sources:
        local = [source.address] if source.address else [local_address(4), local_address(6)]
        pairs += [
            (address, source)
            for address in local
            if address is not None and (scene.private_allowed or forbidden_address(address) is None)
        ]
    return pairs


def local_address(version: int) -> str | None:
    """The address that the kernel sends from to far places; None without a route."""
    family, far = (socket.AF_INET, _FAR_V4) if version == 4 else (socket.AF_INET6, _FAR_V6)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((far, 53))
            return str(sock.getsockname()[0])
    except OSError:
        return None


def _bindable(source: EgressSource) -> list[Finding]:
    if source.address is None:
        return []
    family = socket.AF_INET6 if ":" in source.address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((source.address, 0))
    except OSError as error:
        return [
            problem(
                "source.absent",
                f"the source {source.address} is no address of this machine",
                error.strerror or str(error),
                remedy=f"add it to an interface (ip address add {source.address} dev ...), or mend delivery.sources",
            )
        ]
    return [fine("source.bound", f"the source {source.address} is an address of this machine")]


async def _identity(scene: Scene, ip: str, ehlo: str) -> list[Finding]:
    pointer, greeted = await asyncio.gather(scene.lookups.names_of(ip), scene.lookups.addresses(ehlo))
    findings = [*await _pointer_findings(scene, ip, ehlo, pointer), *greeting_findings(ip, ehlo, greeted)]
    if not findings:
        findings.append(fine("source.identity", f"{ip} is {ehlo}, forwards and backwards", ", ".join(pointer.records)))
    return findings


async def _pointer_findings(scene: Scene, ip: str, ehlo: str, pointer: Lookup[str]) -> list[Finding]:
    ask = f"ask whoever gave you {ip} to set its PTR record to {ehlo}"
    if pointer.status is Status.FAILED:
        return [
            unknown("ptr.unknown", f"the PTR record of {ip} could not be seen", pointer.explanation, remedy="try again")
        ]
    if not pointer.records:
        return [
            problem("ptr.missing", f"{ip} has no PTR record; many receivers refuse it", pointer.explanation, remedy=ask)
        ]
    forward = await asyncio.gather(*(scene.lookups.addresses(name) for name in pointer.records[:10]))
    names = [name for name, found in zip(pointer.records, forward, strict=False) if _same(ip, found.records)]
    if not names:
        if any(found.status is Status.FAILED for found in forward):
            seen = "; ".join(found.explanation for found in forward if found.explanation)
            return [unknown("ptr.unknown", f"the PTR name of {ip} could not be confirmed", seen, remedy="try again")]
        return [
            problem(
                "ptr.unconfirmed",
                f"the PTR name of {ip} does not lead back to it; Gmail and others refuse such senders",
                f"{ip} is {pointer.records[0]}, which is {', '.join(forward[0].records) or 'nothing'}",
                remedy=f"give {pointer.records[0]} an address record {ip}, or {ask}",
            )
        ]
    digits = [part for part in re.split(r"[.:]", ip) if part]
    if all(part in re.split(r"[.-]", names[0]) for part in digits) or _GENERIC.search(names[0].split(".")[0]):
        return [
            advice("ptr.generic", f"the PTR name of {ip} looks like that of a home connection", names[0], remedy=ask)
        ]
    if ehlo.lower() not in names:
        return [
            advice(
                "ehlo.other-name",
                f"{ip} greets with another name than its PTR record",
                f"EHLO {ehlo}, PTR {names[0]}",
                remedy=f"set ehlo: {names[0]} in delivery.sources, or {ask}",
            )
        ]
    return []


def greeting_findings(ip: str, ehlo: str, greeted: Lookup[str]) -> list[Finding]:
    """Whether the name that `ip` greets with is a full one and leads to it."""
    mend = f"give {ehlo} an address record {ip}, or set ehlo in delivery.sources to the PTR name"
    if "." not in ehlo.strip("."):
        return [problem("ehlo.name", "the name to greet with is no full domain name", f"EHLO {ehlo}", remedy=mend)]
    if greeted.status is Status.FAILED:
        return [unknown("ehlo.unknown", f"{ehlo} could not be resolved", greeted.explanation, remedy="try again")]
    if not greeted.records:
        return [
            problem(
                "ehlo.unresolved", f"{ehlo}, which is greeted with, has no address", greeted.explanation, remedy=mend
            )
        ]
    if not _same(ip, greeted.records):
        return [
            problem(
                "ehlo.elsewhere",
                f"{ehlo}, which {ip} greets with, is another machine",
                f"{ehlo} is {', '.join(greeted.records)}",
                remedy=mend,
            )
        ]
    return []


def _same(ip: str, others: tuple[str, ...]) -> bool:
    return ipaddress.ip_address(ip) in {ipaddress.ip_address(other) for other in others}
