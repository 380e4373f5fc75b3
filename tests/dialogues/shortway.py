"""The short way of a connection with real records behind it: what was intended and delivered is read from those."""

import json
import sys
from collections import deque
from types import SimpleNamespace

from bulkmail.clock import rfc3339
from bulkmail.model.delivery import Disposition
from bulkmail.native.conveyor import Conveyor, Dispenser
from bulkmail.native.deliveries import Deliveries
from bulkmail.native.hashset import AddressSet
from bulkmail.native.lines import DeliveredLines
from bulkmail.native.message import Message
from bulkmail.native.records import RecordWriter
from bulkmail.native.reply import ReplyParser
from bulkmail.net.connection import Connection
from bulkmail.store.journal import INTENT, INTENT_BODY, OUTCOME, OUTCOME_BODY
from bulkmail.store.outcomes import OutcomeColumn
from bulkmail.store.segments import HEAD

ROOM = 1 << 16


class ShortWay:
    """Column, journal and event lines of one chunk; `active` is what its messages belong to, `ring` where they wait."""

    def __init__(self, size: int) -> None:
        self.column = OutcomeColumn(size)
        chunk = SimpleNamespace(outcomes=self.column)
        self.active = SimpleNamespace(number=1, chunk=chunk, list_prefix=None, outstanding=size)
        self.ring: deque[Message] = deque()
        self.suppressed = AddressSet()
        self.lane = SimpleNamespace(pacer=SimpleNamespace(paused_until=0.0), waiting=0, touched=0.0)
        self._buffer = bytearray(ROOM)
        writer = RecordWriter()
        writer.enter(self._buffer, {}, 0, ROOM, 0)
        self._lines = DeliveredLines("trial-1")
        deliveries = Deliveries(
            journal=SimpleNamespace(writer=writer),
            lines=self._lines,
            time=lambda: 1.7e9,
            stamp=rfc3339,
            few=0,
            on_first=lambda: None,
            on_few=lambda active: None,
            intents_wanted=True,
        )
        self._dispenser = Dispenser(
            ring=self.ring,
            lane=self.lane,
            suppressions=SimpleNamespace(quick=self.suppressed, everywhere=b"all\0"),
            deliveries=deliveries,
            bucket=None,
            held=False,
            may_begin=lambda: True,
            on_delivered=lambda: None,
            on_low=lambda: None,
        )
        self._text = b""
        self._answered: list[int] = []

    def conveyor(self, connection: Connection, parser: ReplyParser, *, plain: bool) -> Conveyor:
        assert connection.transactions is not None
        most = connection.capabilities.size_bytes
        return Conveyor(
            parser,
            connection.transactions,
            self._dispenser,
            site="b.example",
            host=connection.host,
            source=None,
            tls=connection.tls,
            most_bytes=sys.maxsize if most is None else most,
            plain=plain,
        )

    @property
    def intents(self) -> list[int]:
        """The indexes of the intents in the journal, in order, without those that were answered."""
        indexes = [body[2] for body in self._records() if body[0] == INTENT]
        for index in self._answered:
            indexes.remove(index)
        return indexes

    def answered(self, index: int) -> None:
        """The general way withdraws an intent, as the engine does."""
        self._answered.append(index)

    @property
    def delivered(self) -> list[str]:
        """The messages in the event lines, after a look at journal, column and counts, which must say the same."""
        self._text += self._lines.take()
        events = [json.loads(line) for line in self._text.splitlines()]
        recorded = [body[2] for body in self._records() if body[0] == OUTCOME]
        assert [f"r{index}" for index in recorded] == [event["message_id"] for event in events]
        assert sorted(recorded) == list(self.column.indexes([Disposition.DELIVERED]))
        assert self.active.outstanding == self.column.size - len(events)
        return [event["message_id"] for event in events]

    def _records(self) -> list[tuple[int, ...]]:
        found = []
        start = 0
        while length := HEAD.unpack_from(self._buffer, start)[0]:
            body = self._buffer[start + HEAD.size : start + HEAD.size + length]
            found.append({INTENT: INTENT_BODY, OUTCOME: OUTCOME_BODY}[body[0]].unpack(body))
            start += HEAD.size + length
        return found
