"""The journal: intents and outcomes, safe from `kill -9` as soon as recorded, from power loss after `sync`.

    intent   u8 1 | u16 attempt | u16 index | u32 chunk | f64 time
    outcome  u8 2 | u16 attempt | u16 index | u32 chunk | f64 time | u8 disposition | u8 stage | u8 reason | u16 code
             | f64 due | text
    mark     u8 3 | u32 run | u64 offset in the run's event log | u32 how many of the last outcomes it does not cover
    answer   u8 4 | u16 index | u32 chunk

Three rules for the engine. An attempt's intent is recorded before the last byte of its message is handed to the
socket. When the reply is there its outcome is recorded, or `answered` where the recipient stays as it was. An outcome
is set in its column before it is recorded here: what the journal has up to a position, a fold begun after that has too.

`writer` may be used instead of `intent` and `delivered` where it says True.

Threads: `intent`, `outcome`, `delivered`, `answered`, `mark` and `flush` belong to the event loop's; the others to any.
"""

import os
import struct
import threading
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import takewhile
from pathlib import Path

from bulkmail.errors import DiskFull, StateError
from bulkmail.model.delivery import Disposition
from bulkmail.native.records import RecordWriter
from bulkmail.store import segments
from bulkmail.store.directory import fsync_directory
from bulkmail.store.outcomes import Outcome, clip
from bulkmail.store.segments import HEAD, Segment, segment_error, segment_path

# Three or four are there at a time, and what is mapped counts as the process's memory.
SEGMENT_BYTES = 8 << 20
INTENT, OUTCOME, MARK, ANSWER = 1, 2, 3, 4
INTENT_BODY = struct.Struct("<BHHId")
OUTCOME_BODY = struct.Struct("<BHHIdBBBHd")
MARK_BODY = struct.Struct("<BIQI")
ANSWER_BODY = struct.Struct("<BHI")

_INTENT_BYTES = HEAD.size + INTENT_BODY.size


