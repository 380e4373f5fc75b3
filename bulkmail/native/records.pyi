from mmap import mmap

def put_intent(buffer: mmap | bytearray, at: int, chunk: int, index: int, attempt: int, time: float) -> None:
    """Write an intent's 25 bytes at `at` of a writable buffer. IndexError where it does not fit, OverflowError for
    numbers beyond their field."""

def put_outcome(
    buffer: mmap | bytearray,
    at: int,
    chunk: int,
    index: int,
    attempt: int,
    time: float,
    disposition: int,
    stage: int,
    reason: int,
    code: int,
    due: float,
) -> None:
    """Write the 38 bytes of an outcome without a text; as `put_intent`."""

def put_delivered(records: bytearray, index: int, attempt: int, code: int, time: float) -> int:
    """Set the delivery of recipient `index` in the records of an `OutcomeColumn`; the disposition that was there.

    The time of the first attempt is set where it was not. IndexError beyond the column.
    """

class RecordWriter:
    """Where the next record of a journal goes, and which intents and outcomes were written.

    `position`, `limit` (the end of the room) and `intent_limit` (of that for intents) are journal positions; `last` has
    the end of the last record of each chunk in the current segment, `unanswered` those of intents without an outcome,
    by `chunk << 16 | index`, `unmarked` the ends of outcomes.
    """

    position: int
    limit: int
    intent_limit: int
    unmarked: list[int]
    @property
    def base(self) -> int: ...
    @property
    def last(self) -> dict[int, int]: ...
    @property
    def unanswered(self) -> dict[int, int]: ...
    def __init__(self) -> None: ...
    def enter(self, buffer: mmap | bytearray, last: dict[int, int], base: int, size: int, kept: int) -> None:
        """Go on at the beginning of a segment of `size` bytes, of which `kept` are not for intents."""

    def intent(self, chunk: int, index: int, attempt: int, time: float) -> bool:
        """Write an intent; False, and nothing is written, beyond `intent_limit`."""

    def delivered(self, chunk: int, index: int, attempt: int, code: int, time: float) -> bool:
        """Write the outcome of a delivery; False, and nothing is written, beyond `limit`."""
