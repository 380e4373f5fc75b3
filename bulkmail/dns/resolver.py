"""Find the mail hosts of a domain and the addresses of a host; cached, one query in flight per question."""

import asyncio
import ipaddress
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import dns.rdatatype
from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.dns.answers import DnsOutcome, HostAddresses, MailHosts, MxHost, ResolverStatistics, TlsaAnswer, TxtAnswer
from bulkmail.dns.cache import ExpiringCache
from bulkmail.dns.exchange import Exchange
from bulkmail.dns.lookup import AAAA, MX, TLSA, TXT, A, Kind, Lookup, Status, look_up
from bulkmail.dns.servers import Trust, check_trust, parse_server, system_servers

T = TypeVar("T")

_MAXIMUM_HOSTS = 20
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_NAME_LENGTH = 253


class CacheLimits(Struct, frozen=True, kw_only=True):
    """How many answers are kept, and how long at least and at most; failures just long enough to be shared."""

    entries: int = 100_000
    ttl_floor_seconds: float = 5.0
    ttl_ceiling_seconds: float = 86_400.0
    negative_ceiling_seconds: float = 900.0
    failure_seconds: float = 5.0


class _Cached(Struct, frozen=True, gc=False):
    lookup: Lookup[Any]
    expires: float


_Question = tuple[str, dns.rdatatype.RdataType]


