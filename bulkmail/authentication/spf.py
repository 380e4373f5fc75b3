"""Evaluate SPF for one client address as a receiver does (RFC 7208); asks its questions through a generator."""

import ipaddress
from collections.abc import Generator, Iterable
from enum import StrEnum
from typing import Literal

from msgspec import Struct

from bulkmail.authentication.spfterms import (
    MacroContext,
    Mechanism,
    SpfSyntaxError,
    expand,
    is_spf,
    parse_record,
    usable_name,
)

MAXIMUM_LOOKUPS = 10  # RFC 7208 §4.6.4
MAXIMUM_VOID = 2
_MAXIMUM_NAMES = 10

Kind = Literal["TXT", "A", "AAAA", "MX", "PTR"]
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Question(Struct, frozen=True):
    """What is to be asked of the DNS; the name of a `PTR` is an IP address."""

    kind: Kind
    name: str


class Answer(Struct, frozen=True):
    """Records as text (MX: host names alone); none where there are none. `failed`: no usable answer came."""

    records: tuple[str, ...] = ()
    failed: bool = False


class SpfResult(StrEnum):
    """RFC 7208 §2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"
    FAIL = "fail"
    SOFTFAIL = "softfail"
    PERMERROR = "permerror"
    TEMPERROR = "temperror"


class SpfVerdict(Struct, frozen=True, kw_only=True):
    """`explanation`: the term that decided, or what is wrong; `lookups`: terms that cost one, of at most ten."""

    result: SpfResult
    explanation: str
    lookups: int = 0


Asking = Generator[Question, Answer, SpfVerdict]
_QUALIFIED = {"+": SpfResult.PASS, "-": SpfResult.FAIL, "~": SpfResult.SOFTFAIL, "?": SpfResult.NEUTRAL}


class _Stop(Exception):
    """The evaluation ends at once with this result."""

    def __init__(self, result: SpfResult, explanation: str) -> None:
        self.result, self.explanation = result, explanation


def evaluate(ip: str, domain: str, *, sender: str, helo: str) -> Asking:
    """Whether `ip` may send for `domain`: yields questions, is sent answers, returns the verdict.

    `sender` is the envelope sender, `postmaster@HELO` for the null one; `ip` must be an IP address.
    """
    check = _Check(_plain(ip), sender, helo)
    try:
        if usable_name(domain) is None or "." not in domain.strip("."):
            return SpfVerdict(result=SpfResult.NONE, explanation=f"{domain} is not a full domain name")
        result, why = yield from check.host(domain.rstrip(".").lower(), top=True)
    except _Stop as stop:
        result, why = stop.result, stop.explanation
    return SpfVerdict(result=result, explanation=why, lookups=check.lookups)


def _plain(ip: str) -> IpAddress:
    address = ipaddress.ip_address(ip)
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


class _Check:
    """One evaluation: the counts hold over all records that it reads."""

    def __init__(self, address: IpAddress, sender: str, helo: str) -> None:
        self.address, self.sender, self.helo = address, sender, helo
        self.lookups = self._void = 0

    def host(self, domain: str, *, top: bool) -> Generator[Question, Answer, tuple[SpfResult, str]]:
        texts = yield from self._ask("TXT", domain, counted=False)
        records = [text for text in texts if is_spf(text)]
        if not records:
            return SpfResult.NONE, f"{domain} publishes no SPF record"
        if len(records) > 1:
            raise _Stop(SpfResult.PERMERROR, f"{domain} publishes {len(records)} SPF records, one is allowed")
        try:
            record = parse_record(records[0])
        except SpfSyntaxError as error:
            raise _Stop(SpfResult.PERMERROR, f"the SPF record of {domain}: {error}") from None
        for mechanism in record.mechanisms:
            matched = yield from self._matches(mechanism, domain)
            if matched:
                return _QUALIFIED[mechanism.qualifier], f"{mechanism.text} of {domain}"
        if record.redirect is None:
            return SpfResult.NEUTRAL, f"no term of the record of {domain} fits"
        self._count(f"redirect={record.redirect}")
        target = usable_name(self._expand(record.redirect, domain))
        if target is None:
            raise _Stop(SpfResult.PERMERROR, f"redirect={record.redirect} of {domain} leads to no domain name")
        result, why = yield from self.host(target, top=False)
        if result is SpfResult.NONE:
            raise _Stop(SpfResult.PERMERROR, f"redirect={record.redirect} of {domain}: {why}")
        return result, why

    def _matches(self, mechanism: Mechanism, domain: str) -> Generator[Question, Answer, bool]:
        if mechanism.name == "all":
            return True
        if mechanism.network is not None:
            network = ipaddress.ip_network(mechanism.network, strict=False)
            return network.version == self.address.version and self.address in network
        self._count(mechanism.text)
        target = usable_name(self._expand(mechanism.domain, domain) if mechanism.domain else domain)
        if target is None:
            return False
        if mechanism.name == "include":
            return (yield from self._included(mechanism, target, domain))
        if mechanism.name == "exists":
            return bool((yield from self._ask("A", target)))
        if mechanism.name == "ptr":
            return (yield from self._named_below(target))
        hosts: Iterable[str] = (target,)
        if mechanism.name == "mx":
            hosts = yield from self._ask("MX", target)
            if len(tuple(hosts)) > _MAXIMUM_NAMES:
                raise _Stop(SpfResult.PERMERROR, f"{mechanism.text} of {domain}: more than {_MAXIMUM_NAMES} MX")
        for host in hosts:
            addresses = yield from self._ask(self._address_kind, host, counted=mechanism.name == "a")
            if any(self._within(address, mechanism) for address in addresses):
                return True
        return False

    def _included(self, mechanism: Mechanism, target: str, domain: str) -> Generator[Question, Answer, bool]:
        result, why = yield from self.host(target, top=False)
        if result is SpfResult.NONE:
            raise _Stop(SpfResult.PERMERROR, f"{mechanism.text} of {domain}: {why}")
        return result is SpfResult.PASS

    def _named_below(self, target: str) -> Generator[Question, Answer, bool]:
        # RFC 7208 §5.5: an answer that does not come is no match here, and no error.
        answer = yield Question("PTR", str(self.address))
        for name in answer.records[:_MAXIMUM_NAMES]:
            lowered = name.rstrip(".").lower()
            if lowered != target and not lowered.endswith(f".{target}"):
                continue
            there = yield Question(self._address_kind, lowered)
            if any(_plain(address) == self.address for address in there.records):
                return True
        return False

    @property
    def _address_kind(self) -> Kind:
        return "A" if self.address.version == 4 else "AAAA"

    def _within(self, address: str, mechanism: Mechanism) -> bool:
        found = ipaddress.ip_address(address)
        bits = mechanism.bits_v4 if found.version == 4 else mechanism.bits_v6
        return found.version == self.address.version and self.address in ipaddress.ip_network(
            f"{found}/{bits}", strict=False
        )

    def _count(self, text: str) -> None:
        self.lookups += 1
        if self.lookups > MAXIMUM_LOOKUPS:
            raise _Stop(
                SpfResult.PERMERROR, f"more than {MAXIMUM_LOOKUPS} terms need a look-up; {text} is one too many"
            )

    def _ask(self, kind: Kind, name: str, *, counted: bool = True) -> Generator[Question, Answer, tuple[str, ...]]:
        answer = yield Question(kind, name)
        if answer.failed:
            raise _Stop(SpfResult.TEMPERROR, f"the DNS gave no answer for {kind} of {name}")
        if counted and not answer.records:
            self._void += 1
            if self._void > MAXIMUM_VOID:
                raise _Stop(SpfResult.PERMERROR, f"more than {MAXIMUM_VOID} look-ups found nothing, {name} the last")
        return answer.records

    def _expand(self, text: str, domain: str) -> str:
        local, _, sender_domain = self.sender.rpartition("@")
        return expand(
            text,
            MacroContext(
                sender=self.sender,
                local=local or "postmaster",
                sender_domain=sender_domain,
                domain=domain,
                address=self.address,
                helo=self.helo,
            ),
        )
