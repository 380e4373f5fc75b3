"""What the short way takes from a ring, and what it leaves to be asked; for its results there are the dialogues."""

import json
from collections import deque
from itertools import accumulate
from math import floor
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.clock import rfc3339
from bulkmail.model.delivery import Disposition
from bulkmail.native.buckets import TokenBucket
from bulkmail.native.conveyor import Conveyor, Dispenser
from bulkmail.native.deliveries import Deliveries
from bulkmail.native.hashset import AddressSet
from bulkmail.native.lines import DeliveredLines
from bulkmail.native.message import Message
from bulkmail.native.records import RecordWriter
from bulkmail.native.reply import ReplyParser
from bulkmail.native.session import Transactions
from bulkmail.store.outcomes import Outcome, OutcomeColumn

ROOM = 4096
ENVELOPE = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n"


class Scene:
    """One connection of one exchange with ten recipients; what is called back is counted."""

    def __init__(
        self, *, bucket: TokenBucket | None = None, held: bool = False, room: int = ROOM, kept: int = 0
    ) -> None:
        self.column = OutcomeColumn(10)
        self.active = SimpleNamespace(
            number=7, chunk=SimpleNamespace(outcomes=self.column), list_prefix=None, outstanding=10
        )
        self.writer = RecordWriter()
        self.writer.enter(bytearray(room), {}, 0, room, kept)
        self.lines = DeliveredLines("trial-1")
        self.open = True
        self.time = 1.7e9
        self.full = self.few = self.first = self.noted = 0
        self.deliveries = Deliveries(
            journal=self,
            lines=self.lines,
            time=lambda: self.time,
            stamp=rfc3339,
            few=8,
            on_first=lambda: self.count("first"),
            on_few=lambda active: self.count("few"),
            intents_wanted=True,
        )
        self.ring: deque[Message] = deque(self.message(index) for index in range(10))
        self.lane = SimpleNamespace(pacer=SimpleNamespace(paused_until=0.0), waiting=10, touched=0.0)
        self.suppressions = SimpleNamespace(quick=AddressSet(), everywhere=b"all\0")
        self.dispenser = Dispenser(
            ring=self.ring,
            lane=self.lane,
            suppressions=self.suppressions,
            deliveries=self.deliveries,
            bucket=bucket,
            held=held,
            may_begin=lambda: self.open,
            on_delivered=lambda: self.count("noted"),
            on_low=lambda: self.count("low"),
        )
        self.parser, self.transactions = ReplyParser(), Transactions(pipelining=True, size=True)
        self.conveyor = self.make()

    def make(self, *, most_bytes: int = 10_000, plain: bool = True, site: str = "b.example") -> Conveyor:
        return Conveyor(
            self.parser,
            self.transactions,
            self.dispenser,
            site=site,
            host="mx.b.example",
            source=None,
            tls=None,
            most_bytes=most_bytes,
            plain=plain,
        )

    def message(self, index: int, **other: Any) -> Message:
        return Message(
            **{
                "chunk": self.active,
                "index": index,
                "attempt": 1,
                "address": f"R{index}@b.example",
                "sender": b"s@a.example",
                "recipient": b"R%d@b.example" % index,
                "data": b"Subject: x\r\n\r\n.dots\r\n",
                "message_id": f"<{index}@a.example>",
                **other,
            }
        )

    def count(self, what: str) -> None:
        setattr(self, what, getattr(self, what) + 1)

    def delivered(self, *_: object) -> None:
        """The journal's, where the writer has no room."""
        self.count("full")

    def fill(self, now: float = 100.0) -> bytes:
        self.conveyor.fill(now)
        return self.transactions.outgoing()

    def send_one(self) -> Any:
        """Begin, end and have accepted the next message."""
        if not self.transactions.in_flight:
            self.fill()
        assert self.conveyor.receive(ENVELOPE, 100.0) == []
        self.fill()
        assert self.conveyor.intend()
        return self.conveyor.receive(b"250 2.0.0 taken\r\n", 101.0)