class Resolver:
    """Asks `servers` (`ip`, `ip:port`, `[ip6]:port`; none: those of `resolv_conf`); of one event loop.

    Names are given as A-labels. What the DNS says or fails to say is an outcome, never an exception. Raises
    `CampaignError` when a server is not one, or none is known. At most `concurrent_queries` are in flight; those that
    wait have not begun their `timeout_seconds`. `trust` says whether their word is taken for what DNSSEC has proved
    (`secure` in answers): `loopback` where all of them are on this machine, `always`, or `never`. `exchange` asks them
    where it is not to be done over sockets.
    """

    def __init__(
        self,
        servers: Sequence[str] = (),
        *,
        clock: Clock,
        timeout_seconds: float = 10.0,
        port: int = 53,
        concurrent_queries: int = 200,
        cache: CacheLimits = CacheLimits(),  # noqa: B008 - frozen
        resolv_conf: str = "/etc/resolv.conf",
        trust: Trust = "never",
        exchange: Exchange | None = None,
    ) -> None:
        if servers:
            found = [parse_server(text, default_port=port, path=f"dns.servers[{i}]") for i, text in enumerate(servers)]
        else:
            found = system_servers(resolv_conf, default_port=port)
        check_trust(found, trust)
        self.validating = trust != "never"
        self._exchange = exchange or Exchange(found, timeout_seconds=timeout_seconds, validating=self.validating)
        self._clock = clock
        self._limits = cache
        self._cache: ExpiringCache[_Question, _Cached] = ExpiringCache(cache.entries)
        self._slots = asyncio.Semaphore(concurrent_queries)
        self._in_flight: dict[_Question, asyncio.Task[_Cached]] = {}
        self._hits = self._shared = 0

    async def mail_hosts(self, domain: str) -> MailHosts:
        """Where mail for `domain` goes (RFC 5321 §5.1, RFC 7505): at most 20 hosts, equal preferences by name."""
        name = _dns_name(domain)
        if name is None:
            return MailHosts(outcome=DnsOutcome.NOT_FOUND, explanation=_no_name(domain), expires=self._ceiling())
        found, expires = await self._find(name, MX)
        match found.status:
            case Status.FOUND:
                return _usable_hosts(name, found, expires)
            case Status.NO_DATA:
                return await self._implicit_host(name, expires, secure=found.secure)
            case Status.NO_NAME:
                return MailHosts(outcome=DnsOutcome.NOT_FOUND, explanation=found.explanation, expires=expires)
            case Status.FAILED:
                return MailHosts(outcome=DnsOutcome.TEMPORARY, explanation=found.explanation, expires=expires)

    async def addresses(self, host: str) -> HostAddresses:
        """The IPv4 and IPv6 addresses of `host`; an address is its own."""
        literal = _address(host)
        if literal:
            return HostAddresses(outcome=DnsOutcome.FOUND, addresses=(literal,), expires=self._ceiling())
        name = _dns_name(host)
        if name is None:
            return HostAddresses(outcome=DnsOutcome.NOT_FOUND, explanation=_no_name(host), expires=self._ceiling())
        # Both are asked for before either is waited for.
        first, second = self._begin(name, A), self._begin(name, AAAA)
        v4, v4_expires = await self._end(first)
        v6, v6_expires = await self._end(second)
        expires = min(v4_expires, v6_expires)
        failed = [found for found in (v4, v6) if found.status is Status.FAILED]
        addresses = v4.records + v6.records
        if addresses:
            explanation = failed[0].explanation if failed else ""
            return HostAddresses(
                outcome=DnsOutcome.FOUND,
                addresses=addresses,
                explanation=explanation,
                expires=expires,
                secure=all(found.secure for found in (v4, v6) if found.status is not Status.FAILED),
                canonical=v4.canonical or v6.canonical or name,
            )
        if failed:
            return HostAddresses(outcome=DnsOutcome.TEMPORARY, explanation=failed[0].explanation, expires=expires)
        missing = v4.explanation if v4.status is Status.NO_NAME else f"{name} has no address (no A or AAAA record)"
        return HostAddresses(outcome=DnsOutcome.NOT_FOUND, explanation=missing, expires=expires)

    async def txt(self, name: str) -> TxtAnswer:
        """The TXT records of `name`."""
        valid = _dns_name(name)
        if valid is None:
            return TxtAnswer(outcome=DnsOutcome.NOT_FOUND, explanation=_no_name(name), expires=self._ceiling())
        found, expires = await self._find(valid, TXT)
        outcome = DnsOutcome.NOT_FOUND
        if found.status is Status.FOUND:
            outcome = DnsOutcome.FOUND
        elif found.status is Status.FAILED:
            outcome = DnsOutcome.TEMPORARY
        return TxtAnswer(outcome=outcome, texts=found.records, explanation=found.explanation, expires=expires)

    async def tlsa(self, name: str) -> TlsaAnswer:
        """The TLSA records of `name`, such as `_25._tcp.mx.example.org`."""
        valid = _dns_name(name)
        if valid is None:
            # Longer than a name can be: nobody has such records.
            return TlsaAnswer(outcome=DnsOutcome.NOT_FOUND, explanation=_no_name(name), expires=self._ceiling())
        found, expires = await self._find(valid, TLSA)
        outcome = DnsOutcome.NOT_FOUND
        if found.status is Status.FOUND:
            outcome = DnsOutcome.FOUND
        elif found.status is Status.FAILED:
            outcome = DnsOutcome.TEMPORARY
        return TlsaAnswer(
            outcome=outcome,
            records=found.records,
            explanation=found.explanation,
            expires=expires,
            secure=found.secure,
        )

    def statistics(self) -> ResolverStatistics:
        return ResolverStatistics(
            queries=self._exchange.queries,
            hits=self._hits,
            shared=self._shared,
            timeouts=self._exchange.timeouts,
            tcp=self._exchange.tcp,
            entries=len(self._cache),
        )

    async def close(self) -> None:
        """Give up the queries in flight; whoever still waits for one is cancelled."""
        tasks = list(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _implicit_host(self, name: str, mx_expires: float, *, secure: bool) -> MailHosts:
        found = await self.addresses(name)
        expires = min(mx_expires, found.expires)
        if found.outcome is DnsOutcome.FOUND:
            return MailHosts(
                outcome=DnsOutcome.IMPLICIT, hosts=(MxHost(0, name),), expires=expires, secure=secure and found.secure
            )
        explanation = found.explanation
        if found.outcome is DnsOutcome.NOT_FOUND:
            explanation = f"{name} has neither a mail exchanger (MX) nor an address"
        return MailHosts(outcome=found.outcome, explanation=explanation, expires=expires)

    async def _find(self, name: str, kind: Kind[T]) -> tuple[Lookup[T], float]:
        return await self._end(self._begin(name, kind))

    def _begin(self, name: str, kind: Kind[T]) -> "_Cached | asyncio.Task[_Cached]":
        """What is known, or the query for it, which may be under way already."""
        question = (name, kind.rdtype)
        cached = self._cache.get(question, now=self._clock.monotonic())
        if cached is not None:
            self._hits += 1
            return cached
        task = self._in_flight.get(question)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._query(name, kind))
            self._in_flight[question] = task
            task.add_done_callback(lambda _: self._in_flight.pop(question))
        else:
            self._shared += 1
        return task

    async def _end(self, begun: "_Cached | asyncio.Task[_Cached]") -> tuple[Lookup[Any], float]:
        # Shielded: whoever stops waiting must not take the answer from the others.
        cached = begun if isinstance(begun, _Cached) else await asyncio.shield(begun)
        return cached.lookup, cached.expires

    async def _query(self, name: str, kind: Kind[Any]) -> _Cached:
        await self._slots.acquire()
        try:
            lookup = await look_up(self._exchange, name, kind)
        finally:
            self._slots.release()
        cached = _Cached(lookup, self._clock.monotonic() + self._seconds_to_keep(lookup))
        self._cache.put((name, kind.rdtype), cached)
        return cached

    def _seconds_to_keep(self, lookup: Lookup[Any]) -> float:
        limits = self._limits
        if lookup.status is Status.FAILED:
            return limits.failure_seconds
        negative = lookup.status is not Status.FOUND
        ceiling = limits.negative_ceiling_seconds if negative else limits.ttl_ceiling_seconds
        return min(max(lookup.ttl_seconds, limits.ttl_floor_seconds), ceiling)

    def _ceiling(self) -> float:
        return self._clock.monotonic() + self._limits.ttl_ceiling_seconds


