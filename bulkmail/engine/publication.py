"""Turn what was recorded into lines of the event log, and into events for whoever listens."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from bulkmail.clock import Stamps
from bulkmail.events.log import EventLog
from bulkmail.model.delivery import Disposition, Event, Stage
from bulkmail.native.lines import DeliveredLines
from bulkmail.smtp.replies import parse_text

_DECODER = msgspec.json.Decoder(Event)


class Delivery(Struct, frozen=True, gc=False):
    """A message that a receiver took: what its event says, before that is put into words.

    Deliveries are most of all events. Making an `Event` of each where the reply arrives would cost the loop more than
    sending the message does.
    """

    time: float
    recipient: str
    attempt: int
    code: int
    text: bytes
    site: str
    host: str
    source: str | None
    tls: str | None
    size_bytes: int
    milliseconds: float
    message_id: str


# What is bytes is lines already.
Entry = Event | Delivery | bytes
_DECODER = msgspec.json.Decoder(Event)


class Publication:
    """One run's event log, written in order. `write` and `lines` may be called from any thread, by one at a time."""

    def __init__(self, run: str, event_log: EventLog | None) -> None:
        """Without a log, `lines` are all there is to be had."""
        self._run = run
        self._event_log = event_log
        self._lines = DeliveredLines(run)
        self._stamps = Stamps()

    def write(self, entries: Sequence[Entry]) -> None:
        """Append all of them in one go, and make them durable. Raises what `EventLog` raises."""
        assert self._event_log is not None
        if lines := self.lines(entries):
            self._event_log.append_lines(lines)
        self._event_log.sync()

    def lines(self, entries: Sequence[Entry]) -> bytes:
        """All of them as lines of the log."""
        lines, add, time_of = self._lines, self._lines.add, self._stamps.text
        pieces: list[bytes] = []
        for entry in entries:
            if isinstance(entry, Delivery) and add(
                time_of(entry.time),
                entry.recipient,
                entry.attempt,
                entry.code,
                entry.text,
                entry.site,
                entry.host,
                entry.source,
                entry.tls,
                entry.size_bytes,
                entry.milliseconds,
                entry.message_id,
            ):
                continue
            if lines:
                pieces.append(lines.take())
            pieces.append(entry if isinstance(entry, bytes) else EventLog.lines((self._event_of(entry),)))
        if lines:
            pieces.append(lines.take())
        return b"".join(pieces)

    def events(self, entries: Sequence[Entry]) -> list[Event]:
        """The same as events."""
        events: list[Event] = []
        for entry in entries:
            if isinstance(entry, bytes):
                events.extend(_DECODER.decode_lines(entry))
            else:
                events.append(self._event_of(entry))
        return events

    def _event_of(self, entry: Event | Delivery) -> Event:
        if isinstance(entry, Event):
            return entry
        reply = parse_text(entry.code, entry.text)
        return Event(
            time=self._stamps.text(entry.time),
            event="attempt",
            run=self._run,
            recipient=entry.recipient,
            attempt=entry.attempt,
            disposition=Disposition.DELIVERED.label,
            code=reply.code,
            enhanced=reply.enhanced,
            reply=str(reply),
            stage=Stage.MESSAGE.label,
            site=entry.site,
            host=entry.host,
            source=entry.source,
            tls=entry.tls,
            bytes=entry.size_bytes,
            milliseconds=entry.milliseconds,
            message_id=entry.message_id,
        )
