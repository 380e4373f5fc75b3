"""Reads delivery-status fields (RFC 3464, RFC 6533), from their own part or from a text that quotes them."""

import re
from collections.abc import Iterator

from msgspec import Struct

from bulkmail.feedback.addresses import typed_address
from bulkmail.feedback.answers import read_answer
from bulkmail.feedback.report import DIAGNOSTIC_LIMIT, RECIPIENT_LIMIT, Action, ReportedRecipient

_FIELD = re.compile(
    r"^[ \t]*((?:original|final|x-actual|reporting|remote|diagnostic|last|will|received|arrival|x-[a-z-]{1,40})"
    r"(?:-[a-z-]{1,40})?|action|status)[ \t]*:[ \t]*(.*)$",
    re.IGNORECASE,
)
_RECIPIENT_FIELDS = frozenset(
    ("final-recipient", "original-recipient", "action", "status", "diagnostic-code", "remote-mta")
)
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_ACTIONS = {
    "failed": Action.FAILED,
    "failure": Action.FAILED,
    "fail": Action.FAILED,
    "error": Action.FAILED,
    "expired": Action.FAILED,
    "delayed": Action.DELAYED,
    "delay": Action.DELAYED,
    "delivered": Action.DELIVERED,
    "relayed": Action.DELIVERED,
    "relay": Action.DELIVERED,
    "expanded": Action.DELIVERED,
    "deliverable": Action.DELIVERED,
}
_FIRST_WORD = re.compile(r"[a-z]+")
_QUOTED_TYPE = re.compile(r"^\s*([A-Za-z0-9-]{1,40})\s*;\s*")


class DeliveryStatus(Struct, frozen=True, kw_only=True):
    """The fields of one report; `envelope_id` is what the sender gave as ENVID."""

    recipients: tuple[ReportedRecipient, ...]
    reporting_host: str = ""
    envelope_id: str = ""
    sender: str = ""


def read_status(text: str) -> DeliveryStatus:
    """Every group of fields that names a recipient; what is said of the message applies to all."""
    message: dict[str, str] = {}
    recipients: list[ReportedRecipient] = []
    for group in _groups(text):
        if not group.keys() & ("final-recipient", "original-recipient"):
            # First come, first kept: a group on a recipient without an address must not speak for the others.
            message = group | message
        elif len(recipients) < RECIPIENT_LIMIT:
            recipient = _recipient(group)
            if recipient is not None:
                recipients.append(recipient)
    return DeliveryStatus(
        recipients=_once(recipients),
        reporting_host=_host(message.get("reporting-mta", "")),
        envelope_id=message.get("original-envelope-id", ""),
        sender=typed_address(message.get("x-postfix-sender", "")),
    )


def _groups(text: str) -> Iterator[dict[str, str]]:
    """Fields up to an empty line, or up to where one of a recipient's begins anew."""
    fields: dict[str, str] = {}
    last = ""
    for line in text.split("\n"):
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, ""
            continue
        match = None if line[0] in " \t" and last else _FIELD.match(line)
        if match is not None:
            name = match[1].lower()
            if name in fields and name in ("final-recipient", "action", "original-recipient"):
                yield fields
                fields = {}
            fields.setdefault(name, match[2].strip())
            last = name
        elif last and line[0] in " \t" and len(fields[last]) < DIAGNOSTIC_LIMIT:
            fields[last] = f"{fields[last]} {line.strip()}".strip()
        elif line[0] not in " \t":
            last = ""
    if fields:
        yield fields


def _recipient(group: dict[str, str]) -> ReportedRecipient | None:
    final = typed_address(group.get("final-recipient", ""))
    original = typed_address(group.get("original-recipient", ""))
    address = original or final
    if not address:
        return None
    match = _STATUS.search(group.get("status", ""))
    status = ".".join(match.groups()) if match is not None else ""
    action = _action(group.get("action", ""), status)
    if action is None:
        return None
    diagnostic = group.get("diagnostic-code", "")
    kind = _QUOTED_TYPE.match(diagnostic)
    text = diagnostic[kind.end() :] if kind is not None else diagnostic
    if not text.strip(" .0123456789"):
        # Some put the words behind the status or the action (`5.1.1 (bad mailbox)`), and nothing here.
        text = " ".join(
            part.partition("(")[2].rstrip(") ") for part in (group.get("status", ""), group.get("action", ""))
        )
    answer = read_answer(text)
    return ReportedRecipient(
        address=address,
        final=final if final != address else "",
        action=action,
        status=status,
        code=answer.code,
        enhanced=answer.enhanced,
        stage=answer.stage,
        diagnostic=answer.text,
        quoted=bool(answer.code),
        remote_host=_host(group.get("remote-mta", "")),
    )


def _action(text: str, status: str) -> Action | None:
    """What the field says, or else the class of the status; None where neither says anything."""
    word = _FIRST_WORD.match(text.lower().strip())
    found = _ACTIONS.get(word[0]) if word is not None else None
    if found is not None:
        return found
    by_class = {"5": Action.FAILED, "4": Action.DELAYED, "2": Action.DELIVERED}
    return by_class.get(status[:1])


def _host(value: str) -> str:
    _, semicolon, host = value.partition(";")
    words = (host if semicolon else value).split()
    return words[0][:255] if words else ""


def _once(recipients: list[ReportedRecipient]) -> tuple[ReportedRecipient, ...]:
    """Each address once; what failed for good stands before what did not."""
    kept: dict[str, ReportedRecipient] = {}
    for recipient in recipients:
        key = recipient.address.lower()
        before = kept.get(key)
        if before is None or (before.action is not Action.FAILED and recipient.action is Action.FAILED):
            kept[key] = recipient
    return tuple(kept.values())
