"""What a returned message, or its headers, says of where it came from."""

import re

from msgspec import Struct

from bulkmail.feedback.addresses import addresses_in
from bulkmail.feedback.mime import Headers

_MESSAGE_ID = re.compile(r"<([^<>\s]{1,250})>")
_FOR = re.compile(r"\bfor\s+<?([^\s<>;]{3,254})>?\s*(?:;|$)")
TOKEN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z2-7]{32}(?![A-Za-z0-9])")
TOKEN_PLACES = ("return-path", "message-id", "list-unsubscribe", "x-envelope-from", "sender", "errors-to")
TOKEN_LIMIT = 16


class Original(Struct, frozen=True, kw_only=True):
    """`recipients`: whom the message was sent to, as its own headers say, lower case."""

    message_id: str = ""
    return_path: str = ""
    recipients: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()


def read_original(headers: Headers) -> Original:
    """From the headers of a returned message."""
    match = _MESSAGE_ID.search(headers.get("message-id"))
    return_path = next((address for _, _, address in addresses_in(headers.get("return-path"))), "")
    named = [
        address.lower()
        for name in ("to", "cc", "bcc", "delivered-to", "x-original-to", "x-envelope-to")
        for value in headers.all(name)[:4]
        for _, _, address in addresses_in(value[:4096])
    ]
    for value in headers.all("received")[:30]:
        found = _FOR.search(value[:2000])
        if found is not None:
            named.extend(address.lower() for _, _, address in addresses_in(found[1]))
    return Original(
        message_id=match[1] if match is not None else "",
        return_path=return_path,
        recipients=tuple(dict.fromkeys(named)),
        tokens=tokens_in(*(value for name in TOKEN_PLACES for value in headers.all(name)[:4])),
    )


def tokens_in(*texts: str) -> tuple[str, ...]:
    """All that has the form of a token, each once, in lower case."""
    found = (match.lower() for text in texts for match in TOKEN.findall(text[:4096]))
    return tuple(dict.fromkeys(found))[:TOKEN_LIMIT]
