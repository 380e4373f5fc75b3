"""Reads complaints: feedback reports (RFC 5965), and the forms in which some receivers send theirs without one."""

import re

from bulkmail.feedback.addresses import addresses_in, typed_address
from bulkmail.feedback.mime import Headers, Part, Taken, headers_of

REPORT_TYPES = ("message/feedback-report",)
_FIELD = re.compile(r"^([A-Za-z][A-Za-z0-9-]{1,60})[ \t]*:[ \t]*(.*)$")
# Fields that only a receiver's complaint loop puts on the message that it forwards: whom it was for.
_LOOP_RECIPIENT = ("x-hmxmroriginalrecipient", "x-aol-recipient", "x-original-rcpt-to", "x-yahoo-recipient")
_LOOP_SUBJECT = re.compile(
    r"^\s*(?:complaint about message from|email feedback report for|abuse report|spam complaint)", re.I
)
ABUSE = "abuse"
RECIPIENT_FIELDS = ("original-rcpt-to", "removal-recipient", "redacted-address")


def feedback_fields(text: str) -> dict[str, list[str]]:
    """The fields of a feedback report by lower-case name; repeated ones in order."""
    fields: dict[str, list[str]] = {}
    last = ""
    for line in text.split("\n")[:2000]:
        match = _FIELD.match(line)
        if match is not None:
            last = match[1].lower()
            fields.setdefault(last, []).append(match[2].strip())
        elif last and line[:1] in (" ", "\t"):
            fields[last][-1] = f"{fields[last][-1]} {line.strip()}"[:4096]
    return fields


def recipients_of(fields: dict[str, list[str]]) -> tuple[str, ...]:
    """Whom the complained-of mail was for, as far as the report says."""
    found = (typed_address(value.strip("<> ")) for name in RECIPIENT_FIELDS for value in fields.get(name, ())[:1000])
    return tuple(dict.fromkeys(address for address in found if address))


def loop_recipients(message: Taken, original: Part | None) -> tuple[str, ...] | None:
    """Whom a complaint without a report is about; None where the message is none.

    Known by a field of the loop on the forwarded message, or by its subject with a message attached.
    """
    if original is None:
        return None
    headers: Headers = headers_of(original.body)
    for source in (headers, message.headers):
        values = [value for name in _LOOP_RECIPIENT for value in source.all(name)]
        found = [address for value in values for _, _, address in addresses_in(value[:4096])]
        if found:
            return tuple(dict.fromkeys(found))
    return () if _LOOP_SUBJECT.match(message.headers.get("subject")) else None
