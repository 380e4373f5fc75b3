"""What became of each recipient of a chunk, in 32 bytes each."""

import struct
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec
from msgspec import Struct

from bulkmail.model.delivery import Disposition, Reason, Stage
from bulkmail.native.records import put_delivered
from bulkmail.store import codec

RECORD_BYTES = 32
TEXT_BYTES = 512
COUNTED = (
    Disposition.DELIVERED,
    Disposition.DEFERRED,
    Disposition.BOUNCED,
    Disposition.EXPIRED,
    Disposition.SUPPRESSED,
    Disposition.IN_DOUBT,
)

# disposition, stage, reason, pad, code, attempt, time, due | time of the first attempt
_RECORD = struct.Struct("<BBBxHHdd")
_ATTEMPT = struct.Struct("<6xH")
_STAMP = struct.Struct("<d")
_FIRST = _RECORD.size
_DUE_COLUMN = struct.Struct("<B15xd8x")
_UNFINISHED = (int(Disposition.OPEN), int(Disposition.DEFERRED))
_DISPOSITIONS = {int(member): member for member in Disposition}
_STAGES = {int(member): member for member in Stage}
_REASONS = {int(member): member for member in Reason}


class Outcome(Struct, frozen=True, gc=False):
    """What an attempt came to. `time` and `due` are Unix seconds; `due` counts only for a recipient not yet final.

    `attempt` numbers the tries of one recipient from 1 and never falls; 0 means none was made. `text` is the reply,
    kept up to 512 bytes, and not at all of a delivery.
    """

    disposition: Disposition
    attempt: int = 0
    reason: Reason = Reason.NONE
    stage: Stage = Stage.NONE
    code: int = 0
    time: float = 0.0
    due: float = 0.0
    text: str = ""


