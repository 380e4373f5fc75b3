"""The grammar of SPF records and the expansion of their macros (RFC 7208 §4.6, §7, §12)."""

import ipaddress
import re
from urllib.parse import quote

from msgspec import Struct

_MECHANISM = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9._-]*)(?:([:/])(.*))?", re.DOTALL)
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)=(.*)", re.DOTALL)
_CIDR = re.compile(r"(?P<domain>.*?)(?:/(?P<v4>0|[1-9][0-9]?))?(?://(?P<v6>0|[1-9][0-9]{0,2}))?", re.DOTALL)
_MACRO = re.compile(r"%(?:\{([slodiphvcrtSLODIPHVCRT])([0-9]*)(r?)([.+,/_=-]*)\}|([%_-]))", re.IGNORECASE)
_TOP_LABEL = re.compile(r"(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])")
_LABEL = re.compile(r"[!-~]{1,63}")
_NAME_LENGTH = 253
_NEEDS_DOMAIN = {"include", "exists"}
_TAKES_CIDR = {"a", "mx"}


class SpfSyntaxError(ValueError):
    """The record is not one; the text says which term."""


class Mechanism(Struct, frozen=True, kw_only=True):
    """One term: `network` of ip4 and ip6, else an unexpanded `domain` or the empty text for the record's own."""

    qualifier: str
    name: str
    text: str
    domain: str = ""
    network: str | None = None
    bits_v4: int = 32
    bits_v6: int = 128


class Record(Struct, frozen=True, kw_only=True):
    """The terms in their order; `redirect` unexpanded."""

    mechanisms: tuple[Mechanism, ...]
    redirect: str | None


class MacroContext(Struct, frozen=True, kw_only=True):
    """What the macro letters stand for."""

    sender: str
    local: str
    sender_domain: str
    domain: str
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    helo: str


def is_spf(text: str) -> bool:
    """Whether a TXT record is an SPF record (§4.5)."""
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def parse_record(text: str) -> Record:
    """Raises SpfSyntaxError for any term that is wrong, wherever it stands (§4.6)."""
    if not text.isascii():
        raise SpfSyntaxError("has other characters than ASCII")
    mechanisms = []
    modifiers: dict[str, str] = {}
    for term in text.split(" ")[1:]:
        if not term:
            continue
        modifier = _MODIFIER.fullmatch(term)
        if modifier is None:
            mechanisms.append(_mechanism(term))
            continue
        name, value = modifier[1].lower(), modifier[2]
        _check_macros(value, term)
        if name in ("redirect", "exp"):
            if name in modifiers:
                raise SpfSyntaxError(f"has {name}= twice")
            _check_domain(value, term)
            modifiers[name] = value
    return Record(mechanisms=tuple(mechanisms), redirect=modifiers.get("redirect"))


def usable_name(name: str) -> str | None:
    """`name` as it can be asked for, cut from the left to 253 octets (§7.3); None where a label is wrong."""
    plain = name.removesuffix(".").lower()
    while len(plain) > _NAME_LENGTH and "." in plain:
        plain = plain.partition(".")[2]
    return plain if all(_LABEL.fullmatch(label) for label in plain.split(".")) else None


def expand(text: str, context: MacroContext) -> str:
    """A checked domain-spec with its macros replaced (§7.3); `p` is "unknown", as §7.2 lets it be."""

    def value(match: re.Match[str]) -> str:
        if match[5]:
            return {"%": "%", "_": " ", "-": "%20"}[match[5]]
        whole = _letter(match[1].lower(), context)
        parts = re.split(f"[{re.escape(match[4] or '.')}]", whole)
        if match[3]:
            parts.reverse()
        if match[2]:
            parts = parts[-int(match[2]) :]
        joined = ".".join(parts)
        return quote(joined, safe="-._~") if match[1].isupper() else joined

    return _MACRO.sub(value, text)


def _letter(letter: str, context: MacroContext) -> str:
    v4 = context.address.version == 4
    return {
        "s": context.sender,
        "l": context.local,
        "o": context.sender_domain,
        "d": context.domain,
        "i": str(context.address) if v4 else ".".join(context.address.exploded.replace(":", "")),
        "p": "unknown",
        "v": "in-addr" if v4 else "ip6",
        "h": context.helo,
    }[letter]


def _mechanism(term: str) -> Mechanism:
    match = _MECHANISM.fullmatch(term)
    if match is None:
        raise SpfSyntaxError(f"has the term {term!r}, which is none")
    qualifier, name, mark = match[1] or "+", match[2].lower(), match[3]
    rest = (mark if mark == "/" else "") + (match[4] or "") if mark else ""
    if name in ("ip4", "ip6"):
        return Mechanism(qualifier=qualifier, name=name, text=term, network=_network(name, match[4], mark, term))
    if name == "all" and not mark:
        return Mechanism(qualifier=qualifier, name=name, text=term)
    if name not in _NEEDS_DOMAIN | _TAKES_CIDR | {"ptr"}:
        raise SpfSyntaxError(f"has the term {term!r}, which is none")
    domain, bits_v4, bits_v6 = rest, 32, 128
    if name in _TAKES_CIDR:
        cidr = _CIDR.fullmatch(rest)
        assert cidr is not None
        domain = cidr["domain"]
        bits_v4, bits_v6 = (int(cidr[part]) if cidr[part] else most for part, most in (("v4", 32), ("v6", 128)))
        if bits_v4 > 32 or bits_v6 > 128:
            raise SpfSyntaxError(f"{term!r}: no such prefix length")
    if domain or mark == ":" or name in _NEEDS_DOMAIN:
        _check_domain(domain, term)
    return Mechanism(qualifier=qualifier, name=name, text=term, domain=domain, bits_v4=bits_v4, bits_v6=bits_v6)


def _network(name: str, value: str | None, mark: str | None, term: str) -> str:
    address, slash, bits = (value or "").partition("/")
    try:
        if mark != ":" or (slash and not re.fullmatch(r"0|[1-9][0-9]{0,2}", bits)):
            raise ValueError
        if name == "ip4":
            ipaddress.IPv4Network(f"{address}/{bits or 32}", strict=False)
        else:
            ipaddress.IPv6Network(f"{address}/{bits or 128}", strict=False)
    except ValueError:
        raise SpfSyntaxError(f"{term!r} names no network") from None
    return str(value)


def _check_domain(text: str, term: str) -> None:
    _check_macros(text, term)
    ending = re.search(r"%\{[^}]*\}$", text)
    if not text or re.search(r"[^!-~]", text):
        raise SpfSyntaxError(f"{term!r} names no domain")
    if ending is None:
        head, dot, top = text.removesuffix(".").rpartition(".")
        if not dot or not head or not _TOP_LABEL.fullmatch(top):
            raise SpfSyntaxError(f"{term!r} names no full domain")
    for match in _MACRO.finditer(text):
        if match[1] and match[1].lower() in "crt":
            raise SpfSyntaxError(f"{term!r}: the macro {match[0]} belongs in explanations only")


def _check_macros(text: str, term: str) -> None:
    if "%" in _MACRO.sub("", text):
        raise SpfSyntaxError(f"{term!r} has a % that begins no macro")
    for match in _MACRO.finditer(text):
        if match[2] and int(match[2]) == 0:
            raise SpfSyntaxError(f"{term!r}: the macro {match[0]} keeps no part")
