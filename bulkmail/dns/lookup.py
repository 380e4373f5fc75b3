"""Look up one kind of record of one name: follow CNAMEs, tell nothing-there from no-answer, and say for how long."""

import ipaddress
from collections.abc import Callable
from enum import Enum
from typing import Any, Generic, TypeVar

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from msgspec import Struct

from bulkmail.dns.answers import MxHost
from bulkmail.dns.exchange import Exchange, NoAnswer
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
    """A record type, and how its records are kept."""

    rdtype: dns.rdatatype.RdataType
    read: Callable[[Any], T]


class Lookup(Struct, Generic[T], frozen=True, kw_only=True):
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


MX = Kind(dns.rdatatype.MX, _read_mx)
A = Kind(dns.rdatatype.A, _read_address)
AAAA = Kind(dns.rdatatype.AAAA, _read_address)
TXT = Kind(dns.rdatatype.TXT, _read_txt)
TLSA = Kind(dns.rdatatype.TLSA, _read_tlsa)


async def look_up(exchange: Exchange, name: str, kind: Kind[T]) -> Lookup[T]:
    """The records of `kind` that `name` has, itself or behind CNAMEs. Raises nothing for what the DNS does."""
    current = dns.name.from_text(name)
    what = f"{dns.rdatatype.to_text(kind.rdtype)} of {name}"
    seen = {current}
    hops = 0
    ttl = float("inf")
    secure = True
    while True:
        try:
            answer = await exchange.ask(current, kind.rdtype)
            chain = answer.resolve_chaining()
        except NoAnswer as failure:
            return Lookup(status=Status.FAILED, explanation=str(failure))
        except dns.message.ChainTooLong:
            return Lookup(status=Status.FAILED, explanation=f"{what}: its CNAMEs form a loop or are too many")
        except dns.exception.DNSException:
            return Lookup(status=Status.FAILED, explanation=f"{what}: the DNS server's answer contradicts itself")
        hops += len(chain.cnames)
        ttl = min(ttl, chain.minimum_ttl)
        secure = secure and bool(answer.flags & dns.flags.AD)
        target = chain.canonical_name.to_text(omit_final_dot=True).lower()
        if chain.answer is not None:
            return Lookup(
                status=Status.FOUND,
                records=tuple(map(kind.read, chain.answer)),
                ttl_seconds=ttl,
                secure=secure,
                canonical=target,
            )
        has_soa = any(rrset.rdtype == dns.rdatatype.SOA for rrset in answer.authority)
        if not has_soa:
            ttl = min(ttl, _NEGATIVE_TTL_WITHOUT_SOA)
        if answer.rcode() == dns.rcode.NXDOMAIN:
            alias = f", the CNAME target of {name}," if target != name else ""
            explanation = f"{target}{alias} does not exist (NXDOMAIN)"
            return Lookup(
                status=Status.NO_NAME, explanation=explanation, ttl_seconds=ttl, secure=secure, canonical=target
            )
        if not chain.cnames or has_soa:
            kind_text = dns.rdatatype.to_text(kind.rdtype)
            explanation = f"{target} has no {kind_text} record"
            return Lookup(
                status=Status.NO_DATA, explanation=explanation, ttl_seconds=ttl, secure=secure, canonical=target
            )
        if chain.canonical_name in seen or hops > _MAXIMUM_CNAMES:
            return Lookup(status=Status.FAILED, explanation=f"{what}: its CNAMEs form a loop or are too many")
        current = chain.canonical_name
        seen.add(current)