def test_a_message_goes_from_the_ring_to_the_wire_and_into_the_record() -> None:
    scene = Scene()
    assert scene.fill() == b"MAIL FROM:<s@a.example> SIZE=21\r\nRCPT TO:<R0@b.example>\r\nDATA\r\n"
    assert (len(scene.ring), scene.lane.waiting, scene.lane.touched) == (9, 9, 100.0)
    assert scene.conveyor.receive(ENVELOPE, 100.0) == []
    scene.conveyor.fill(100.0)
    body = b"Subject: x\r\n\r\n..dots\r\n.\r\n"
    assert scene.transactions.outgoing().startswith(body + b"MAIL FROM:")
    assert scene.conveyor.intend() and list(scene.writer.unanswered) == [7 << 16]
    assert scene.conveyor.receive(b"250 2.0.0 taken\r\n250", 100.5) == []
    assert not scene.writer.unanswered and len(scene.writer.unmarked) == 1
    assert scene.column.get(0) == Outcome(Disposition.DELIVERED, attempt=1, stage=scene.column.get(0).stage, code=250,
                                          time=1.7e9)  # fmt: skip
    assert b'"milliseconds":500.0' in scene.lines.take()
    assert (scene.active.outstanding, scene.first, scene.noted, scene.few) == (9, 1, 1, 0)
    assert scene.dispenser.take_counts() == [(Disposition.OPEN, 1)] and scene.dispenser.take_counts() == []


def test_the_counts_say_what_the_recipients_were_before_and_each_call_back_comes_once() -> None:
    scene = Scene()
    scene.column.set(1, Outcome(Disposition.DEFERRED, attempt=1, text="451 later"))
    for _ in range(3):
        assert scene.send_one() == []
    assert scene.dispenser.take_counts() == [(Disposition.OPEN, 2), (Disposition.DEFERRED, 1)]
    # `few` is 8: with the second of ten.
    assert (scene.first, scene.noted, scene.few) == (1, 1, 1)
    assert scene.column.get(1).text == ""
    assert scene.send_one() == [] and scene.noted == 2


@pytest.mark.parametrize("why", ["closed", "paused", "no token", "held", "unknown list", "not plain", "suppressed"])
def test_what_needs_a_question_stays_in_the_ring(why: str) -> None:
    bucket = TokenBucket(1.0, 1, now=0.0) if why == "no token" else None
    scene = Scene(bucket=bucket, held=why == "held")
    if bucket is not None:
        assert bucket.take(100.0)
    if why == "closed":
        scene.open = False
    elif why == "paused":
        scene.lane.pacer.paused_until = 100.5
    elif why == "unknown list":
        scene.suppressions.quick = None
    elif why == "not plain":
        scene.conveyor = scene.make(plain=False)
    elif why == "suppressed":
        scene.suppressions.quick.add(b"all\0r0@b.example")
    assert scene.fill() == b"" and len(scene.ring) == 10 and scene.lane.waiting == 10
    if why in ("paused", "no token"):
        assert scene.fill(now=102.0)


def test_a_token_is_spent_for_each_message_and_none_beyond_the_rate() -> None:
    scene = Scene(bucket=TokenBucket(1.0, 2, now=0.0))
    assert scene.send_one() == []
    # The second is begun, which was the last token.
    assert scene.conveyor.receive(ENVELOPE, 100.0) == []
    assert b"MAIL" not in scene.fill(100.0) and len(scene.ring) == 8


def test_a_recipient_suppressed_for_the_list_of_its_chunk_stays_in_the_ring() -> None:
    scene = Scene()
    scene.active.list_prefix = b"news\0"
    scene.suppressions.quick.add(b"news\0r0@b.example")
    assert scene.fill() == b""
    scene.ring.popleft()
    assert b"<R1@b.example>" in scene.fill()


@pytest.mark.parametrize(
    "other",
    [
        {"utf8": True, "recipient": "ü@b.example".encode()},
        {"data": b"x" * 10_001},
        {"recipient": b"r\r\nDATA@b.example"},
        {"recipient": b'"r"@b.example'},
    ],
    ids=["internationalized", "too large", "injected", "quoted"],
)
def test_a_message_that_is_not_like_the_others_stays_in_the_ring_and_nothing_of_it_is_written(
    other: dict[str, Any],
) -> None:
    scene = Scene()
    scene.suppressions.quick.add(b"all\0somebody@b.example")
    scene.ring[0] = scene.message(0, **other)
    assert scene.fill() == b"" and len(scene.ring) == 10 and scene.transactions.in_flight == 0


def test_what_is_not_a_delivery_is_handed_out_and_what_came_before_it_is_on_record() -> None:
    scene = Scene()
    scene.send_one()
    results = scene.conveyor.receive(b"550 5.1.1 nobody\r\n503 no\r\n503 no\r\n", 101.0)
    assert [(message.index, code) for message, _, code, _ in results or ()] == [(1, 550)]
    assert scene.active.outstanding == 9


