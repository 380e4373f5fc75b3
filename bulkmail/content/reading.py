"""A message as a mail program shows it: header values decoded, the texts of its parts."""

from email import policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser
from typing import cast

from msgspec import Struct


class Preview(Struct, frozen=True, kw_only=True):
    """A message as its reader sees it, and its bytes."""

    subject: str
    headers: tuple[tuple[str, str], ...]
    html: str | None
    text: str | None
    message: bytes


def read_message(message: bytes, header: bytes) -> Preview:
    """`header` is the part of it up to the blank line."""
    parsed = BytesParser(policy=policy.default).parsebytes(message)
    return Preview(
        subject=str(parsed["Subject"]),
        headers=readable(header),
        html=body_text(parsed, "html"),
        text=body_text(parsed, "plain"),
        message=message,
    )


def readable(header: bytes) -> tuple[tuple[str, str], ...]:
    """The names and values of a header block, unfolded and decoded, for people to look at."""
    parsed = BytesHeaderParser(policy=policy.default).parsebytes(header + b"\r\n")
    return tuple((name, str(value)) for name, value in parsed.items())


def body_text(message: EmailMessage, subtype: str) -> str | None:
    for part in message.walk():
        if part.get_content_type() == f"text/{subtype}" and not part.is_attachment():
            return cast(str, part.get_content())
    return None
