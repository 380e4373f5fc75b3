"""What a connection has to prove before mail goes over it: the campaign's wish, MTA-STS and DANE weighed together.

DANE comes before MTA-STS (RFC 8461 §2): where a host has TLSA records that DNSSEC proves, they decide. What a domain
demands only ever raises what the campaign asks for; `none`, which the campaign must spell out, alone turns it off.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from bulkmail.model.campaign import TlsMode
from bulkmail.smtp.sts import host_allowed
from bulkmail.smtp.tlsa import TlsaRecord, usable

Proof = Literal["", "verified", "sts", "dane"]
# The policy types of RFC 8460 §4.4; "" where nothing is counted.
PolicyType = Literal["", "sts", "tlsa"]

_RANK: dict[TlsMode, int] = {"none": 0, "opportunistic": 1, "required": 2, "verified": 3}


class Protection(Struct, frozen=True, kw_only=True):
    """What is known of a recipient domain: domains for which all of it is the same may share connections.

    `mode` is the campaign's own word for the domain. `sts` is the mode of its MTA-STS policy and `mx` the hosts it
    allows; `announced`: it has one that could not be had. `secure`: DNSSEC proves its mail exchangers. `names` are the
    domain's own, where a certificate under a trust anchor in the DNS may bear them: what such a name has proved is
    proved for no other domain.
    """

    mode: TlsMode | None = None
    sts: Literal["", "testing", "enforce"] = ""
    mx: tuple[str, ...] = ()
    announced: bool = False
    secure: bool = False
    names: tuple[str, ...] = ()


class TlsaFacts(Struct, frozen=True, kw_only=True):
    """The TLSA records of a host as DNSSEC proves them; `failure`: none could be had, and none may be assumed.

    `names` are those a certificate under a trust anchor may bear, first the one that the records stand at.
    """

    records: tuple[TlsaRecord, ...] = ()
    names: tuple[str, ...] = ()
    failure: str = ""


class Demand(Struct, frozen=True, kw_only=True):
    """What a connection to one host has to do.

    `proof` is what TLS has to prove, by `records` and `names` for `dane`. A `lenient` demand asks for proof and goes on
    without one, as `mode` alone would, after noting the failure. `counted` is the policy that a report names.
    """

    mode: TlsMode
    proof: Proof = ""
    records: tuple[TlsaRecord, ...] = ()
    names: tuple[str, ...] = ()
    lenient: bool = False
    counted: PolicyType = ""
    note: str = ""


class Barred(Struct, frozen=True, kw_only=True):
    """No mail goes to this host for now; `result` in the words of RFC 8460 §4.3."""

    result: str
    counted: PolicyType
    explanation: str


def demand(protection: Protection, host: str, mode: TlsMode, tlsa: TlsaFacts) -> Demand | Barred:
    """What to ask of `host` where the campaign asks for `mode` there."""
    mode = protection.mode or mode
    if mode == "none":
        return Demand(mode=mode)
    if tlsa.failure:
        explanation = f"{host}: whether it has TLSA records cannot be found out: {tlsa.failure}"
        return Barred(result="dnssec-invalid", counted="tlsa", explanation=explanation)
    if tlsa.records:
        good = usable(tlsa.records)
        if good:
            # RFC 7672 §3.2.2: the first is where the records stand, and the domain's own come last.
            names = tuple(dict.fromkeys((*tlsa.names, *protection.names)))
            return Demand(mode="required", proof="dane", records=good, names=names, counted="tlsa")
        # RFC 7672 §2.2: TLS is a must, though nobody can be held to what the records say.
        mode = _at_least(mode, "required")
    if protection.announced:
        mode = _at_least(mode, "required")
    if protection.sts == "enforce":
        if not host_allowed(host, protection.mx):
            return Barred(result="validation-failure", counted="sts", explanation=_outside(host, protection.mx))
        return Demand(mode="verified", proof="sts", counted="sts")
    if protection.sts == "testing":
        note = "" if host_allowed(host, protection.mx) else _outside(host, protection.mx)
        lenient = mode != "verified"
        return Demand(mode=mode, proof="sts", lenient=lenient, counted="sts", note=note)
    return Demand(mode=mode, proof="verified" if mode == "verified" else "", counted="tlsa" if tlsa.records else "")


def failure_result(verify_code: int | None, *, offered: bool) -> str:
    """The result type (RFC 8460 §4.3) of a TLS failure: OpenSSL's code of a refused certificate, where it was that."""
    if not offered:
        return "starttls-not-supported"
    if verify_code in (62, 63, 64):
        return "certificate-host-mismatch"
    if verify_code in (9, 10):
        return "certificate-expired"
    if verify_code:
        return "certificate-not-trusted"
    return "validation-failure"


def _at_least(mode: TlsMode, least: TlsMode) -> TlsMode:
    return mode if _RANK[mode] >= _RANK[least] else least


def _outside(host: str, mx: Sequence[str]) -> str:
    some = ", ".join(mx[:3]) + (", ..." if len(mx) > 3 else "")
    return f"{host} is none of the hosts that the domain's MTA-STS policy allows ({some})"
