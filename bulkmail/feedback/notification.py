"""Reads notifications that carry JSON, as sending services mail them, in the form that Amazon SES began."""

import re
from typing import Any

import msgspec

from bulkmail.feedback.addresses import tidied
from bulkmail.feedback.answers import read_answer
from bulkmail.feedback.report import DIAGNOSTIC_LIMIT, RECIPIENT_LIMIT, Action, Kind, Report, ReportedRecipient

_START = re.compile(r"^[ \t]{0,20}\{", re.MULTILINE)
_WRAPPED = re.compile(r"!?\r?\n[ ]?")
_TYPES = {"Bounce": Kind.BOUNCE, "Complaint": Kind.COMPLAINT, "Delivery": Kind.DELIVERED, "DeliveryDelay": Kind.DELAYED}
_ACTIONS = {Kind.BOUNCE: Action.FAILED, Kind.DELAYED: Action.DELAYED, Kind.DELIVERED: Action.DELIVERED}
_LISTS = ("bouncedRecipients", "complainedRecipients", "delayedRecipients", "recipients")


def read_notification(text: str) -> Report | None:
    """None where the text holds no such notification."""
    if "notificationType" not in text and "eventType" not in text:
        return None
    start = _START.search(text)
    if start is None:
        return None
    lines = text[start.start() :].lstrip()
    end = lines.find("\n--\n")
    body = _WRAPPED.sub("", lines if end < 0 else lines[:end])
    try:
        value: Any = msgspec.json.decode(body[: body.rfind("}") + 1].encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return None
    return _report(value) if isinstance(value, dict) else None


def _report(value: dict[str, Any]) -> Report | None:
    kind = _TYPES.get(_text(value.get("notificationType") or value.get("eventType")))
    if kind is None:
        return None
    detail = next((value[name] for name in ("bounce", "complaint", "deliveryDelay", "delivery") if name in value), None)
    if not isinstance(detail, dict):
        return None
    mail = value.get("mail")
    mail = mail if isinstance(mail, dict) else {}
    named: list[Any] = next((detail[name] for name in _LISTS if isinstance(detail.get(name), list)), [])
    if kind is Kind.BOUNCE and _text(detail.get("bounceType")) == "Transient" and not named:
        kind = Kind.NONE
    recipients = []
    for one in named[:RECIPIENT_LIMIT]:
        fields = one if isinstance(one, dict) else {"emailAddress": one}
        address = tidied(_text(fields.get("emailAddress")).strip("<> "))
        if address:
            answer = read_answer(_text(fields.get("diagnosticCode")).removeprefix("smtp;"))
            recipients.append(
                ReportedRecipient(
                    address=address,
                    action=_ACTIONS.get(kind, Action.FAILED),
                    status=_text(fields.get("status"))[:12],
                    code=answer.code,
                    enhanced=answer.enhanced,
                    stage=answer.stage,
                    diagnostic=answer.text,
                    quoted=bool(answer.code),
                )
            )
    headers = mail.get("commonHeaders")
    message_id = _text(headers.get("messageId")) if isinstance(headers, dict) else ""
    return Report(
        kind=kind,
        recipients=tuple(recipients),
        message_id=message_id.strip("<> ") or _text(mail.get("messageId")),
        return_path=_text(mail.get("source")),
        feedback_type=_text(detail.get("complaintFeedbackType")) or ("abuse" if kind is Kind.COMPLAINT else ""),
        source="json",
    )


def _text(value: object) -> str:
    return value[:DIAGNOSTIC_LIMIT] if isinstance(value, str) else ""
