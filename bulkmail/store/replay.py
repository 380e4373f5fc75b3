"""Read the journal back: every outcome into its column, and the intents that nothing answered."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from bulkmail.model.delivery import Disposition, Reason, Stage
from bulkmail.store.journal import (
    ANSWER,
    ANSWER_BODY,
    INTENT,
    INTENT_BODY,
    MARK,
    MARK_BODY,
    OUTCOME,
    OUTCOME_BODY,
)
from bulkmail.store.outcomes import Outcome, OutcomeColumn, outcome_of
from bulkmail.store.segments import SegmentReader

FINAL = frozenset((Disposition.DELIVERED, Disposition.BOUNCED, Disposition.EXPIRED, Disposition.SUPPRESSED))


class JournalEntry(Struct, frozen=True, gc=False):
    """An outcome and whose it is."""

    chunk: int
    index: int
    outcome: Outcome


class Replay:
    """The journal's effect on the columns that `load` gives by chunk number (None: no such chunk).

    `columns` are those touched, with every outcome applied. `unpublished` are the outcomes that the last mark does not
    cover and the event log may lack, `marks` the last good offset of each run's log. `orphans` counts records of no
    known chunk.

    Records apply in order, except that no attempt undoes a later one: the columns may have been folded since, or have
    what another process knows. Journals that were written side by side share their `columns`; each has a replay of its
    own, and `doubt` is for when all of them were read.
    """

    def __init__(
        self,
        load: Callable[[int], OutcomeColumn | None],
        unpublished: Iterable[JournalEntry] = (),
        columns: dict[int, OutcomeColumn] | None = None,
    ) -> None:
        self.columns = {} if columns is None else columns
        self.unpublished = list(unpublished)
        self.marks: dict[int, int] = {}
        self.outcomes = self.orphans = self.torn_bytes = 0
        self._load = load
        self._unknown: set[int] = set()
        self._unanswered: dict[int, tuple[int, float]] = {}

    def read(self, segment: SegmentReader) -> None:
        """Apply one segment, up to the first record that is not whole."""
        for body in segment:
            kind = body[0]
            if kind == INTENT:
                _, attempt, index, chunk, time = INTENT_BODY.unpack(body)
                self._unanswered[chunk << 16 | index] = attempt, time
            elif kind == OUTCOME:
                entry = outcome_entry(body)
                self._unanswered.pop(entry.chunk << 16 | entry.index, None)
                self._apply(entry.chunk, entry.index, entry.outcome)
            elif kind == MARK:
                _, run, offset, left = MARK_BODY.unpack(body)
                self.marks[run] = offset
                del self.unpublished[: max(0, len(self.unpublished) - left)]
            elif kind == ANSWER:
                _, index, chunk = ANSWER_BODY.unpack(body)
                self._unanswered.pop(chunk << 16 | index, None)
        self.torn_bytes += segment.torn_bytes

    def unanswered(self) -> list[JournalEntry]:
        """The intents without an outcome, as the outcome `IN_DOUBT` each has unless someone knows better."""
        found = []
        for key, (attempt, time) in self._unanswered.items():
            chunk, index = key >> 16, key & 0xFFFF
            column = self._column(chunk, index)
            if column is not None and column.attempt(index) < attempt:
                found.append(
                    JournalEntry(
                        chunk,
                        index,
                        Outcome(
                            Disposition.IN_DOUBT,
                            attempt,
                            Reason.CONNECTION_LOST,
                            Stage.MESSAGE,
                            time=time,
                            text="sending stopped before a reply was recorded",
                        ),
                    )
                )
        return found

    def doubt(self) -> list[JournalEntry]:
        """Apply `unanswered` to the columns."""
        found = self.unanswered()
        for entry in found:
            self.columns[entry.chunk].set(entry.index, entry.outcome)
        self.unpublished.extend(found)
        return found

    def _apply(self, chunk: int, index: int, outcome: Outcome) -> None:
        column = self._column(chunk, index)
        if column is None:
            return
        self.outcomes += 1
        same = outcome.attempt == column.attempt(index)
        if is_news(column, index, outcome) or (same and not is_final(column, index)):
            column.set(index, outcome)
        self.unpublished.append(JournalEntry(chunk, index, outcome))

    def _column(self, chunk: int, index: int) -> OutcomeColumn | None:
        column = self.columns.get(chunk)
        if column is None and chunk not in self._unknown:
            column = self._load(chunk)
            if column is None:
                self._unknown.add(chunk)
            else:
                self.columns[chunk] = column
        if column is None or index >= column.size:
            self.orphans += 1
            return None
        return column


def outcome_entry(body: bytes) -> JournalEntry:
    """What a record of an outcome says."""
    _, attempt, index, chunk, time, disposition, stage, reason, code, due = OUTCOME_BODY.unpack_from(body)
    text = str(body[OUTCOME_BODY.size :], "utf-8") if len(body) > OUTCOME_BODY.size else ""
    return JournalEntry(chunk, index, outcome_of(disposition, attempt, reason, stage, code, time, due, text))


def is_final(column: OutcomeColumn, index: int) -> bool:
    """Whether nothing more can come of the recipient but by hand."""
    return column.disposition(index) in FINAL


def is_news(column: OutcomeColumn, index: int, outcome: Outcome) -> bool:
    """Whether the column does not have this outcome, or a later one, already.

    An end may come without another attempt (suppressed, expired), so that of two outcomes of one attempt the end is
    the later one, in whichever journal either stands.
    """
    known = column.attempt(index)
    if outcome.attempt != known:
        return outcome.attempt > known
    return outcome.disposition in FINAL and not is_final(column, index)
