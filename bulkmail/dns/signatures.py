"""Verifies the DKIM signatures of a message that came in, with keys from the DNS (RFC 6376)."""

from collections.abc import Callable

import dkim
import dns.exception
import dns.resolver

SIGNATURE_LIMIT = 5
LOOK_UP_SECONDS = 5.0
# The TXT record of a name, its strings joined; None where there is none now.
TextLookup = Callable[[str], bytes | None]


def system_texts(name: str) -> bytes | None:
    """As the system's resolver says. Blocks for up to `LOOK_UP_SECONDS`."""
    try:
        answer = dns.resolver.resolve(name, "TXT", lifetime=LOOK_UP_SECONDS, search=False)
    except (dns.exception.DNSException, ValueError):
        return None
    return b"".join(next(iter(answer)).strings)


def signed_by(data: bytes, *, wanted: Callable[[str], bool], texts: TextLookup) -> str | None:
    """The domain of the first good signature of one that is `wanted`; keys of other domains are not looked up.

    A signature of a part of the body (`l=`, RFC 6376 §8.2) is none: anything may follow that part.
    """
    try:
        message = dkim.DKIM(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), minkey=1024)
    except dkim.DKIMException:
        return None
    headers = [value for name, value in message.headers if name.lower() == b"dkim-signature"]
    for index, value in enumerate(headers[:SIGNATURE_LIMIT]):
        try:
            tags = dkim.util.parse_tag_value(value)
            domain: str = tags[b"d"].decode("ascii").lower()
        except (dkim.util.InvalidTagValueList, KeyError, UnicodeDecodeError):
            continue
        if b"l" in tags or not wanted(domain):
            continue
        try:
            if message.verify(index, dnsfunc=lambda name, timeout=5: texts(name.decode("ascii", "replace"))):
                return domain
        except (dkim.DKIMException, ValueError, TypeError, IndexError):
            continue
    return None
