"""The examinations' questions to the DNS, each asked once, of the campaign's servers."""

import asyncio
import ipaddress
from typing import Any, TypeVar

import dns.exception
import dns.rdatatype
import dns.reversename
from msgspec import Struct

from bulkmail.authentication.spf import Answer, Asking, Question, SpfVerdict, evaluate
from bulkmail.dns.exchange import Exchange
from bulkmail.dns.lookup import AAAA, MX, TXT, A, Kind, Lookup, Status, look_up
from bulkmail.dns.servers import Server

T = TypeVar("T")
_ASKED_AT_ONCE = 20


class TlsaRecord(Struct, frozen=True):
    """RFC 6698 §2.1, the data in hex."""

    usage: int
    selector: int
    matching: int
    data: str


def _read_name(rdata: Any) -> str:
    return str(rdata.target.to_text(omit_final_dot=True)).lower()


def _read_tlsa(rdata: Any) -> TlsaRecord:
    return TlsaRecord(rdata.usage, rdata.selector, rdata.mtype, rdata.cert.hex())


PTR = Kind(dns.rdatatype.PTR, _read_name)
TLSA = Kind(dns.rdatatype.TLSA, _read_tlsa)


class Lookups:
    """Answers are kept for as long as this object lives; nothing the DNS does raises."""

    def __init__(self, servers: tuple[Server, ...], *, timeout_seconds: float) -> None:
        self.servers = servers
        self.timeout_seconds = timeout_seconds
        self._exchange = Exchange(servers, timeout_seconds=timeout_seconds)
        self._slots = asyncio.Semaphore(_ASKED_AT_ONCE)
        self._asked: dict[tuple[str, dns.rdatatype.RdataType], asyncio.Task[Lookup[Any]]] = {}

    async def ask(self, name: str, kind: Kind[T]) -> Lookup[T]:
        """The records of a name."""
        plain = name.rstrip(".").lower()
        task = self._asked.get((plain, kind.rdtype))
        if task is None:
            task = asyncio.get_running_loop().create_task(self._look_up(plain, kind))
            self._asked[plain, kind.rdtype] = task
        return await asyncio.shield(task)

    async def texts(self, name: str) -> Lookup[str]:
        """TXT records as text; octets beyond ASCII as U+FFFD."""
        found = await self.ask(name, TXT)
        return Lookup(
            status=found.status,
            records=tuple(text.decode("ascii", "replace") for text in found.records),
            explanation=found.explanation,
        )

    async def addresses(self, host: str) -> Lookup[str]:
        """IPv4, then IPv6 addresses; an address is its own. `FAILED` only where nothing was found."""
        try:
            return Lookup(status=Status.FOUND, records=(str(ipaddress.ip_address(host)),))
        except ValueError:
            pass
        v4, v6 = await asyncio.gather(self.ask(host, A), self.ask(host, AAAA))
        if v4.records or v6.records:
            return Lookup(status=Status.FOUND, records=v4.records + v6.records)
        return next((found for found in (v4, v6) if found.status is Status.FAILED), v4)

    async def names_of(self, ip: str) -> Lookup[str]:
        """The PTR names of an address."""
        return await self.ask(dns.reversename.from_address(ip).to_text(omit_final_dot=True), PTR)

    async def spf(self, ip: str, domain: str, *, sender: str, helo: str) -> SpfVerdict:
        """Evaluate SPF with this DNS."""
        return await self.answering(evaluate(ip, domain, sender=sender, helo=helo))

    async def answering(self, asking: Asking) -> SpfVerdict:
        """Answer what a sans-I/O evaluation asks, until its verdict."""
        try:
            question = next(asking)
            while True:
                question = asking.send(await self._answer(question))
        except StopIteration as done:
            verdict: SpfVerdict = done.value
            return verdict

    async def close(self) -> None:
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, question: Question) -> Answer:
        match question.kind:
            case "TXT":
                found = await self.texts(question.name)
            case "MX":
                hosts = await self.ask(question.name, MX)
                ordered = tuple(mx.host for mx in sorted(hosts.records))
                return Answer(records=ordered, failed=hosts.status is Status.FAILED)
            case "PTR":
                found = await self.names_of(question.name)
            case _:
                found = await self.ask(question.name, A if question.kind == "A" else AAAA)
        return Answer(records=found.records, failed=found.status is Status.FAILED)

    async def _look_up(self, name: str, kind: Kind[T]) -> Lookup[T]:
        try:
            async with self._slots:
                return await look_up(self._exchange, name, kind)
        except (dns.exception.DNSException, UnicodeError):
            return Lookup(status=Status.NO_NAME, explanation=f"{name!r} is not a domain name")
