"""Cuts a notice in two: what the mail system says, and the returned message that it quotes below."""

import re

from msgspec import Struct

NOTICE_LIMIT = 16 << 10
RULE = r"[\s>*|_=+#-]{0,80}"

# A line that announces the returned message. It stands alone, or is set off by dashes.
_ANNOUNCED = re.compile(
    rf"^{RULE}(?:"
    r"(?:here|below|the) .{0,40}is a copy of .{0,30}message|this is a copy of .{0,30}message"
    r"|(?:an? )?copy of (?:the|your)(?: original)? message|included is a copy|attachment is a copy"
    r"|(?:the )?(?:original|returned|unsent|undelivered|rejected|bounced|failed) (?:message|mail|e-?mail)"
    r"(?: (?:follows|header|headers|text|body|as received|received|below|attached|sent|is|was|details)\b.{0,60})?"
    r"|(?:the )?(?:message|mail)(?:'s)? (?:headers?|text|body|contents?)(?: and .{0,30})? (?:follows?|suppressed)"
    r"|(?:the )?(?:message|mail) (?:header|headers|text|body) "
    r"|(?:the )?headers? (?:of|from) the (?:original|returned|failed) "
    r"|(?:the )?first \d+ lines of your|(?:the )?header and top \d+ lines"
    r"|non-?delivered message|old message|your message reads|a summary of the undelivered|message header[s]? follow"
    r"|mensaje original|message (?:d'origine|original)|messaggio originale|urspr(?:ü|ue)ngliche nachricht"
    r"|mensagem original|元のメッセージ|исходное сообщение|копия сообщения"
    r")",
    re.IGNORECASE,
)
# Of these any is the top of a header. `To:` and `Subject:` are not: notices repeat them in a summary.
_TOP = re.compile(
    r"^>? ?(?:Received|Return-Path|Delivered-To|DKIM-Signature|X-Received|X-Google-Smtp-Source|MIME-Version|Message-ID"
    r"|X-Original-To|ARC-Seal|Authentication-Results|X-Mailer|X-Envelope-From)[ \t]*:",
    re.IGNORECASE,
)
_HEADER = re.compile(r"^>? ?[A-Za-z][A-Za-z0-9-]{1,60}[ \t]*:")


class Notice(Struct, frozen=True):
    """The lines of a mail system's own words, and the text of the message that it returned ("" without one)."""

    lines: tuple[str, ...]
    returned: str


def cut(text: str) -> Notice:
    """Where the quoted message begins; all is notice where none does."""
    lines = text[: 4 * NOTICE_LIMIT].split("\n")
    said = 0
    for number, line in enumerate(lines):
        if _TOP.match(line) and said:
            start = number
            while start and _HEADER.match(lines[start - 1]) and not lines[start - 1].lower().startswith("reason"):
                start -= 1
            return Notice(tuple(lines[:number]) if start == 0 else tuple(lines[:start]), _unquoted(lines[start:]))
        if said and _ANNOUNCED.match(line) and "@" not in line:
            return Notice(tuple(lines[:number]), _unquoted(_from_header(lines[number + 1 :])))
        said += line.strip(" \t-=_*|~") != ""
    return Notice(tuple(lines), "")


def _from_header(lines: list[str]) -> list[str]:
    """From the first line that may be a header's: rules and empty lines may stand before it."""
    for number, line in enumerate(lines[:10]):
        if _HEADER.match(line):
            return lines[number:]
    return lines


def _unquoted(lines: list[str]) -> str:
    if lines and lines[0].startswith(">"):
        lines = [line[1:].removeprefix(" ") for line in lines]
    return "\n".join(lines)
