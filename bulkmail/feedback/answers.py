"""Finds in a diagnostic what the refusing server answered, and to which command."""

import re
from collections.abc import Iterable

from msgspec import Struct

from bulkmail.feedback.report import DIAGNOSTIC_LIMIT
from bulkmail.model.delivery import Stage

# A reply code stands alone: not in an address, an IP address, a number with more digits, or an identifier.
_CODE = re.compile(
    r"(?<![\w.@/:+-])([45][0-5]\d)(?=[\s:;,#-]|$)[\s:;,#-]{0,4}(?:[45][0-5]\d[ -]+)?(?:\(?#?([245]\.\d{1,3}\.\d{1,3}))?"
)
_ENHANCED = re.compile(r"(?<![\w.-])#?([245]\.\d{1,3}\.\d{1,3})(?![\w.]\d)")
_LABELLED_CODE = re.compile(r"(?:error[ _]code|smtp code|code)\s*[:=]?\s*([45][0-5]\d)\b", re.IGNORECASE)
_SIZE = re.compile(r"\s(?:bytes|kb|mb|octets|seconds|minutes|hours|days|messages)", re.IGNORECASE)
_CONTINUED = re.compile(r"(?<!\S)[45]\d\d-(?:[245]\.\d{1,3}\.\d{1,3})?")
_STAGES = (
    (Stage.MESSAGE, re.compile(r"end of data|final DATA|after BDAT|message body", re.IGNORECASE)),
    (Stage.DATA, re.compile(r"reply to DATA command|after DATA\b")),
    (
        Stage.RCPT,
        re.compile(r"\bRCPT\b|does not like recipient|rejected recipient|recipient address rejected", re.IGNORECASE),
    ),
    (Stage.MAIL, re.compile(r"\bMAIL FROM\b|\bMAIL command|does not like sender", re.IGNORECASE)),
    (Stage.EHLO, re.compile(r"\b(?:HELO|EHLO) command|after (?:HELO|EHLO)", re.IGNORECASE)),
    (
        Stage.GREETING,
        re.compile(r"initial connection|refused to\s+talk to me|server greeting|after connect", re.IGNORECASE),
    ),
    (Stage.CONNECT, re.compile(r"\bconnect to \S+\[|did not accept our requests to connect", re.IGNORECASE)),
)


class Answer(Struct, frozen=True, kw_only=True):
    """A reply as a diagnostic quotes it: code 0 and enhanced "" where there is none."""

    code: int = 0
    enhanced: str = ""
    text: str = ""
    stage: Stage = Stage.NONE


def read_answer(text: str) -> Answer:
    """What `text` quotes of a server; with no code in it, all of it is the text."""
    text = " ".join(text[: 2 * DIAGNOSTIC_LIMIT].split())[:DIAGNOSTIC_LIMIT]
    code, enhanced, start = 0, "", 0
    for match in _CODE.finditer(text):
        if not _SIZE.match(text, match.end() - (text[match.end() - 1] == " ")):
            code, enhanced, start = int(match[1]), match[2] or "", match.end()
            break
    if not code:
        labelled = _LABELLED_CODE.search(text)
        code = int(labelled[1]) if labelled is not None else 0
    if not enhanced:
        # Within the reply where there is one: what stands before it is the reporting host's.
        found = _ENHANCED.search(text, start)
        enhanced = found[1] if found is not None else ""
    return Answer(code=code, enhanced=enhanced, text=_CONTINUED.sub(" ", text), stage=stage_of(text))


_COMMAND = re.compile(r"^\s*>>> (RCPT|DATA|MAIL|EHLO|HELO|\.$)", re.IGNORECASE)
_COMMANDS = {"RCPT": Stage.RCPT, "DATA": Stage.DATA, "MAIL": Stage.MAIL, "EHLO": Stage.EHLO, "HELO": Stage.EHLO}
_REFUSAL = re.compile(r"^\s*<<< [45]\d\d")


def stage_in_transcript(lines: Iterable[str]) -> Stage:
    """The command before the first refusal, of those that a notice repeats as `>>> RCPT TO:...`."""
    stage = Stage.NONE
    for line in lines:
        command = _COMMAND.match(line)
        if command is not None:
            stage = _COMMANDS.get(command[1].upper(), Stage.MESSAGE)
        elif stage and _REFUSAL.match(line):
            return stage
    return Stage.NONE


def stage_of(text: str) -> Stage:
    """Which command a diagnostic says was answered."""
    for stage, pattern in _STAGES:
        if pattern.search(text):
            return stage
    return Stage.NONE
