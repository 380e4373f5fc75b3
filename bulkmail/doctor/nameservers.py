"""Examine each DNS server: does it answer, how fast, over TCP too, and does it validate (DNSSEC)?"""

import asyncio
import time

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode

from bulkmail.dns.servers import Server
from bulkmail.doctor.finding import Finding, advice, fine, problem

SLOW_SECONDS = 1.0
_BROKEN = (dns.exception.DNSException, OSError, EOFError, TimeoutError)


async def examine_nameservers(servers: tuple[Server, ...], *, timeout_seconds: float) -> list[Finding]:
    """Ask each for the root's SOA, which every resolver can get and which is signed."""
    each = await asyncio.gather(*(_examine(server, timeout_seconds) for server in servers))
    findings = [finding for some in each for finding in some]
    if not any(finding.id != "dns.silent" for finding in findings):
        findings.append(
            problem(
                "dns.none",
                "no DNS server answers, so no mail can be sent",
                ", ".join(server.text for server in servers),
                remedy="check the network, /etc/resolv.conf and dns.servers of the campaign",
            )
        )
    return findings


async def _examine(server: Server, timeout_seconds: float) -> list[Finding]:
    host, port = str(server.address[0]), int(server.address[1])
    query = dns.message.make_query(".", "SOA", use_edns=0, payload=1232)
    query.flags |= dns.flags.AD
    began = time.monotonic()
    try:
        answer = await dns.asyncquery.udp(query, host, timeout=timeout_seconds, port=port, raise_on_truncation=False)
    except _BROKEN as error:
        return [
            problem(
                "dns.silent",
                f"the DNS server {server.text} does not answer",
                str(error) or type(error).__name__,
                remedy="start it, take it out of dns.servers or /etc/resolv.conf, or let UDP port 53 out",
            )
        ]
    seconds = time.monotonic() - began
    rcode = answer.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return [
            problem(
                "dns.refuses",
                f"the DNS server {server.text} does not resolve names for this machine",
                f"it answered {dns.rcode.to_text(rcode)}",
                remedy="allow this machine in the server's access list, or use another server",
            )
        ]
    findings = []
    if seconds > SLOW_SECONDS:
        findings.append(
            advice(
                "dns.slow",
                f"the DNS server {server.text} is slow",
                f"{seconds:.1f} s for the SOA of the root",
                remedy="run a caching resolver (unbound, knot-resolver) on this machine",
            )
        )
    try:
        await dns.asyncquery.tcp(query, host, timeout=timeout_seconds, port=port)
    except _BROKEN as error:
        findings.append(
            problem(
                "dns.tcp",
                f"the DNS server {server.text} does not answer over TCP, so long answers are lost",
                str(error) or type(error).__name__,
                remedy="let TCP port 53 out, or use another server",
            )
        )
    if not answer.flags & dns.flags.AD:
        findings.append(
            advice(
                "dns.validation",
                f"the DNS server {server.text} does not validate, so DANE cannot be used",
                "no AD flag for the SOA of the root",
                remedy="use a validating resolver (unbound, knot-resolver) on this machine",
            )
        )
    return findings or [fine("dns.answers", f"the DNS server {server.text} answers", f"{seconds * 1000:.0f} ms")]
