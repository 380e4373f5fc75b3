"""Read a node's journal: piece by piece while it lives, and whole when it has died."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from bulkmail.store.journal import ANSWER, ANSWER_BODY, INTENT, INTENT_BODY, OUTCOME
from bulkmail.store.replay import JournalEntry, outcome_entry
from bulkmail.store.segments import HEAD, SegmentReader, segment_paths


class Intent(Struct, frozen=True, gc=False):
    """A message that was about to be sent whole."""

    chunk: int
    index: int
    attempt: int


class Leftovers(Struct, frozen=True):
    """What a journal has whose process is gone: outcomes in order, and the intents that nothing answers."""

    outcomes: list[JournalEntry]
    intents: list[Intent]


def leftovers(folder: Path) -> Leftovers:
    """All that the segments of one journal have, up to the first record that is not whole."""
    outcomes: list[JournalEntry] = []
    unanswered: dict[tuple[int, int], int] = {}
    for _, path in segment_paths(folder):
        for body in SegmentReader(path):
            if body[0] == INTENT:
                _, attempt, index, chunk, _ = INTENT_BODY.unpack(body)
                unanswered[chunk, index] = attempt
            elif body[0] == ANSWER:
                _, index, chunk = ANSWER_BODY.unpack(body)
                unanswered.pop((chunk, index), None)
            elif body[0] == OUTCOME:
                entry = outcome_entry(body)
                unanswered.pop((entry.chunk, entry.index), None)
                outcomes.append(entry)
    return Leftovers(outcomes, [Intent(chunk, index, attempt) for (chunk, index), attempt in unanswered.items()])


def outcomes_in(pieces: Iterable[bytes]) -> Iterator[JournalEntry]:
    """The outcomes in bytes that `Journal.recorded` gave: whole records, which need no check."""
    unpack, head = HEAD.unpack_from, HEAD.size
    for piece in pieces:
        start, size = 0, len(piece)
        while start + head <= size:
            start, end = start + head, start + head + unpack(piece, start)[0]
            if start == end:
                break
            if piece[start] == OUTCOME:
                yield outcome_entry(piece[start:end])
            start = end
