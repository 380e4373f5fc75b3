"""Find out what domains and hosts demand of TLS (MTA-STS, DANE), hold connections to it, and count what came of it."""

import asyncio
import ssl
from collections.abc import Iterable

from msgspec import structs

from bulkmail.dns.answers import DnsOutcome
from bulkmail.dns.resolver import Resolver
from bulkmail.engine.sts import StsPolicies
from bulkmail.engine.tally import Tally
from bulkmail.model.campaign import Campaign
from bulkmail.net.tls import client_context
from bulkmail.policy.encryption import Barred, Demand, Protection, TlsaFacts, demand
from bulkmail.policy.route import Site
from bulkmail.policy.wishes import TlsWishes
from bulkmail.smtp.tlsa import TRUST_ANCHOR, usable


class Encryption:
    """One run's TLS policies. Without `policies`, MTA-STS is not looked for; without a validating resolver, no DANE.

    `authorities` is a PEM file of roots in place of the system's.
    """

    def __init__(
        self,
        campaign: Campaign,
        resolver: Resolver,
        *,
        tally: Tally,
        policies: StsPolicies | None = None,
        authorities: str | None = None,
    ) -> None:
        self._wishes = TlsWishes(campaign)
        self._dane = campaign.tls.dane and resolver.validating
        self._port = campaign.delivery.port
        self._resolver = resolver
        self._policies = policies
        self._authorities = authorities
        self.tally = tally
        if policies is not None:
            policies.on_failure = self._fetch_failed

    async def protect(self, site: Site, domain: str, *, secure: bool, canonical: str = "") -> Site:
        """The site with what `domain` demands; `secure`: DNSSEC proves that these are its mail exchangers.

        `canonical` is the name that has the MX records, behind the domain's CNAMEs; "" where there are none.
        """
        mode = self._wishes.of_domain(domain)
        if (mode or self._wishes.usual) == "none":
            return _protected(site, Protection(mode=mode))
        secure = secure and self._dane
        own_names: tuple[str, ...] = ()
        if secure and canonical and await self._anchored(site):
            own_names = tuple(dict.fromkeys((domain, canonical)))
        protection = Protection(mode=mode, secure=secure, names=own_names)
        if self._policies is not None:
            found = await self._policies.of(domain)
            policy = found.policy
            if policy is None:
                protection = structs.replace(protection, announced=found.announced)
            elif policy.mode != "none":
                protection = structs.replace(protection, sts=policy.mode, mx=policy.mx)
        return _protected(site, protection)

    async def demand(self, protection: Protection, host: str) -> Demand | Barred:
        """What a connection to `host` has to prove."""
        facts = TlsaFacts()
        mode = protection.mode or self._wishes.at(host)
        if protection.secure and mode != "none":
            facts = await self._tlsa(host)
        return demand(protection, host, mode, facts)

    def context(self, wanted: Demand, *, proving: bool = True) -> ssl.SSLContext | None:
        """The TLS context for a demand; without `proving` (a lenient one that failed) one that takes anybody."""
        if wanted.mode == "none" and not wanted.proof:
            return None
        if not proving or not wanted.proof:
            return client_context(verify=False)
        if wanted.proof == "dane":
            # Loads a library for certificates, which few hosts ask for: most have no TLSA records.
            from bulkmail.net.dane import dane_context

            return dane_context(wanted.records, wanted.names)
        return client_context(verify=True, proof=wanted.proof, authorities=self._authorities)

    def count(
        self,
        wanted: Demand | Barred,
        protection: Protection,
        domains: Iterable[str],
        *,
        result: str = "",
        host: str = "",
        source: str | None = None,
        reason: str = "",
    ) -> None:
        """Note one session, or one that did not come about (`result`), for every domain that it was for."""
        if not wanted.counted:
            return
        if wanted.counted == "sts":
            lines = ["version: STSv1", f"mode: {protection.sts}", *(f"mx: {host}" for host in protection.mx)]
        else:
            lines = [str(record) for record in wanted.records] if isinstance(wanted, Demand) else []
        self.tally.count(
            domains,
            wanted.counted,
            "\n".join(lines),
            result=result,
            host=host if result else "",
            source=(source or "") if result else "",
            reason=reason,
        )

    async def _anchored(self, site: Site) -> bool:
        """Whether a host of the site may be known by a trust anchor; yes where that cannot be found out now."""
        facts = await asyncio.gather(*(self._tlsa(host) for _, host in site.hosts))
        return any(one.failure or any(record.usage == TRUST_ANCHOR for record in usable(one.records)) for one in facts)

    async def _tlsa(self, host: str) -> TlsaFacts:
        """RFC 7672 §2.2: only where DNSSEC proves the host's addresses; at the end of its CNAMEs, then at its own name.

        The servers of unsigned zones often fail at TLSA: they are not asked, and so harm nobody.
        """
        addresses = await self._resolver.addresses(host)
        if addresses.outcome is not DnsOutcome.FOUND or not addresses.secure:
            return TlsaFacts()
        for base in dict.fromkeys((addresses.canonical, host)):
            answer = await self._resolver.tlsa(f"_{self._port}._tcp.{base}")
            if answer.outcome is DnsOutcome.TEMPORARY:
                return TlsaFacts(failure=answer.explanation)
            if answer.outcome is DnsOutcome.FOUND and answer.secure:
                return TlsaFacts(records=answer.records, names=tuple(dict.fromkeys((base, host))))
        return TlsaFacts()

    def _fetch_failed(self, domain: str, result: str, explanation: str) -> None:
        self.tally.count((domain,), "sts", "", result=result, host=f"mta-sts.{domain}", reason=explanation)


def _protected(site: Site, protection: Protection) -> Site:
    return structs.replace(site, protection=protection)
