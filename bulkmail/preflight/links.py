"""Judge the links and pictures of a page by what they say; whether a server answers is asked elsewhere."""

import ipaddress
import re
from collections.abc import Collection, Iterator
from urllib.parse import SplitResult, unquote, urlsplit

from bulkmail.address import AddressError, parse_address
from bulkmail.preflight.finding import Finding, found
from bulkmail.preflight.page import Link, Page, Picture

SHORTENERS = frozenset(("bit.ly", "buff.ly", "cutt.ly", "goo.gl", "is.gd", "ow.ly", "rb.gy", "rebrand.ly",
                        "shorturl.at", "t.co", "t.ly", "tiny.cc", "tinyurl.com"))  # fmt: skip
STAND_INS = frozenset(("example.com", "example.net", "example.org", "www.example.com", "yourdomain.com", "domain.com",
                       "yourcompany.com", "your-domain.com", "mysite.com", "yoursite.com"))  # fmt: skip
_STAND_IN_WORDS = re.compile(
    r"\b(?:todo|tbd|fixme|xxx+|your[-_]?(?:link|url|page|domain|site)|insert[-_]?(?:link|url)|link[-_]?here)\b"
    r"|lorem|\[[a-z _-]+\]",
    re.IGNORECASE,
)
FOLLOWED = frozenset(("http", "https", "mailto", "tel", "sms"))
PRIVATE_NAMES = (".local", ".localhost", ".internal", ".lan", ".test", ".home.arpa")
HARD_FORMATS = (".svg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".heic")
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}", re.IGNORECASE)
_SHOWN_HOST = re.compile(r"(?:https?://)?((?:[a-z0-9-]+\.)+[a-z]{2,})(?:[/?#]\S*)?", re.IGNORECASE)


def link_findings(page: Page, where: str) -> Iterator[Finding]:
    """What is wrong with the links, each at its first fault."""
    for link in page.links:
        target = (link.target or "").strip()
        yield from _target_findings(target, link, page, where)
        if target and not link.words.strip():
            what = f"the link to {target} has no words" + (" and its picture no alt text" if link.pictures else "")
            yield found("links.wordless", what, where=where, remedy="say in words where it leads")


def _target_findings(target: str, link: Link, page: Page, where: str) -> Iterator[Finding]:
    shown = f'"{" ".join(link.words.split())[:60]}"' if link.words.strip() else "a link"
    if target in ("", "#"):
        yield found("links.empty", f"{shown} leads nowhere", where=where, remedy="give it a target, or take it out")
        return
    if target.startswith("#"):
        if unquote(target[1:]) not in page.anchors:
            what = f"{shown} leads to {target}, which the page does not have"
            yield found("links.anchor", what, where=where, remedy=f'add id="{target[1:]}" where it should lead')
        return
    if (
        _STAND_IN_WORDS.search(target)
        or (urlsplit_or_none(target) or SplitResult("", "", "", "", "")).hostname in STAND_INS
    ):
        yield found(
            "links.placeholder", f"{shown} leads to the stand-in {target}", where=where, remedy="put the real one"
        )
        return
    scheme = re.match(r"([a-z][a-z0-9+.-]*):", target, re.IGNORECASE)
    if scheme is None:
        if target.startswith("//"):
            yield found(
                "links.relative", f"{shown}: {target} has no scheme", where=where, remedy=f"write https:{target}"
            )
        else:
            what = f"{shown}: {target} has no scheme and host"
            yield found("links.relative", what, where=where, remedy="write the whole URL, with https://")
        return
    if scheme[1].lower() not in FOLLOWED:
        yield found("links.scheme", f"{shown}: no mail program follows {scheme[0]}", where=where, remedy="use https")
    elif scheme[1].lower() == "mailto":
        yield from _mailto_findings(target, shown, where)
    elif scheme[1].lower() in ("http", "https"):
        yield from _web_findings(target, link, shown, where)


def _mailto_findings(target: str, shown: str, where: str) -> Iterator[Finding]:
    address = unquote(target[len("mailto:") :].partition("?")[0])
    try:
        parse_address(address)
    except AddressError as error:
        yield found("links.mailto", f"{shown}: {target}: {error}", where=where, remedy="write mailto:local@domain")


