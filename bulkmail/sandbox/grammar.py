"""The arguments of SMTP commands, as strictly as RFC 5321 §4.1.2 writes them.

Written for the receiving side alone and on purpose without the sender's address code: two readers of one grammar find
each other's mistakes.
"""

import re

import idna
from msgspec import Struct

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_LOCAL = rf'(?:{_ATOM}(?:\.{_ATOM})*|"(?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\x20-\x7e])*")'
_LABEL = r"[A-Za-z0-9\x80-\U0010ffff](?:[A-Za-z0-9\x80-\U0010ffff-]*[A-Za-z0-9\x80-\U0010ffff])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_LITERAL = r"\[[A-Za-z0-9:.-]+\]"
_PATH = re.compile(rf"<(?:({_LOCAL})@({_DOMAIN}|{_LITERAL}))?>")
_POSTMASTER = re.compile(r"<postmaster>", re.IGNORECASE)
_GREETED = re.compile(rf"{_DOMAIN}|{_LITERAL}")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\U0010ffff]+))?")
_SIZE = re.compile(r"[0-9]{1,20}")


class Fault(Exception):
    """An argument that a command cannot have; the reply to it."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        self.code, self.enhanced, self.text = code, enhanced, text
        super().__init__(text)


class Path(Struct, frozen=True):
    """What stands between `<` and `>`: both parts empty for the null path; the domain lower-cased."""

    local: str = ""
    domain: str = ""

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local


class MailArguments(Struct, frozen=True):
    """`size_bytes` 0: not declared."""

    sender: Path
    size_bytes: int
    body: str
    utf8: bool


def parse_greeted(argument: str) -> str:
    """The name a client greets with (RFC 5321 §4.1.1.1)."""
    if not _GREETED.fullmatch(argument) or len(argument) > 255 or not argument.isascii():
        raise Fault(501, "5.5.4", "A domain name or an address literal is needed")
    return argument


def parse_mail(argument: str, extensions: frozenset[str]) -> MailArguments:
    """`FROM:<path>` and parameters of the extensions offered (RFC 5321 §4.1.1.2, 1870, 6152, 6531)."""
    path, parameters = _split(argument, "FROM:")
    size, body, utf8 = 0, "7BIT", False
    for keyword, value in parameters:
        if keyword == "SIZE" and "SIZE" in extensions:
            if value is None or not _SIZE.fullmatch(value):
                raise Fault(501, "5.5.4", "SIZE needs a number")
            size = int(value)
        elif keyword == "BODY" and "8BITMIME" in extensions:
            body = (value or "").upper()
            if body not in ("7BIT", "8BITMIME"):
                raise Fault(501, "5.5.4", "BODY is 7BIT or 8BITMIME")
        elif keyword == "SMTPUTF8" and "SMTPUTF8" in extensions and value is None:
            utf8 = True
        else:
            raise Fault(555, "5.5.4", f"Unsupported parameter {keyword}")
    return MailArguments(_path(path, utf8=utf8), size, body, utf8)


def parse_rcpt(argument: str, *, utf8: bool) -> Path:
    """`TO:<path>`; no parameter is known, and the null path only stands for senders."""
    path, parameters = _split(argument, "TO:")
    if parameters:
        raise Fault(555, "5.5.4", f"Unsupported parameter {parameters[0][0]}")
    if _POSTMASTER.fullmatch(path):
        return Path("postmaster", "")
    recipient = _path(path, utf8=utf8)
    if not recipient.domain:
        raise Fault(501, "5.1.3", "A recipient is needed")
    return recipient


def ascii_domain(domain: str) -> str:
    """The A-label form of a domain (RFC 5890); itself where it has none."""
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return domain


def _split(argument: str, keyword: str) -> tuple[str, list[tuple[str, str | None]]]:
    if argument[: len(keyword)].upper() != keyword:
        raise Fault(501, "5.5.4", f"Syntax: {keyword}<address>")
    rest = argument[len(keyword) :]
    end = _end_of_path(rest)
    path, tail = rest[:end], rest[end:]
    parameters: list[tuple[str, str | None]] = []
    if tail:
        if tail[0] != " ":
            raise Fault(501, "5.5.4", "Parameters are separated by one space")
        for word in tail[1:].split(" "):
            match = _PARAMETER.fullmatch(word)
            if match is None:
                raise Fault(501, "5.5.4", "Parameters are KEYWORD or KEYWORD=value")
            if any(match[1].upper() == seen for seen, _ in parameters):
                raise Fault(501, "5.5.4", f"Parameter {match[1]} twice")
            parameters.append((match[1].upper(), match[2]))
    return path, parameters


def _end_of_path(text: str) -> int:
    """Where the path ends; a `>` inside a quoted local part does not end it."""
    if '"' not in text and ">" in text:
        return text.index(">") + 1
    quoted = False
    index = 0
    while index < len(text):
        char = text[index]
        if quoted and char == "\\":
            index += 1
        elif char == '"':
            quoted = not quoted
        elif char == ">" and not quoted:
            return index + 1
        index += 1
    raise Fault(501, "5.1.3", "A path stands between < and >")


def _path(text: str, *, utf8: bool) -> Path:
    match = _PATH.fullmatch(text)
    if match is None:
        raise Fault(501, "5.1.3", "Bad address syntax")
    if match[1] is None:
        return Path()
    if not text.isascii() and not utf8:
        raise Fault(553, "5.6.7", "A non-ASCII address needs SMTPUTF8")
    local, domain = match[1], match[2].lower()
    if len(local.encode()) > 64 or len(domain.encode()) > 255 or len(text.encode()) > 256:
        raise Fault(501, "5.1.3", "Address too long")
    return Path(local, domain)