class OutcomeColumn:
    """The outcomes of one chunk, by index. `changes` grows with every `set`.

    One thread may `set` while another takes a `copy`: it has each record either whole or not yet.
    """

    __slots__ = ("changes", "records", "size", "texts")

    def __init__(self, size: int) -> None:
        self.size = size
        self.changes = 0
        self.records = bytearray(size * RECORD_BYTES)
        self.texts: dict[int, str] = {}

    @classmethod
    def decode(cls, size: int, records: bytes | None, texts: bytes | None, what: str) -> "OutcomeColumn":
        """The column as `encode` left it; StateError naming `what` if it is damaged."""
        column = cls(size)
        if records is not None:
            content = codec.unpack(records, size, what)
            if len(content) != size * RECORD_BYTES:
                raise codec.damaged(what, f"{len(content)} bytes of outcomes for {size} recipients")
            column.records = bytearray(content)
        if texts is not None:
            column.texts = msgspec.msgpack.decode(codec.unpack(texts, size, what), type=dict[int, str])
        return column

    def encode(self) -> tuple[bytes, bytes | None]:
        """Records and texts as they are stored."""
        return encode_all([self])[0]

    def copy(self) -> "OutcomeColumn":
        copy = OutcomeColumn(0)
        copy.size = self.size
        copy.records, copy.texts = self.records.copy(), self.texts.copy()
        return copy

    def get(self, index: int) -> Outcome:
        disposition, stage, reason, code, attempt, time, due = _RECORD.unpack_from(self.records, self._offset(index))
        return outcome_of(disposition, attempt, reason, stage, code, time, due, self.texts.get(index, ""))

    def set(self, index: int, outcome: Outcome) -> None:
        offset = self._offset(index)
        # The text first, so that a copy taken in between has no record without its text.
        if outcome.text and outcome.disposition != Disposition.DELIVERED:
            self.texts[index] = clip(outcome.text)
        elif self.texts:
            self.texts.pop(index, None)
        _RECORD.pack_into(
            self.records,
            offset,
            outcome.disposition,
            outcome.stage,
            outcome.reason,
            outcome.code,
            outcome.attempt,
            outcome.time,
            outcome.due,
        )
        if outcome.attempt and not _STAMP.unpack_from(self.records, offset + _FIRST)[0]:
            _STAMP.pack_into(self.records, offset + _FIRST, outcome.time)
        self.changes += 1

    def set_delivered(self, index: int, attempt: int, code: int, time: float) -> None:
        """`set` of a delivery by the reply to its message."""
        put_delivered(self.records, index, attempt, code, time)
        if self.texts:
            self.texts.pop(index, None)
        self.changes += 1

    def first_tried(self, index: int) -> float:
        """Unix seconds of the first attempt's outcome, 0.0 before it."""
        return float(_STAMP.unpack_from(self.records, self._offset(index) + _FIRST)[0])

    def any_tried(self) -> bool:
        """Whether `first_tried` is set for any recipient."""
        # The last byte of a time's eight is its sign and exponent.
        return self.records[RECORD_BYTES - 1 :: RECORD_BYTES].count(0) < self.size

    def set_first_tried(self, index: int, time: float) -> None:
        """Let the time to expire run from `time` (Unix seconds), unless it runs already."""
        if not self.first_tried(index):
            _STAMP.pack_into(self.records, self._offset(index) + _FIRST, time)
            self.changes += 1

    def disposition(self, index: int) -> Disposition:
        return _DISPOSITIONS[self.records[self._offset(index)]]

    def attempt(self, index: int) -> int:
        return int(_RECORD.unpack_from(self.records, self._offset(index))[4])

    def attempts(self, indexes: Iterable[int]) -> list[int]:
        """`attempt` of each."""
        unpack, records = _ATTEMPT.unpack_from, self.records
        return [unpack(records, index * RECORD_BYTES)[0] for index in indexes]

    def counts(self) -> dict[Disposition, int]:
        """How many recipients stand where; every disposition is a key."""
        dispositions = bytes(self.records[::RECORD_BYTES])
        return {disposition: dispositions.count(disposition) for disposition in Disposition}

    def ready(self, now: float) -> list[int]:
        """Indexes of the recipients that may be tried at `now`: not final, and due."""
        if now >= 0 and self.records.count(0) == len(self.records):
            return list(range(self.size))
        return [
            index
            for index, (disposition, due) in enumerate(_DUE_COLUMN.iter_unpack(self.records))
            if disposition in _UNFINISHED and due <= now
        ]

    def records_of(self, indexes: Sequence[int]) -> bytes:
        """Where these recipients stand, 32 bytes each, without texts; empty where nothing became of any yet."""
        if len(indexes) == self.size:
            packed = bytes(self.records)
        else:
            records = self.records
            packed = b"".join([records[index * RECORD_BYTES : (index + 1) * RECORD_BYTES] for index in indexes])
        return packed if any(packed) else b""

    def take_records(self, indexes: Sequence[int], packed: bytes) -> None:
        """Let these recipients stand as in the column that `records_of` was asked of."""
        packed = packed or bytes(len(indexes) * RECORD_BYTES)
        for place, index in enumerate(indexes):
            start = self._offset(index)
            self.records[start : start + RECORD_BYTES] = packed[place * RECORD_BYTES : (place + 1) * RECORD_BYTES]

    def next_due(self) -> float | None:
        """The earliest due of those not final, None when all are."""
        return min(
            (due for disposition, due in _DUE_COLUMN.iter_unpack(self.records) if disposition in _UNFINISHED),
            default=None,
        )

    def indexes(self, dispositions: Collection[Disposition]) -> Iterator[int]:
        """Indexes of the recipients that stand at one of `dispositions`."""
        return (index for index, value in enumerate(self.records[::RECORD_BYTES]) if value in dispositions)

    def _offset(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"recipient {index} of a chunk of {self.size}")
        return index * RECORD_BYTES


def encode_all(columns: Sequence[OutcomeColumn]) -> list[tuple[bytes, bytes | None]]:
    """`encode` of each; whatever their number, the interpreter is given away once."""
    contents = [(bytes(column.records), column.size) for column in columns]
    contents += [(msgspec.msgpack.encode(column.texts), column.size) for column in columns if column.texts]
    packed = codec.pack_all(contents)
    texts = iter(packed[len(columns) :])
    return [
        (records, next(texts) if column.texts else None)
        for column, records in zip(columns, packed[: len(columns)], strict=True)
    ]


def outcome_of(
    disposition: int, attempt: int, reason: int, stage: int, code: int, time: float, due: float, text: str
) -> Outcome:
    """An outcome from the numbers on disk; a reason or stage added by a later version is not told apart."""
    return Outcome(
        _DISPOSITIONS[disposition],
        attempt,
        _REASONS.get(reason, Reason.OTHER),
        _STAGES.get(stage, Stage.NONE),
        code,
        time,
        due,
        text,
    )


def clip(text: str) -> str:
    """`text` in at most 512 bytes of UTF-8, cut between characters; what UTF-8 cannot hold becomes `?`."""
    if text.isascii() and len(text) <= TEXT_BYTES:
        return text
    return text.encode("utf-8", "replace")[:TEXT_BYTES].decode("utf-8", "ignore")
