"""The line of a delivered message, by way of a reply and an event."""

import msgspec

from bulkmail.model.delivery import Event
from bulkmail.smtp.replies import parse_text


def delivered_line(
    run: str,
    time: str,
    recipient: str,
    attempt: int,
    code: int,
    raw: bytes,
    site: str | None,
    host: str | None,
    source: str | None,
    tls: str | None,
    size_bytes: int,
    milliseconds: float,
    message_id: str,
) -> bytes:
    reply = parse_text(code, raw)
    event = Event(
        time=time,
        event="attempt",
        run=run,
        recipient=recipient,
        attempt=attempt,
        disposition="delivered",
        code=reply.code,
        enhanced=reply.enhanced,
        reply=str(reply),
        stage="message",
        site=site,
        host=host,
        source=source,
        tls=tls,
        bytes=size_bytes,
        milliseconds=milliseconds,
        message_id=message_id,
    )
    return msgspec.json.encode(event) + b"\n"