def _web_findings(target: str, link: Link, shown: str, where: str) -> Iterator[Finding]:
    parts = urlsplit_or_none(target)
    host = (parts.hostname or "") if parts is not None else ""
    if parts is None or not host or re.search(r"[\s<>\"\\^`{|}]", target) or not parts.netloc:
        what = f"{shown}: {target} is no URL"
        yield found("links.syntax", what, where=where, remedy="percent-encode what may not stand in a URL")
        return
    if is_local(host):
        yield found(
            "links.local",
            f"{shown} leads to {host}, which only you can reach",
            where=where,
            remedy="put the public address",
        )
        return
    if _ip(host) is not None:
        yield found("links.address", f"{shown} leads to the address {host}", where=where, remedy="use a name")
    elif not _HOST.fullmatch(host if host.isascii() else _ascii(host)):
        yield found("links.syntax", f"{shown}: {host} is no host name", where=where, remedy="look at the spelling")
        return
    if parts.username is not None:
        what = f"{shown}: {target} has a user name before @, so it leads to {host}"
        yield found("links.user", what, where=where, remedy="take it out")
    if parts.scheme.lower() == "http":
        yield found("links.insecure", f"{shown} leads to {target} by http", where=where, remedy="use https")
    if host.removeprefix("www.") in SHORTENERS:
        yield found("links.shortener", f"{shown} leads through {host}", where=where, remedy="link to the page itself")
    promised = _SHOWN_HOST.fullmatch(" ".join(link.words.split()))
    if promised is not None and not same_house(promised[1].lower(), host):
        what = f"{shown} leads to {host}"
        yield found("links.mismatch", what, where=where, remedy="let words and target name the same host")


def picture_findings(page: Page, attached: Collection[str], where: str) -> Iterator[Finding]:
    """`attached` are the Content-IDs of the message's parts, without their brackets."""
    for picture in page.pictures:
        source = picture.source.strip()
        if picture.alt is None:
            what = f"the picture {source[:80] or 'without a source'} has no alt text"
            yield found("images.alt", what, where=where, remedy='say what it shows, or alt="" for mere decoration')
        yield from _source_findings(source, picture, attached, where)


def _source_findings(source: str, picture: Picture, attached: Collection[str], where: str) -> Iterator[Finding]:
    scheme, _, rest = source.partition(":")
    scheme = scheme.lower() if ":" in source else ""
    if not source:
        yield found("images.missing", "a picture without a source", where=where, remedy="give it one, or take it out")
    elif scheme == "cid":
        if unquote(rest) not in attached:
            what = f"{source} is not in the message"
            yield found("images.missing", what, where=where, remedy="add the file to content.inline")
    elif scheme == "data":
        yield found(
            "images.data", f"{source[:40]}... is inside the page", where=where, remedy="use content.inline and cid:"
        )
    elif scheme not in ("http", "https"):
        yield found(
            "images.local", f"{source} is a file of this machine", where=where, remedy="use content.inline, or a URL"
        )
    else:
        parts = urlsplit_or_none(source)
        host = (parts.hostname or "") if parts is not None else ""
        if parts is None or not host:
            yield found("images.missing", f"{source} is no URL", where=where, remedy="look at the spelling")
        elif is_local(host):
            yield found(
                "images.local", f"{source}: only you can reach {host}", where=where, remedy="put it on a public server"
            )
        elif scheme == "http":
            yield found("images.insecure", f"{source} is fetched by http", where=where, remedy="use https")
    path = (urlsplit_or_none(source) or SplitResult("", "", source, "", "")).path if scheme != "data" else ""
    if path.lower().endswith(HARD_FORMATS):
        what = f"{source} is not shown by every mail program"
        yield found("images.format", what, where=where, remedy="use png, jpg or gif")


def urlsplit_or_none(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    return parts


def is_local(host: str) -> bool:
    """A host that only this machine or network can reach."""
    address = _ip(host)
    if address is not None:
        return not address.is_global
    return host == "localhost" or host.endswith(PRIVATE_NAMES) or "." not in host


def same_house(one: str, other: str) -> bool:
    """One is the other or below it, or both are below the same registered name, as far as two labels tell."""
    one, other = one.removeprefix("www."), other.removeprefix("www.")
    short = min(one, other, key=len)
    if one == other or f".{one}".endswith(f".{other}") or f".{other}".endswith(f".{one}"):
        return True
    parent = ".".join(short.split(".")[-2:])
    return len(parent.split(".")[0]) > 3 and one.endswith(f".{parent}") and other.endswith(f".{parent}")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _ascii(host: str) -> str:
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return ""
