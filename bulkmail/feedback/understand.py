"""Understands a message that came back: its kind, its recipients, and where the message it speaks of came from."""

from msgspec import structs

from bulkmail.feedback.addresses import addresses_in
from bulkmail.feedback.answers import read_answer, stage_in_transcript, stage_of
from bulkmail.feedback.complaint import ABUSE, REPORT_TYPES, feedback_fields, loop_recipients, recipients_of
from bulkmail.feedback.decoding import TEXT_LIMIT, decoded, plain, text_of
from bulkmail.feedback.listing import Listed, listed_recipients
from bulkmail.feedback.mime import Headers, Part, Taken, headers_of, media_type, take_apart
from bulkmail.feedback.nature import from_daemon, is_notice, is_vacation, says_automatic, says_delayed
from bulkmail.feedback.notification import read_notification
from bulkmail.feedback.original import Original, read_original, tokens_in
from bulkmail.feedback.quoted import NOTICE_LIMIT, Notice, cut
from bulkmail.feedback.report import STANDARD, Action, Kind, Report, ReportedRecipient
from bulkmail.feedback.status import DeliveryStatus, read_status
from bulkmail.model.delivery import Stage

STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status", "message/deliverystatus")
RECEIPT_TYPES = ("message/disposition-notification", "message/global-disposition-notification")
RETURNED_TYPES = ("message/rfc822", "message/global", "text/rfc822-headers", "text/rfc822-header",
                  "message/global-headers", "text/rfc822", "message/partial")  # fmt: skip
_RECIPIENT_FIELD = ("final-recipient", "original-recipient")
_OURS = ("delivered-to", "x-original-to", "x-envelope-to", "envelope-to", "to", "x-rcpt-to")


def understand(data: bytes, *, envelope_recipient: str = "") -> Report:
    """What one message, as it was received, says of mail that was sent.

    `envelope_recipient` is the RCPT address that it came in by, where known. Raises FeedbackError alone, for what is
    over a limit. Time is linear in the size of `data`.
    """
    message = take_apart(data)
    original = _original(message)
    report = (
        _complaint(message, original) or _by_status(message) or _by_notification(message) or _wrapped(message, original)
    )
    return _with_origin(report or _by_words(message, data), message, original, envelope_recipient)


def _complaint(message: Taken, original: Part | None) -> Report | None:
    part = next((part for part in message.parts if part.type in REPORT_TYPES), None)
    if part is not None:
        fields = feedback_fields(text_of(part))
        if "feedback-type" in fields:
            kind = fields["feedback-type"][0].strip().lower()[:40]
            return _complained(recipients_of(fields), kind, "arf")
    recipients = loop_recipients(message, original)
    return None if recipients is None else _complained(recipients, ABUSE, "complaint loop")


def _complained(recipients: tuple[str, ...], feedback_type: str, source: str) -> Report:
    return Report(
        kind=Kind.COMPLAINT,
        recipients=tuple(ReportedRecipient(address=address, action=Action.DELIVERED) for address in recipients[:1000]),
        feedback_type=feedback_type,
        source=source,
    )


def _wrapped(message: Taken, original: Part | None) -> Report | None:
    """The report within: gateways wrap what passes them, whole, in a message of their own."""
    if original is None or original.type != "message/rfc822" or not from_daemon(message.headers):
        return None
    inner = headers_of(original.body[: 64 << 10])
    if media_type(inner) != "multipart/report" or not from_daemon(inner):
        return None
    return _by_status(take_apart(original.body))


def _by_status(message: Taken) -> Report | None:
    """By the fields of RFC 3464, wherever they stand: their part is often mislabelled."""
    for part in message.parts:
        if part.type in RETURNED_TYPES or not (part.type in STATUS_TYPES or part.type.startswith("text/")):
            continue
        text = text_of(part)
        lower = text.lower()
        if not any(name in lower for name in _RECIPIENT_FIELD):
            continue
        if part.type not in STATUS_TYPES:
            text = "\n".join(cut(text).lines)
            if "action" not in lower and "status" not in lower:
                continue
        status = read_status(text)
        if status.recipients:
            return _reported(message, status)
    return None


