"""Turn a recipient's domain into a site and its hosts, and a host into the addresses to connect to."""

import asyncio
import random
import socket
from collections.abc import Sequence

from msgspec import Struct

from bulkmail.dns.answers import DnsOutcome
from bulkmail.dns.resolver import Resolver
from bulkmail.engine.encryption import Encryption
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Reason
from bulkmail.policy.route import MailHost, Site, drop_self, forbidden_address, host_order, site_of


class Unroutable(Struct, frozen=True):
    """No connection can be tried now (`reason` DNS: may be later) or ever (DOMAIN_UNKNOWN, NULL_MX)."""

    reason: Reason
    explanation: str


class Router:
    """One run's routes: the mail exchangers of a domain, or the relay for all.

    Addresses that no mail exchanger on the Internet has (loopback, private) are left out unless the campaign allows
    them: an MX record must not steer connections into our own network.
    """

    def __init__(
        self,
        campaign: Campaign,
        resolver: Resolver,
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
        self._allow_private = delivery.allow_private_mx or delivery.route in ("sandbox", "relay")
        self._relay = delivery.relay if delivery.route == "relay" else None
        self._system_names = not campaign.dns.servers

    async def site(self, domain: str) -> Site | Unroutable:
        """The site that takes mail for `domain` (an A-label)."""
        if self._relay is not None:
            return site_of([(0, self._relay.host)])
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
        if self._encryption is None:
            return site
        return await self._encryption.protect(site, domain, secure=answer.secure)

    def hosts(self, hosts: Sequence[MailHost]) -> tuple[str, ...]:
        """Host names in the order to try them: by preference, shuffled among equals (RFC 5321 §5.1)."""
        return host_order(hosts, self._rng)

    async def addresses(self, host: str) -> tuple[str, ...] | Unroutable:
        """The addresses of one host that may be connected to, IPv4 and IPv6 in the resolver's order."""
        if self._relay is not None and self._system_names:
            return await addresses_of_host(host)
        answer = await self._resolver.addresses(host)
        if answer.outcome is DnsOutcome.TEMPORARY:
            return Unroutable(Reason.DNS, answer.explanation)
        if not answer.addresses:
            return Unroutable(Reason.DNS, answer.explanation or f"{host} has no address")
        if self._allow_private:
            return answer.addresses
        allowed = tuple(address for address in answer.addresses if forbidden_address(address) is None)
        if not allowed:
            why = forbidden_address(answer.addresses[0])
            return Unroutable(Reason.DNS, f"{host} is {answer.addresses[0]}, {why} (delivery.allow_private_mx)")
        return allowed


async def addresses_of_host(host: str) -> tuple[str, ...] | Unroutable:
    """What this machine takes the name for: a relay may stand in /etc/hosts or be a container's name."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return Unroutable(Reason.DNS, f"{host}: {error.strerror or error}")
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
