"""Names and answers that are not plain, by dnspython; what is plain, as most is, never gets here.

The library takes a tenth of the time that a send needs to start, so nothing else of what looks names up imports it
(beyond its numbers).
"""

from collections.abc import Callable
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from msgspec import Struct

from bulkmail.dns.exchange import LOOP, Contradiction, NoAnswer, Question, Truncated


class Chain(Struct, frozen=True, kw_only=True):
    """Where an answer's CNAMEs lead, and what is there; `records` is None where there are none."""

    target: str
    hops: int
    ttl_seconds: float
    records: tuple[Any, ...] | None
    has_soa: bool
    exists: bool


def name_of(text: str) -> tuple[str, bytes]:
    """A name in lower case without a final dot, and as it goes on the wire. Raises DNSException."""
    name = dns.name.from_text(text)
    return name.to_text(omit_final_dot=True).lower(), name.to_wire() or b""


def is_answered(question: Question, answer: dns.message.Message) -> bool:
    """Whether an answer with the right id is one to this question."""
    query = dns.message.make_query(dns.name.from_text(question.text), question.rdtype, id=answer.id)
    return query.is_response(answer)


def parse(data: bytes, *, whole: bool) -> dns.message.QueryMessage:
    """An answer. Raises NoAnswer, and Truncated for one that must be `whole` and says that it is not."""
    try:
        answer = dns.message.from_wire(data, raise_on_truncation=whole)
    except dns.message.Truncated:
        raise Truncated from None
    except Exception as error:  # whatever a parser of hostile bytes may raise
        raise NoAnswer(f"sent a malformed answer ({error or type(error).__name__})") from None
    if not isinstance(answer, dns.message.QueryMessage):
        raise NoAnswer("sent something other than an answer")
    return answer


def check_usable(answer: dns.message.QueryMessage) -> None:
    """Raises NoAnswer where a server says that it cannot answer."""
    rcode = answer.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise NoAnswer(f"answered {dns.rcode.to_text(rcode)}")
    if _is_referral(answer):
        raise NoAnswer("refers to other servers instead of answering; it is not a recursive resolver")


def follow(answer: dns.message.QueryMessage, read: Callable[[Any], Any]) -> Chain:
    """Follow the CNAMEs in an answer. Raises Contradiction."""
    try:
        chain = answer.resolve_chaining()
    except dns.message.ChainTooLong:
        raise Contradiction(LOOP) from None
    except dns.exception.DNSException:
        raise Contradiction("the DNS server's answer contradicts itself") from None
    return Chain(
        target=chain.canonical_name.to_text(omit_final_dot=True).lower(),
        hops=len(chain.cnames),
        ttl_seconds=chain.minimum_ttl,
        records=tuple(map(read, chain.answer)) if chain.answer is not None else None,
        has_soa=any(rrset.rdtype == dns.rdatatype.SOA for rrset in answer.authority),
        exists=answer.rcode() != dns.rcode.NXDOMAIN,
    )


def _is_referral(answer: dns.message.QueryMessage) -> bool:
    """True for NOERROR without data from a server that has no say: taking it for "no such record" would bounce mail."""
    if answer.rcode() != dns.rcode.NOERROR or answer.answer or answer.flags & (dns.flags.AA | dns.flags.RA):
        return False
    kinds = {rrset.rdtype for rrset in answer.authority}
    return dns.rdatatype.NS in kinds and dns.rdatatype.SOA not in kinds
