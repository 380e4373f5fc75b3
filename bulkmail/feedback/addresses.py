"""Finds mail addresses in what people and programs write around them."""

import re
from collections.abc import Iterator

_LOCAL = r"""(?:"[^"\s]{1,62}"|[^\s<>()\[\]:;,@"\\]{1,64})"""
_DOMAIN = r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,10}[^\W_](?:[\w-]{0,61}[^\W_])?"
_ADDRESS = re.compile(rf"{_LOCAL}@{_DOMAIN}")
_LABELLED = re.compile(r"^(?:smtp|rfc822|e-?mail|mailto|to)=", re.IGNORECASE)
_ROUTE = re.compile(r"^(?:@[^:,@\s]{1,255}[,:])+")
_TYPE = re.compile(r"^\s*([A-Za-z0-9-]{1,20})\s*;\s*")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UNICODE_XTEXT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_EDGES = "'`*|="
LOCAL_LIMIT = 64
ADDRESS_LIMIT = 254


def addresses_in(line: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and address of each one in the line."""
    if "@" not in line:
        return
    for match in _ADDRESS.finditer(line):
        address = tidied(match[0])
        if address:
            yield match.start(), match.end(), address


def tidied(address: str) -> str:
    """The address without what clings to it, or "" if it is none."""
    local, _, domain = address.rpartition("@")
    if not local.startswith('"'):
        local = _LABELLED.sub("", local).lstrip(_EDGES)
        if local.startswith(".") or local.endswith(".") or ".." in local:
            return ""
    if not local or len(local) > LOCAL_LIMIT or not domain or len(local) + 1 + len(domain) > ADDRESS_LIMIT:
        return ""
    return f"{local}@{domain}"


def typed_address(value: str) -> str:
    """The address of an Original-Recipient or Final-Recipient field (RFC 3464 §2.3, RFC 6533 §3), or "".

    The type before the semicolon may be missing, the address stand in angle brackets, with a source route or encoded
    as it came in ORCPT (RFC 3461 §4).
    """
    match = _TYPE.match(value)
    kind = match[1].lower() if match is not None else ""
    address = value[match.end() :] if match is not None else value
    if kind == "x400":
        return ""
    if kind.startswith("utf-8"):
        address = _UNICODE_XTEXT.sub(_character, address)
    address = address.strip()
    if "<" in address and ">" in address:
        address = address[address.index("<") + 1 :].partition(">")[0]
    address = _ROUTE.sub("", address.split(" ", 1)[0] if not address.startswith('"') else address)
    if "@" not in address:
        address = _XTEXT.sub(lambda found: chr(int(found[1], 16)), address)
    if "@" not in address or "/" in address.partition("@")[0][:1] or not address.isprintable():
        return ""
    # What a field gives is the address: here nothing clings to it. With an ellipsis in it, it was shortened for people.
    local, _, domain = address.rpartition("@")
    if "..." in local:
        return ""
    return address if 0 < len(local) <= LOCAL_LIMIT and 0 < len(domain) <= ADDRESS_LIMIT - len(local) - 1 else ""


def _character(match: re.Match[str]) -> str:
    number = int(match[1], 16)
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else ""
