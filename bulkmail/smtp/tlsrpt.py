"""Where a domain wants reports on TLS to be sent: the TXT record of `_smtp._tls.DOMAIN` (RFC 8460 §3)."""

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from bulkmail.address import AddressError, parse_address

# Who asks for more has made a slip, or wants us to send much for little.
MOST_TARGETS = 5


class ReportTarget(Struct, frozen=True, kw_only=True):
    """One of `rua`: `address` of a mailto, "" for an https `uri`."""

    uri: str
    address: str = ""


def report_targets(texts: Sequence[str]) -> tuple[ReportTarget, ...]:
    """The targets in the TXT records of the name; none where not exactly one of them is a TLSRPT record.

    URIs of other schemes, and such as are none, are passed over.
    """
    records = [text for text in texts if text.startswith("v=TLSRPTv1;")]
    if len(records) != 1:
        return ()
    for field in records[0].split(";")[1:]:
        name, equals, value = field.partition("=")
        if equals and name.strip() == "rua":
            found = (_target(uri.strip()) for uri in value.split(","))
            return tuple(dict.fromkeys(target for target in found if target is not None))[:MOST_TARGETS]
    return ()


def _target(uri: str) -> ReportTarget | None:
    try:
        parts = urlsplit(uri)
        if parts.scheme == "https" and parts.hostname and parts.username is None:
            # A port that is none raises, as does a host that is none.
            return ReportTarget(uri=uri) if parts.port != 0 else None
        if parts.scheme == "mailto":
            address = unquote(parts.path, errors="strict")
            parse_address(address)
            return ReportTarget(uri=uri, address=address)
    except (AddressError, ValueError):
        return None
    return None