class Journal:
    """Append-only segments in `folder`, from number `first` on; a spare one is kept ready.

    An error of `fdatasync` is never retried, for the kernel forgets what it could not write: from then on every
    call raises StateError, and the next start replays what did reach the disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        first: int = 1,
        segment_bytes: int = SEGMENT_BYTES,
        allocate: Callable[[int, int], None] = segments.allocate,
        fdatasync: Callable[[int], None] = os.fdatasync,
        mapped: bool | None = None,
    ) -> None:
        """`mapped` overrides what the file system's type suggests. DiskFull if there is no room for a segment."""
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._allocate = allocate
        self._fdatasync = fdatasync
        self._mapped = segments.file_system(folder) in segments.IN_PLACE if mapped is None else mapped
        self._next_number = first
        self._spare: Segment | None = None
        self._spare_refused = False
        self._poison: str | None = None
        self._spare_lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._list_lock = threading.Lock()
        self._flush_refused = False
        self.writer = RecordWriter()
        self._unanswered = self.writer.unanswered
        self._folded: dict[int, int] = {}
        self._synced = self._marked = 0
        self._segments: tuple[Segment, ...] = ()
        self._enter(self._make())
        self.prepare()

    def intent(self, chunk: int, index: int, attempt: int, time: float) -> None:
        """The message of this attempt is about to be sent whole. DiskFull while the rest is kept for outcomes."""
        if not self.writer.intent(chunk, index, attempt, time):
            self._make_room_for_intent()
            self.writer.intent(chunk, index, attempt, time)

    def outcome(self, chunk: int, index: int, outcome: Outcome) -> None:
        """What the attempt came to. DiskFull only when current segment and spare are used up."""
        body = OUTCOME_BODY.pack(
            OUTCOME,
            outcome.attempt,
            index,
            chunk,
            outcome.time,
            outcome.disposition,
            outcome.stage,
            outcome.reason,
            outcome.code,
            outcome.due,
        )
        if outcome.text and outcome.disposition != Disposition.DELIVERED:
            body += clip(outcome.text).encode()
        self._append(body)
        self.writer.last[chunk] = self.writer.position
        self.writer.unmarked.append(self.writer.position)
        self._unanswered.pop(chunk << 16 | index, None)

    def delivered(self, chunk: int, index: int, attempt: int, code: int, time: float) -> None:
        """`outcome` of a delivery, which is most of them."""
        if not self.writer.delivered(chunk, index, attempt, code, time):
            self._rotate()
            self.writer.delivered(chunk, index, attempt, code, time)

    def answered(self, chunk: int, index: int) -> None:
        """The attempt last intended came to nothing that concerns the recipient, who stays as before, not in doubt.

        So it is with a reply about the sender, or a connection that ended before the last byte was written.
        """
        if self._unanswered.pop(chunk << 16 | index, None) is not None:
            self._append(ANSWER_BODY.pack(ANSWER, index, chunk))

    def mark(self, run: int, events_offset: int, position: int | None = None) -> None:
        """Every outcome recorded before `position` is in an event log; that of `run` is good up to `events_offset`.

        `position` is the journal's when the events were gathered, since more may have come while they were written;
        without one, nothing has. What recovery found is covered by any mark: it is to be published first.
        """
        covered = self.writer.position if position is None else position
        unmarked = self.writer.unmarked
        left = unmarked[bisect_right(unmarked, covered) :]
        self._append(MARK_BODY.pack(MARK, run, events_offset, len(left)))
        self.writer.unmarked = left
        self._marked = covered if left else self.writer.position

    def flush(self) -> None:
        """Bring what is recorded into the kernel's hands: before an intent's message is sent, and at a tick's end.

        Nothing to do where segments are mapped. DiskFull leaves everything to the next flush.
        """
        if self._mapped:
            return
        try:
            self._current.flush(self.writer.position)
        except OSError as error:
            if error.errno in segments.DISK_FULL:
                self._flush_refused = True
                raise segment_error(self._current.path, error) from None
            raise self._fail(self._current.path, error) from None
        self._flush_refused = False

    def sync(self) -> None:
        """Make durable what was flushed before the call; meant for a thread. StateError if the disk refuses."""
        with self._sync_lock:
            self._sync()
        if self._spare is None:
            self.prepare()

    def recorded(self, start: int, end: int) -> list[bytes]:
        """What was recorded between two positions, by segment; a tail of zeros is room that was left behind."""
        pieces = []
        for segment in self._segments:
            first, last = max(start, segment.base), min(end, segment.base + segment.size)
            if first < last:
                pieces.append(segment.buffer[first - segment.base : last - segment.base])
        return pieces

    @property
    def mapped(self) -> bool:
        """Whether a record outlives the process as soon as it is written, so that `flush` has nothing to do."""
        return self._mapped

    @property
    def position(self) -> int:
        """Bytes recorded since the journal was opened, with the room left behind in full segments."""
        return self.writer.position

    @property
    def bytes_unsynced(self) -> int:
        return self.writer.position - self._synced

    @property
    def full(self) -> bool:
        """True while the disk has no room: claim and start nothing new, call `prepare` and `flush` now and then."""
        return self._flush_refused or (self._spare is None and self._spare_refused)

    def prepare(self) -> bool:
        """Make the spare segment if it is missing; False if the disk has no room for it."""
        with self._spare_lock:
            if self._spare is None:
                try:
                    self._spare = self._make()
                except DiskFull:
                    self._spare_refused = True
                    return False
                self._spare_refused = False
            return True

    @property
    def marked(self) -> bool:
        """Whether every outcome recorded so far is in an event log, by a mark of this process."""
        return self._marked > 0 and not self.writer.unmarked

    @property
    def failed(self) -> bool:
        """True once the disk refused what was recorded."""
        return self._poison is not None

    def stale_chunks(self) -> set[int]:
        """Chunks to fold so that the segments before the current one can go."""
        return {
            chunk
            for segment in self._segments[:-1]
            for chunk, end in segment.last.items()
            if self._folded.get(chunk, -1) < end
        }

    def folded(self, chunks: Iterable[int], position: int) -> None:
        """The store has all that was recorded of `chunks` up to `position`; segments nobody needs are deleted.

        A segment is needed while it holds an intent without an outcome, or an outcome that is not folded or not
        covered by a `mark`.
        """
        for chunk in chunks:
            self._folded[chunk] = max(position, self._folded.get(chunk, -1))
        self._retire(self._segments[:-1])

    def holds(self, chunk: int) -> bool:
        """Whether a record of `chunk` would be replayed after a crash now."""
        return any(chunk in segment.last for segment in self._segments)

    def close(self, *, folded: Iterable[int] = ()) -> bool:
        """Sync and close. True if nothing was left to replay, so that every segment is deleted."""
        try:
            if self._poison is None:
                self.flush()
                self.sync()
                self._folded.update(dict.fromkeys(folded, self.writer.position))
                self._retire(self._segments)
        finally:
            remaining, self._segments = self._segments, ()
            self.writer.limit = self.writer.intent_limit = -1
            self._poison = self._poison or "the journal is closed"
            for segment in remaining:
                segment.close()
            if self._spare is not None:
                self._spare.close()
                self._spare.path.unlink(missing_ok=True)
                self._spare = None
        return not remaining

    def _sync(self) -> None:
        self._check()
        target = self.writer.position if self._mapped else self._current.flushed
        if target == self._synced:
            return
        for segment in self._segments:
            current = segment is self._current
            if segment.synced or segment.base >= target:
                continue
            try:
                segment.sync(self._fdatasync)
            except OSError as error:
                raise self._fail(segment.path, error) from None
            segment.synced = not current
        self._synced = target

    def _append(self, body: bytes) -> None:
        size = HEAD.size + len(body)
        writer = self.writer
        if writer.position + size > writer.limit:
            self._rotate()
        start = writer.position - writer.base
        self._current.buffer[start : start + size] = HEAD.pack(len(body), zlib.crc32(body)) + body
        writer.position += size

    def _make_room_for_intent(self) -> None:
        """After a look at why the next intent is beyond the limit."""
        self._check()
        if self._spare is None and not self.prepare():
            raise DiskFull(f"{self._folder}: no room for another journal segment", hint="free some space")
        writer = self.writer
        writer.intent_limit = writer.limit
        if writer.position + _INTENT_BYTES > writer.limit:
            self._rotate()

    def _rotate(self) -> None:
        self._check()
        if self._spare is None and not self.prepare():
            raise DiskFull(f"{self._folder}: no room for another journal segment", hint="free some space")
        self.flush()
        with self._spare_lock:
            spare, self._spare = self._spare, None
        assert spare is not None
        self._enter(spare)

    def _enter(self, segment: Segment) -> None:
        """Go on in `segment`, whose positions begin where the room of the one before ends."""
        previous = self._segments[-1] if self._segments else None
        segment.base = segment.flushed = 0 if previous is None else previous.base + previous.size
        self._current = segment
        # What is kept when no spare can be made is for the outcomes of what is in flight.
        self.writer.enter(segment.buffer, segment.last, segment.base, segment.size, segment.size // 16)
        with self._list_lock:
            self._segments = (*self._segments, segment)

    def _make(self) -> Segment:
        path = segment_path(self._folder, self._next_number)
        segment = Segment(path, self._segment_bytes, self._allocate, mapped=self._mapped)
        self._next_number += 1
        return segment

    def _retire(self, candidates: tuple[Segment, ...]) -> None:
        with self._sync_lock:
            # Oldest first: what a segment says may answer an intent in the one before.
            done = list(takewhile(self._is_done, candidates))
            if not done:
                return
            # The outcome of an intent that goes may be in a segment that stays.
            self._sync()
            with self._list_lock:
                self._segments = tuple(segment for segment in self._segments if segment not in done)
            for segment in done:
                segment.path.unlink(missing_ok=True)
                segment.close()
            fsync_directory(self._folder)
            oldest = self._segments[0].base if self._segments else 0
            self._folded = {chunk: position for chunk, position in self._folded.items() if position > oldest}

    def _is_done(self, segment: Segment) -> bool:
        ends = segment.last
        if any(self._folded.get(chunk, -1) < end for chunk, end in ends.items()):
            return False
        # A fold has no trace of an attempt under way: its intent is all there is. (The copy is taken in one step.)
        if any(segment.base < end <= segment.base + segment.size for end in list(self._unanswered.values())):
            return False
        return max(ends.values(), default=0) <= self._marked

    def _check(self) -> None:
        if self._poison is not None:
            raise StateError(self._poison, hint="start again: what was recorded is replayed")

    def _fail(self, path: Path, error: OSError) -> StateError:
        self._poison = str(segment_error(path, error))
        self.writer.limit = self.writer.intent_limit = -1
        return StateError(
            f"{path}: the journal cannot be made durable: {error.strerror}",
            hint="check the disk, then start again: what was recorded is replayed",
        )
