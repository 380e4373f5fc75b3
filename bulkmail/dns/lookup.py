"""Look up one kind of record of one name: follow CNAMEs, tell nothing-there from no-answer, and say for how long."""

import ipaddress
from collections.abc import Callable
from enum import Enum
from typing import Any, Generic, TypeVar

import dns.rdatatype
from msgspec import Struct

from bulkmail.dns.answers import MxHost
from bulkmail.dns.exchange import LOOP, Contradiction, Exchange, NoAnswer, Question
from bulkmail.dns.plain import PlainAnswer, ReadRecord, read_a, read_aaaa, read_mx, read_txt
from bulkmail.smtp.tlsa import TlsaRecord

T = TypeVar("T")

_MAXIMUM_CNAMES = 16
_NEGATIVE_TTL_WITHOUT_SOA = 60  # RFC 2308 §5 would not cache it at all


class Status(Enum):
    """`NO_NAME`: NXDOMAIN. `NO_DATA`: the name has other records. `FAILED`: no usable answer."""

    FOUND = "found"
    NO_NAME = "no_name"
    NO_DATA = "no_data"
    FAILED = "failed"


class Kind(Struct, Generic[T], frozen=True):
    """A record type, and how its records are kept; `read_plain` makes of bytes what `read` makes of dnspython's."""

    rdtype: dns.rdatatype.RdataType
    read: Callable[[Any], T]
    read_plain: ReadRecord | None = None


class Lookup(Struct, Generic[T], frozen=True, kw_only=True, gc=False):
    """The records found; `explanation` for every status but `FOUND`; `ttl_seconds` as the DNS gave it.

    `secure`: DNSSEC proves the answer, every CNAME on the way to it, and that there is nothing where it says so.
    `canonical` is the name at the end of the CNAMEs, lower-case.
    """

    status: Status
    records: tuple[T, ...] = ()
    explanation: str = ""
    ttl_seconds: float = 0.0
    secure: bool = False
    canonical: str = ""


def _read_mx(rdata: Any) -> MxHost:
    return MxHost(rdata.preference, rdata.exchange.to_text(omit_final_dot=True).lower())


def _read_address(rdata: Any) -> str:
    return str(ipaddress.ip_address(rdata.address))


def _read_txt(rdata: Any) -> bytes:
    return b"".join(rdata.strings)


def _read_tlsa(rdata: Any) -> TlsaRecord:
    return TlsaRecord(rdata.usage, rdata.selector, rdata.mtype, rdata.cert)


MX = Kind(dns.rdatatype.MX, _read_mx, read_mx)
A = Kind(dns.rdatatype.A, _read_address, read_a)
AAAA = Kind(dns.rdatatype.AAAA, _read_address, read_aaaa)
TXT = Kind(dns.rdatatype.TXT, _read_txt, read_txt)
TLSA = Kind(dns.rdatatype.TLSA, _read_tlsa)


async def look_up(exchange: Exchange, name: str, kind: Kind[T]) -> Lookup[T]:
    """The records of `kind` that `name` has, itself or behind CNAMEs. Raises nothing for what the DNS does."""
    question = Question(name, kind.rdtype, kind.read_plain)
    seen = {question.text}
    hops = 0
    ttl = float("inf")
    secure = True
    while True:
        try:
            answer = await exchange.ask(question)
            if isinstance(answer, PlainAnswer):
                return _plain(answer, name, question, ttl, secure=secure and exchange.proves(answer))
            chain = exchange.follow(answer, kind.read)
        except NoAnswer as failure:
            return Lookup(status=Status.FAILED, explanation=str(failure))
        except Contradiction as problem:
            return _contradiction(name, kind, str(problem))
        hops += chain.hops
        ttl = min(ttl, chain.ttl_seconds)
        secure = secure and exchange.proves(answer)
        target = chain.target
        if chain.records is not None:
            return Lookup(status=Status.FOUND, records=chain.records, ttl_seconds=ttl, secure=secure, canonical=target)
        if not chain.has_soa:
            ttl = min(ttl, _NEGATIVE_TTL_WITHOUT_SOA)
        if not chain.exists:
            return _nothing(Status.NO_NAME, name, target, kind.rdtype, ttl, secure=secure)
        if not chain.hops or chain.has_soa:
            return _nothing(Status.NO_DATA, name, target, kind.rdtype, ttl, secure=secure)
        if target in seen or hops > _MAXIMUM_CNAMES:
            return _contradiction(name, kind, LOOP)
        question = Question(target, kind.rdtype, kind.read_plain)
        seen.add(question.text)


def _contradiction(name: str, kind: Kind[Any], problem: str) -> Lookup[Any]:
    explanation = f"{dns.rdatatype.to_text(kind.rdtype)} of {name}: {problem}"
    return Lookup(status=Status.FAILED, explanation=explanation)


def _plain(answer: PlainAnswer, name: str, question: Question, ttl: float, *, secure: bool) -> Lookup[Any]:
    """The end of a look-up; `ttl` is that of the CNAMEs before it."""
    if answer.records:
        return Lookup(
            status=Status.FOUND,
            records=answer.records,
            ttl_seconds=ttl if answer.ttl_seconds is None else min(ttl, answer.ttl_seconds),
            secure=secure,
            canonical=question.text,
        )
    ttl = min(ttl, _NEGATIVE_TTL_WITHOUT_SOA if answer.ttl_seconds is None else answer.ttl_seconds)
    status = Status.NO_DATA if answer.exists else Status.NO_NAME
    return _nothing(status, name, question.text, question.rdtype, ttl, secure=secure)


def _nothing(
    status: Status, name: str, target: str, rdtype: dns.rdatatype.RdataType, ttl: float, *, secure: bool
) -> Lookup[Any]:
    """That `name`, behind its CNAMEs called `target`, has no such record, or does not exist."""
    if status is Status.NO_NAME:
        alias = f", the CNAME target of {name}," if target != name else ""
        explanation = f"{target}{alias} does not exist (NXDOMAIN)"
    else:
        explanation = f"{target} has no {dns.rdatatype.to_text(rdtype)} record"
    return Lookup(status=status, explanation=explanation, ttl_seconds=ttl, secure=secure, canonical=target)