def _reported(message: Taken, status: DeliveryStatus) -> Report:
    actions = {recipient.action for recipient in status.recipients}
    kind = Kind.BOUNCE if Action.FAILED in actions else Kind.DELAYED if Action.DELAYED in actions else Kind.DELIVERED
    recipients = status.recipients
    if kind is Kind.BOUNCE:
        recipients = _with_words(message, recipients)
    return Report(kind=kind, recipients=recipients, reporting_host=status.reporting_host, return_path=status.sender,
                  tokens=tokens_in(status.envelope_id), source=STANDARD)  # fmt: skip


def _with_words(message: Taken, recipients: tuple[ReportedRecipient, ...]) -> tuple[ReportedRecipient, ...]:
    """What the notice beside the report knows and the report does not: the answer, or what it was given to."""
    notice = next((cut(text_of(part)) for part in message.parts if part.type.startswith("text/")), None)
    if notice is None:
        return recipients
    wanted = frozenset(name.lower() for each in recipients for name in (each.address, each.final) if name)
    said: dict[str, Listed] = {}
    for told in listed_recipients(notice.lines, own=frozenset(), known=wanted):
        said.setdefault(told.address.lower(), told)
        said.setdefault(told.final.lower(), told)
    completed = []
    for each in recipients:
        one = said.get(each.address.lower()) or said.get(each.final.lower() or "-")
        if one is not None and not each.diagnostic:
            answer = read_answer(one.text)
            each = structs.replace(each, code=answer.code, enhanced=answer.enhanced, stage=answer.stage,
                                   diagnostic=answer.text, quoted=bool(answer.code))  # fmt: skip
        elif each.stage is Stage.NONE:
            stage = stage_of(one.text) if one is not None else Stage.NONE
            if stage is Stage.NONE and len(recipients) == 1:
                stage = stage_in_transcript(notice.lines)
            each = structs.replace(each, stage=stage) if stage else each
        completed.append(each)
    return tuple(completed)


def _by_notification(message: Taken) -> Report | None:
    for part in message.parts[:4]:
        if part.type in ("text/plain", "application/json"):
            report = read_notification(text_of(part))
            if report is not None:
                return report
    return None


def _by_words(message: Taken, data: bytes) -> Report:
    """By what a mail system says in its own words, where it says it in no standard form."""
    headers = message.headers
    if any(part.type in RECEIPT_TYPES for part in message.parts) and "rejected" not in headers.get("auto-submitted"):
        return Report(kind=Kind.NONE, source="receipt")
    own = _own_addresses(headers)
    failed = [address for value in headers.all("x-failed-recipients")[:50]
              for _, _, address in addresses_in(value[:8192])]  # fmt: skip
    for notice, returned in _notices(message, data):
        words = "\n".join(notice.lines)[:NOTICE_LIMIT]
        if not is_notice(headers, words, returned=returned):
            continue
        found = listed_recipients(notice.lines, own=own)
        if failed:
            known = frozenset(address.lower() for address in failed)
            told = {one.address.lower(): one for one in found}
            told |= {one.final.lower(): one for one in found if one.final}
            told |= {one.address.lower(): one for one in listed_recipients(notice.lines, own=own, known=known)}
            found = [
                Listed(address, "", told[address.lower()].text if address.lower() in told else words)
                for address in dict.fromkeys(failed)
            ]
        if not found:
            continue
        action = Action.DELAYED if says_delayed(headers, words) else Action.FAILED
        return Report(
            kind=Kind.DELAYED if action is Action.DELAYED else Kind.BOUNCE,
            recipients=tuple(_recipient(one, action) for one in found),
            source="words",
        )
    if is_vacation(headers) or says_automatic(headers):
        return Report(kind=Kind.AUTOREPLY, source="headers")
    return _without_recipients(message, data)


