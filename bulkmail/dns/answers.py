"""What the DNS says about a name, as frozen values; every outcome carries a sentence for people."""

from enum import Enum

from msgspec import Struct

from bulkmail.smtp.tlsa import TlsaRecord


class DnsOutcome(Enum):
    """What a look-up means for mail to the name.

    `FOUND`: the DNS has what was asked for. `IMPLICIT`: no MX, but an address, which then is the mail host (RFC 5321
    §5.1). `NULL_MX`: the domain takes no mail (RFC 7505). `NOT_FOUND`: the DNS answered, and there is nothing;
    permanent. `TEMPORARY`: no usable answer now; a later look-up may have one.
    """

    FOUND = "found"
    IMPLICIT = "implicit"
    NULL_MX = "null_mx"
    NOT_FOUND = "not_found"
    TEMPORARY = "temporary"


class MxHost(Struct, frozen=True, order=True, gc=False):
    """A mail exchanger; the lower preference is tried first. `host` is lower-case without a final dot."""

    preference: int
    host: str


class MailHosts(Struct, frozen=True, kw_only=True, gc=False):
    """Where mail for a domain goes: `hosts` by preference, empty unless `outcome` is `FOUND` or `IMPLICIT`.

    `explanation` says why there are none, or which were left out; `expires` is the clock's monotonic time. `secure`:
    DNSSEC proves that these are the hosts. `canonical` is the name that has the MX records, behind the CNAMEs.
    """

    outcome: DnsOutcome
    hosts: tuple[MxHost, ...] = ()
    explanation: str = ""
    expires: float
    secure: bool = False
    canonical: str = ""


class HostAddresses(Struct, frozen=True, kw_only=True, gc=False):
    """The addresses of a host (`FOUND`, `NOT_FOUND` or `TEMPORARY`): IPv4, then IPv6, in the server's order.

    `secure`: DNSSEC proves them; `canonical` is the name that has them, behind the CNAMEs.
    """

    outcome: DnsOutcome
    addresses: tuple[str, ...] = ()
    explanation: str = ""
    expires: float
    secure: bool = False
    canonical: str = ""


class TxtAnswer(Struct, frozen=True, kw_only=True, gc=False):
    """The TXT records of a name (`FOUND`, `NOT_FOUND` or `TEMPORARY`), the strings of each joined."""

    outcome: DnsOutcome
    texts: tuple[bytes, ...] = ()
    explanation: str = ""
    expires: float


class TlsaAnswer(Struct, frozen=True, kw_only=True, gc=False):
    """The TLSA records of a name (`FOUND`, `NOT_FOUND` or `TEMPORARY`); `secure`: DNSSEC proves them, or their absence.

    A validating resolver answers SERVFAIL for what is signed and wrong: that is `TEMPORARY`, never "no records".
    """

    outcome: DnsOutcome
    records: tuple[TlsaRecord, ...] = ()
    explanation: str = ""
    expires: float
    secure: bool = False


class ResolverStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the start: `queries` sent (repeats too; `tcp` of them over TCP), look-ups answered from the cache
    (`hits`) or by a query already in flight (`shared`), tries without an answer in time, `entries` cached now."""

    queries: int
    hits: int
    shared: int
    timeouts: int
    tcp: int
    entries: int