def _usable_hosts(domain: str, found: Lookup[MxHost], expires: float) -> MailHosts:
    records = found.records
    if len(records) == 1 and records[0].host == ".":
        explanation = f"{domain} takes no mail (null MX, RFC 7505)"
        return MailHosts(outcome=DnsOutcome.NULL_MX, explanation=explanation, expires=expires)
    best: dict[str, int] = {}
    notes = []
    for record in records:
        if record.host == ".":
            notes.append("the MX '.' is ignored, as it is not the only one")
        elif _address(record.host):
            notes.append(f"the MX {record.host} is ignored, as it is an address and not a host name")
        elif _dns_name(record.host) is None:
            notes.append(f"the MX {record.host} is ignored, as it is not a host name")
        else:
            best[record.host] = min(record.preference, best.get(record.host, record.preference))
    hosts = sorted(MxHost(preference, host) for host, preference in best.items())
    if len(hosts) > _MAXIMUM_HOSTS:
        notes.append(f"only the first {_MAXIMUM_HOSTS} of {len(hosts)} MX are used")
    explanation = "; ".join(notes[:3])
    if not hosts:
        explanation = f"{domain} has no usable mail exchanger: {explanation}"
        return MailHosts(outcome=DnsOutcome.NOT_FOUND, explanation=explanation, expires=expires)
    return MailHosts(
        outcome=DnsOutcome.FOUND,
        hosts=tuple(hosts[:_MAXIMUM_HOSTS]),
        explanation=explanation,
        expires=expires,
        secure=found.secure,
        canonical=found.canonical,
    )


def _dns_name(text: str) -> str | None:
    """`text` lower-cased without its final dot, if mail can go to such a name."""
    name = text.lower().removesuffix(".")
    return name if len(name) <= _NAME_LENGTH and _NAME.fullmatch(name) else None


def _no_name(text: str) -> str:
    return f"{text[:_NAME_LENGTH]!r} is not a domain name"


def _address(host: str) -> str | None:
    # Names end in a letter, and have no colon.
    if not host[-1:].isdigit() and ":" not in host:
        return None
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