@pytest.mark.parametrize("where", ["reply", "site"])
def test_a_delivery_that_is_not_plain_ascii_is_handed_out_with_nothing_recorded(where: str) -> None:
    scene = Scene()
    if where == "site":
        scene.conveyor = scene.make(site="ü.example")
    scene.fill()
    scene.conveyor.receive(ENVELOPE, 100.0)
    scene.fill()
    assert scene.conveyor.intend()
    results = scene.conveyor.receive(b"250 2.0.0 ok\r\n" if where == "site" else b"250 2.0.0 \xfc\r\n", 101.0)
    assert results is not None and [code for _, _, code, _ in results] == [250]
    assert not scene.lines and scene.active.outstanding == 10 and scene.column.disposition(0) is Disposition.OPEN
    assert scene.noted == scene.first == 0


def test_an_intent_without_room_is_left_to_the_general_way_with_its_message() -> None:
    scene = Scene(kept=ROOM)
    scene.fill()
    scene.conveyor.receive(ENVELOPE, 100.0)
    scene.fill()
    assert not scene.conveyor.intend() and not scene.writer.unanswered
    assert [message.index for message in scene.transactions.take_begun()] == [0]


def test_an_outcome_without_room_asks_the_journal_for_it() -> None:
    scene = Scene(room=30)
    assert scene.send_one() == []
    assert scene.full == 1 and scene.active.outstanding == 9


def test_a_journal_that_fails_leaves_no_event_behind() -> None:
    scene = Scene(room=30)

    def fail(*_: object) -> None:
        raise OSError("broken")

    scene.delivered = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="broken"):
        scene.send_one()
    assert not scene.lines and scene.active.outstanding == 10


@given(times=st.lists(st.floats(0, 4e9), min_size=1, max_size=20), steps=st.lists(st.floats(0, 2), max_size=20))
def test_the_time_of_an_event_is_what_its_stamp_says(times: list[float], steps: list[float]) -> None:
    scene = Scene(room=1 << 16)
    for time in (*times, *accumulate(steps, initial=times[0])):
        scene.time = time
        scene.ring.appendleft(scene.message(0))
        assert scene.send_one() == []
        # Cut, not rounded, as all events' times are.
        assert json.loads(scene.lines.take())["time"] == rfc3339(floor(time * 1000) / 1000 + 0.0001)


def test_a_turn_takes_the_replies_and_gives_what_follows_with_its_intent_on_record() -> None:
    scene = Scene()
    scene.fill()
    assert scene.conveyor.turn(ENVELOPE[:9], 100.0) is None and not scene.writer.unanswered
    wanted = b"Subject: x\r\n\r\n..dots\r\n.\r\nMAIL FROM:<s@a.example> SIZE=21\r\nRCPT TO:<R1@b.example>\r\nDATA\r\n"
    assert scene.conveyor.turn(ENVELOPE[9:], 100.0) == wanted
    assert list(scene.writer.unanswered) == [7 << 16] and scene.transactions.outgoing() == b""
    assert scene.conveyor.turn(b"250 2.0.0 taken\r\n", 101.0) == b"" and not scene.writer.unanswered


def test_a_turn_leaves_to_the_general_way_what_it_would_have_to_ask_for() -> None:
    scene = Scene()
    while len(scene.ring) > 1:
        scene.ring.pop()
    scene.fill()
    # No other message may travel behind the body.
    assert scene.conveyor.turn(ENVELOPE, 100.0) == [] and not scene.writer.unanswered
    assert scene.transactions.outgoing() == b"Subject: x\r\n\r\n..dots\r\n.\r\n" and scene.conveyor.intend()
    # Nothing is under way any more.
    assert scene.conveyor.turn(b"250 2.0.0 taken\r\n", 101.0) == [] and scene.transactions.stage == 0


def test_a_turn_without_room_for_an_intent_keeps_message_and_bytes_for_the_general_way() -> None:
    scene = Scene(kept=ROOM)
    scene.fill()
    assert scene.conveyor.turn(ENVELOPE, 100.0) == [] and not scene.writer.unanswered
    assert [message.index for message in scene.transactions.take_begun()] == [0]
    assert b"..dots\r\n.\r\nMAIL FROM" in scene.transactions.outgoing()


def test_a_turn_with_something_to_judge_writes_nothing() -> None:
    scene = Scene()
    scene.send_one()
    answer = scene.conveyor.turn(b"550 5.1.1 nobody\r\n503 no\r\n503 no\r\n", 101.0)
    assert isinstance(answer, list) and [(message.index, code) for message, _, code, _ in answer] == [(1, 550)]
    assert scene.transactions.outgoing() == b""


def test_a_turn_that_ends_with_half_a_reply_leaves_it_to_a_closer_look() -> None:
    scene = Scene()
    scene.fill()
    assert scene.conveyor.turn(ENVELOPE + b"250-", 100.0) == []
    assert not scene.conveyor.well and not scene.writer.unanswered