def _without_recipients(message: Taken, data: bytes) -> Report:
    """A notice that names nobody: whom the returned message was for is known where that was one."""
    for notice, returned in _notices(message, data):
        words = "\n".join(notice.lines)[:NOTICE_LIMIT]
        if not is_notice(message.headers, words, returned=returned):
            continue
        action = Action.DELAYED if says_delayed(message.headers, words) else Action.FAILED
        original = _original_of(message, notice)
        recipients = original.recipients if len(original.recipients) == 1 else ()
        return Report(
            kind=Kind.DELAYED if action is Action.DELAYED else Kind.BOUNCE,
            recipients=tuple(_recipient(Listed(address, "", words), action) for address in recipients),
            source="words, returned message",
        )
    return Report(kind=Kind.NONE, source="")


def _recipient(one: Listed, action: Action) -> ReportedRecipient:
    answer = read_answer(one.text)
    return ReportedRecipient(
        address=one.address,
        final=one.final,
        action=action,
        code=answer.code,
        enhanced=answer.enhanced,
        stage=answer.stage,
        diagnostic=answer.text,
        quoted=bool(answer.code),
    )


def _notices(message: Taken, data: bytes) -> list[tuple[Notice, bool]]:
    """The texts that may be a mail system's words, and whether a message is returned with each."""
    attached = any(part.type in RETURNED_TYPES for part in message.parts)
    notices = []
    for part in message.parts[:6]:
        if part.type.startswith("text/") and part.type not in RETURNED_TYPES:
            notice = cut(text_of(part))
            notices.append((notice, attached or bool(notice.returned)))
    if len(message.parts) > 1 and message.type != "multipart/report":
        # Some put their words before the first part, where the MIME headers are the returned message's.
        body = data.replace(b"\r\n", b"\n").partition(b"\n\n")[2][:TEXT_LIMIT]
        before = body.partition(b"\n--")[0].decode("utf-8", "replace")
        if "@" in before:
            text = plain(before) if "<br" in before.lower() else before
            notice = cut(text)
            notices.insert(0, (notice, True))
    return notices


def _own_addresses(headers: Headers) -> frozenset[str]:
    return frozenset(
        address.lower()
        for name in ("to", "from", "return-path", "reply-to", "delivered-to", "x-original-to", "sender")
        for value in headers.all(name)[:4]
        for _, _, address in addresses_in(value[:4096])
    )


def _original(message: Taken) -> Part | None:
    return next((part for part in message.parts if part.type in RETURNED_TYPES), None)


def _original_of(message: Taken, notice: Notice | None) -> Original:
    part = _original(message)
    if part is not None:
        body = decoded(part) if part.headers.get("content-transfer-encoding").strip().lower() == "base64" else part.body
        return read_original(headers_of(body))
    if notice is not None and notice.returned:
        return read_original(headers_of(notice.returned.encode("utf-8", "surrogateescape")))
    return Original()


def _with_origin(report: Report, message: Taken, original: Part | None, envelope_recipient: str) -> Report:
    """The report with all that leads to the message that it speaks of."""
    if report.kind is Kind.NONE:
        return report
    notice = None
    if original is None:
        first = next((part for part in message.parts if part.type.startswith("text/")), None)
        notice = cut(text_of(first)) if first is not None else None
    known = _original_of(message, notice)
    ours = tokens_in(envelope_recipient, *(value for name in _OURS for value in message.headers.all(name)[:4]))
    tokens = tuple(dict.fromkeys((*ours, *known.tokens, *report.tokens)))
    return structs.replace(
        report,
        tokens=tokens,
        message_id=report.message_id or known.message_id,
        return_path=report.return_path or known.return_path,
    )
