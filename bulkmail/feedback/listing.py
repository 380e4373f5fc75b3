"""Finds in a mail system's own words which recipients it speaks of, and what it says of each."""

import re
from collections.abc import Iterable
from enum import IntEnum

from msgspec import Struct

from bulkmail.feedback.addresses import addresses_in
from bulkmail.feedback.report import RECIPIENT_LIMIT

LINE_LIMIT = 400
WIDTH_LIMIT = 2000
BLOCK_LINES = 25

_OPENING = re.compile(r"^[\s>*|~.\u2022\u00b7\"'<(\[-]*(?:smtp:)?[\"<(\[]*$", re.IGNORECASE)
_CLOSING = re.compile(r"^[>\"')\]]*[\s.]*(?:$|[:;,]\s*$|[:;](?:\s|$)|\.\.\. |\[|\( ?(?:reason|expanded)|on \w{3},|- )")
_LABEL = re.compile(
    r"(?:recipients?|rcpt|addresse?e?s?|user ?id|userid|unknown user|error-for|addressee|destinat\w+|mailbox"
    r"|empf\w+nger"
    r"|attempts|deliver\w* to|dda:smtp|is full|宛先|адрес\w*)(?:\(s\)"
    r"|\(es\))?[^@:=\]]{0,24}[:=\]]\s*[\[\"'<(]*(?:smtp[:=])?[<\"]*$",
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    r"(?:deliver\w*|undeliverable|message|mail|sent|reach\w*|rejected recipient|addressed|failed|failure"
    r"|recipient|address"
    r"|mailbox|account|group|user)\b[^@]{0,60}?(?:\bto|\bfor|recipient|user|mailbox|address(?:ed)?,?"
    r"|recipient \(?)\s*[\"'<(\[]*$",
    re.IGNORECASE,
)
_TRANSCRIPT = re.compile(r"rcpt to:?\s*<?$|^[ \t]{0,20}(?:<<<|>>>)?[ \t]{0,20}[45]\d\d[ -][^@]{0,40}$", re.IGNORECASE)
_GENERATED = re.compile(
    r"^\s*\(?(?:generated|expanded|originally|was|ultimately generated) (?:from|by|addressed to)\b", re.IGNORECASE
)
_SUMMARY = re.compile(r"^[ \t]{0,20}\*?[ \t]{0,20}(?:to|an|à|a|para|宛先|кому)\s*:\s", re.IGNORECASE)
_OTHERS = re.compile(
    r"(?:^|[\s<>*])(?:mail from|from|sender|reply-?to|return-path|cc|bcc|sent by|de|von|da|message-?id|contact"
    r"|e-?mail|date"
    r"|url|mailto|help|list-\w+|x-[\w-]+|subject)\s*:[^@]*$"
    r"|\b(?:contact|assistance|questions|support|helpdesk|help desk|administrator|notify|forwarded? to|write to"
    r"|instead|try"
    r"|please (?:send|reply|e?mail|call|use|try|visit)|reports? (?:to|this)|complaints?|reply to|hello|dear|hi"
    r"|goodbye)\b[^@]*$"
    r"|\b(?:from|by|via|sender)\s*[\"'<(]*$",
    re.IGNORECASE,
)
_ROLES = frozenset(("postmaster", "mailer-daemon", "abuse", "hostmaster", "webmaster", "support", "helpdesk", "noc"))
_ANSWER = re.compile(r"^[ \t]{0,20}(?:<<<|>>>)?[ \t]{0,20}[45]\d\d[ -]")
_CHATTER = re.compile(r"^\s*(?:giving up on|\(other mxes|the mts-id|;l=)|^\s*--- end", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{2,}")


class Rank(IntEnum):
    """How surely an address is one that the notice is about; the lowest that occurs counts, no other."""

    LISTED = 1
    NAMED = 2
    ANSWERED = 3
    LEADING = 4
    MENTIONED = 5
    SUMMARY = 6


class Mention(Struct, frozen=True):
    line: int
    rank: Rank
    address: str


class Listed(Struct, frozen=True):
    """A recipient, where the mail to it went from there ("" if nowhere), and what is said of it."""

    address: str
    final: str
    text: str


def listed_recipients(
    lines: Iterable[str], *, own: frozenset[str], known: frozenset[str] = frozenset()
) -> list[Listed]:
    """`own` are addresses of the notice's sender and receiver; `known`, if any, the only ones looked for.

    All in lower case.
    """
    text = [line[:WIDTH_LIMIT].rstrip() for line in lines][:LINE_LIMIT]
    mentions, origins = _mentions(text, own)
    if known:
        mentions = [each for each in mentions if each.address.lower() in known]
    if not mentions:
        return []
    best = min(mention.rank for mention in mentions)
    chosen: dict[str, Mention] = {}
    for mention in mentions:
        if mention.rank == best:
            chosen.setdefault(mention.address.lower(), mention)
    picked = list(chosen.values())[:RECIPIENT_LIMIT]
    found = []
    last = picked[-1].line
    for number, mention in enumerate(picked):
        following = picked[number + 1].line if number + 1 < len(picked) else len(text)
        origin = next(
            (origins[at] for at in range(mention.line, min(following, mention.line + 3)) if at in origins), ""
        )
        found.append(
            Listed(
                origin or mention.address,
                mention.address if origin else "",
                _said_of(text, mention, following, last, alone=len(picked) == 1),
            )
        )
    return found


def _mentions(text: list[str], own: frozenset[str]) -> tuple[list[Mention], dict[int, str]]:
    """All addresses with their ranks; and, by line, those that another was made from."""
    mentions: list[Mention] = []
    origins: dict[int, str] = {}
    for number, line in enumerate(text):
        if "@" not in line:
            continue
        generated = _GENERATED.match(line)
        for start, end, address in addresses_in(line):
            if generated is not None:
                if mentions or number:
                    origins[number] = address
                mentions.append(Mention(number, Rank.NAMED, address))
                continue
            rank = _rank(line, start, end, address, text, number)
            if rank is not None and not (address.lower() in own and rank > Rank.LISTED):
                mentions.append(Mention(number, rank, address))
    return mentions, origins


def _rank(line: str, start: int, end: int, address: str, text: list[str], number: int) -> Rank | None:
    before, after = line[:start], line[end:]
    opening = _OPENING.match(before) is not None
    if opening and _CLOSING.match(after):
        return Rank.LISTED
    if opening and f"<{address.lower()}>" in after.lower():
        return Rank.LISTED
    if _SUMMARY.match(before + " "):
        return Rank.SUMMARY
    if _LABEL.search(before) and not re.match(r"\s*(?:mail )?from", before, re.IGNORECASE):
        return Rank.ANSWERED if "rcpt" in before.lower() else Rank.LISTED
    if address.rpartition("@")[0].lower() in _ROLES or _OTHERS.search(before):
        return None
    if not before.strip(" \t\"'<([") and number and not text[number - 1].rstrip().endswith((".", ":")):
        # A sentence may have been wrapped before the address.
        before = text[number - 1][-80:] + " " + before
        if _OTHERS.search(before):
            return None
    if _TRANSCRIPT.search(before):
        return Rank.ANSWERED
    if _SENTENCE.search(before):
        return Rank.NAMED
    return Rank.LEADING if opening else Rank.MENTIONED


def _said_of(text: list[str], mention: Mention, following: int, last: int, *, alone: bool) -> str:
    """From the line that names it to the next; what is said of all; or else what stands before."""
    lines = text[mention.line : min(following, mention.line + BLOCK_LINES)]
    block = _joined(lines)
    if _telling(block, mention.address):
        if alone and not any(map(_ANSWER.match, lines)):
            # The answer that a summary of the transaction follows.
            return f"{_joined([line for line in text[: mention.line] if _ANSWER.match(line)])} {block}".strip()
        return block
    if mention.line != last or following < len(text):
        tail = text[last + 1 : last + 1 + 2 * BLOCK_LINES]
        about = [line for line in tail if mention.address.lower() in line.lower()]
        shared = _joined(about) or _joined(tail[:BLOCK_LINES])
        if _telling(shared, mention.address):
            return shared
    before = [line for line in text[: mention.line] if line.strip()][-4:]
    return f"{_joined(before)} {block}".strip()


def _joined(lines: Iterable[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip() and not _CHATTER.match(line))


def _telling(text: str, address: str) -> bool:
    """Whether more than the address and a word is said."""
    return len(_WORD.findall(text.replace(address, " "))) >= 2
