"""Turn a recipient's domain into a site and its hosts, and a host into the addresses to connect to."""

import asyncio
import random
import socket
from collections.abc import Sequence
from ipaddress import ip_address

from msgspec import Struct

from bulkmail.dns.answers import DnsOutcome
from bulkmail.dns.resolver import Resolver
from bulkmail.engine.encryption import Encryption
from bulkmail.engine.ways import Way, Ways
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Reason
from bulkmail.policy.route import MailHost, balanced, drop_self, forbidden_address, host_order, site_of


class Unroutable(Struct, frozen=True):
    """No connection can be tried now (`reason` DNS: may be later) or ever (DOMAIN_UNKNOWN, NULL_MX)."""

    reason: Reason
    explanation: str


class Router:
    """One run's routes: the mail exchangers of a domain, or what the campaign says in their place.

    Addresses that no mail exchanger on the Internet has (loopback, private), and our own, are left out unless the
    campaign allows them: an MX record must not steer connections into our own network. What the campaign names itself
    may be anywhere.
    """

    def __init__(
        self,
        campaign: Campaign,
        resolver: Resolver,
        ways: Ways,
        *,
        own_names: Sequence[str],
        rng: random.Random,
        encryption: Encryption | None = None,
    ) -> None:
        delivery = campaign.delivery
        self._resolver = resolver
        self._own_names = own_names
        self._rng = rng
        self._encryption = encryption
        self._allow_private = delivery.allow_private_mx or delivery.route == "sandbox"
        self._own_addresses = {str(ip_address(one.address)) for one in delivery.sources if one.address is not None}
        self._ways = ways
        self._system_names = not campaign.dns.servers

    async def ways(self, domain: str) -> tuple[Way, ...] | Unroutable:
        """The ways of the mail for `domain` (an A-label)."""
        given = self._ways.of(domain)
        if given is not None:
            return given
        answer = await self._resolver.mail_hosts(domain)
        if answer.outcome is DnsOutcome.NULL_MX:
            return Unroutable(Reason.NULL_MX, answer.explanation)
        if answer.outcome is DnsOutcome.NOT_FOUND:
            return Unroutable(Reason.DOMAIN_UNKNOWN, answer.explanation)
        if answer.outcome is DnsOutcome.TEMPORARY:
            return Unroutable(Reason.DNS, answer.explanation)
        hosts = drop_self([(host.preference, host.host) for host in answer.hosts], self._own_names)
        if not hosts:
            return Unroutable(Reason.LOOP, f"the best mail exchanger of {domain} is this host itself")
        site = site_of(hosts)
        if self._encryption is not None:
            site = await self._encryption.protect(site, domain, secure=answer.secure, canonical=answer.canonical)
        return (Way(site=site),)

    def hosts(self, hosts: Sequence[MailHost]) -> tuple[str, ...]:
        """Host names in the order to try them: by preference, shuffled among equals (RFC 5321 §5.1)."""
        return host_order(hosts, self._rng)

    async def addresses(self, host: str) -> tuple[str, ...] | Unroutable:
        """The addresses of one host that may be connected to, IPv4 and IPv6 in turn."""
        given = self._ways.host_of(host)
        if given is not None and _is_ip(given):
            return (given,)
        if given is not None and self._system_names:
            return await addresses_of_host(given)
        answer = await self._resolver.addresses(given or host)
        if answer.outcome is DnsOutcome.TEMPORARY:
            return Unroutable(Reason.DNS, answer.explanation)
        if not answer.addresses:
            return Unroutable(Reason.DNS, answer.explanation or f"{host} has no address")
        if self._allow_private or given is not None:
            return balanced(answer.addresses)
        allowed = tuple(address for address in answer.addresses if self._forbidden(address) is None)
        if not allowed:
            why = self._forbidden(answer.addresses[0])
            return Unroutable(Reason.DNS, f"{host} is {answer.addresses[0]}, {why} (delivery.allow_private_mx)")
        return balanced(allowed)

    def _forbidden(self, address: str) -> str | None:
        if address in self._own_addresses:
            return "which this campaign sends from itself"
        return forbidden_address(address)


async def addresses_of_host(host: str) -> tuple[str, ...] | Unroutable:
    """What this machine takes the name for: a relay may stand in /etc/hosts or be a container's name."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return Unroutable(Reason.DNS, f"{host}: {error.strerror or error}")
    return balanced(tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
