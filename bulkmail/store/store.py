"""The embedded store: one directory, one owner; chunks are taken in, claimed and folded here."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from bulkmail.clock import Clock
from bulkmail.errors import InternalError
from bulkmail.model.cpu import CpuSpent
from bulkmail.model.delivery import Disposition, Reason
from bulkmail.store import chunks, directory, runs
from bulkmail.store.chunks import NewChunk, OpenChunk
from bulkmail.store.database import Database
from bulkmail.store.directory import DirectoryLock, make_directory
from bulkmail.store.journal import SEGMENT_BYTES, Journal
from bulkmail.store.keys import read_keys
from bulkmail.store.outcomes import Outcome, OutcomeColumn
from bulkmail.store.recovery import RecoveryReport, recover
from bulkmail.store.runs import IntakeProgress, Run, RunState
from bulkmail.store.settings import FeedbackSettings, keep_feedback_settings
from bulkmail.store.spending import keep_cpu
from bulkmail.store.view import StoreView

# What stands before a site's name in the table of small facts.
WINDOW = "window "


class Store(StoreView):
    """A state directory with its lock. All methods belong to one thread; `journal` says what belongs to another.

    `recovered` is what opening found of an earlier process; `first_segment` the number that every journal begins at.
    """

    def __init__(self, path: Path, lock: DirectoryLock, database: Database, *, clock: Clock, **journal: Any) -> None:
        live: dict[int, OutcomeColumn] = {}
        super().__init__(database, live)
        self._path = path
        self._lock = lock
        self._clock = clock
        self._open: dict[int, OpenChunk] = {}
        self.token_keys = read_keys(database)
        self.recovered: RecoveryReport
        self.recovered, self.first_segment = recover(database, path / directory.JOURNAL)
        self.journal = Journal(path / directory.JOURNAL, first=self.first_segment, **journal)

    @classmethod
    def open(cls, path: Path, *, clock: Clock, segment_bytes: int = SEGMENT_BYTES, **journal: Any) -> "Store":
        """Make or open the directory `path`, and bring what an earlier process left in the journal into its tables.

        StateInUse if another process has it, DiskFull if there is no room for the journal. `journal` are further
        arguments of `Journal`.
        """
        make_directory(path)
        lock = DirectoryLock(path)
        try:
            database = Database(path / directory.DATABASE)
            try:
                directory.fsync_directory(path)
                return cls(path, lock, database, clock=clock, segment_bytes=segment_bytes, **journal)
            except BaseException:
                database.close()
                raise
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> "Store":
        return self

    def close(self) -> None:
        """Fold what is open, sync and let go. What the disk refuses now stays in the journal for the next owner."""
        try:
            try:
                if not self.journal.failed:
                    self.fold(list(self._open.values()))
            finally:
                marked = self.journal.marked
                if self.journal.close() and marked:
                    with self._database.transaction() as connection:
                        connection.execute("DELETE FROM unpublished")
        finally:
            self._database.close()
            self._lock.release()

    def check_in_place(self) -> None:
        """StateError where the directory was removed or replaced since it was opened."""
        self._lock.check_in_place()

    def anomalies(self) -> dict[str, str]:
        """What went wrong with a window of transactions, by site."""
        prefix = len(WINDOW)
        rows = self._database.rows("SELECT name, value FROM meta WHERE name GLOB ?", (f"{WINDOW}*",))
        return {name[prefix:]: value for name, value in rows}

    def keep_anomaly(self, site: str, what: str) -> None:
        """Remember, across runs, that the site is to be given one transaction at a time."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"{WINDOW}{site}", what))

    def events_path(self, run: Run) -> Path:
        """The file of the run's event log."""
        return self._path / directory.EVENTS / f"{run.id}.ndjson"

    def keep_cpu(self, run: int, spent: CpuSpent) -> None:
        """What all processes together have taken for the run so far."""
        keep_cpu(self._database, run, spent)

    def keep_feedback_settings(self, campaign: str, settings: FeedbackSettings) -> None:
        """For those who take in what comes back of the campaign's mail."""
        keep_feedback_settings(self._database, campaign, settings)

    def create_run(self, campaign: str, content_hash: str, recipients_hash: str, settings: bytes) -> Run:
        """A new run in state `INTAKE`."""
        return runs.create_run(
            self._database, campaign, content_hash, recipients_hash, settings, created=self._clock.time()
        )

    def set_state(self, run: int, state: RunState) -> Run:
        return runs.set_state(self._database, run, state, self._clock.time())

    def held(self, run: int) -> int:
        """How many recipients of the run wait until they are released."""
        return chunks.held(self._database, run)

    def release_held(self, run: int) -> None:
        """Let those go that wait, at their own times."""
        chunks.release_held(self._database, run)

    @property
    def path(self) -> Path:
        """The state directory."""
        return self._path

    @property
    def journal_folder(self) -> Path:
        """Where the journal is, with folders for those of nodes."""
        return self._path / directory.JOURNAL

    @property
    def lock_descriptor(self) -> int:
        """A node that has it keeps the directory taken for as long as it lives."""
        return self._lock.descriptor

    def still_open(self, numbers: Collection[int] | None) -> set[int]:
        """Which of these chunks (None: of all) are open, so that not all of theirs may be in the tables."""
        return set(self._open) if numbers is None else self._open.keys() & set(numbers)

    def extend_run(self, run: Run, *, recipients_hash: str, settings: bytes) -> Run:
        """Let a run whose rows were all taken in take in more: those behind its watermark."""
        if run.state is RunState.INTAKE:
            offset = run.events_offset
        else:
            path = self.events_path(run)
            offset = path.stat().st_size if path.exists() else 0
        return runs.extend_run(self._database, run.number, recipients_hash, settings, offset)

    def ingest(self, run: int, new: Sequence[NewChunk], progress: IntakeProgress) -> list[int]:
        """Store chunks and the intake's progress together, durably; the chunks' numbers."""
        packed = chunks.pack_chunks(new)
        with self._database.transaction():
            runs.set_progress(self._database, run, progress)
            return chunks.insert_chunks(self._database, run, packed)

    def waiting(self, run: int, now: float) -> chunks.Waiting:
        """All that waits for the run, at `now` (Unix seconds); takes its time where that is much."""
        return chunks.waiting(self._database, run, now)

    def claim(self, run: int, destination: str, now: float) -> OpenChunk | None:
        """`claim_many` of one; None if there is none."""
        return next(iter(self.claim_many(run, destination, now, 1)), None)

    def claim_many(self, run: int, destination: str, now: float, most: int) -> list[OpenChunk]:
        """Open the chunks of `destination` that have been due longest, up to so many.

        Nothing is written: a claim that is never folded was never made.
        """
        opened = chunks.next_chunks(self._database, run, destination, now, most)
        if opened:
            places = ", ".join(["(?)"] * len(opened))
            self._database.rows(f"INSERT INTO temp.open_chunk VALUES {places}", [chunk.number for chunk in opened])
        for chunk in opened:
            self._open[chunk.number] = chunk
            self._live[chunk.number] = chunk.outcomes
        return opened

    def fold(self, opened: Sequence[OpenChunk], *, release: Iterable[int] = ()) -> None:
        """Store the outcomes of these chunks durably, in one transaction; then close those in `release` (numbers).

        A closed chunk may be claimed again when due, and is done when all its recipients are final. Outcomes may be
        set meanwhile by another thread, but not of a chunk to be closed.
        """
        # Read before the columns: an outcome is set first and recorded then, so up to here all is in the columns.
        position = self.journal.position
        released = set(release)
        for chunk in opened:
            if self._open.get(chunk.number) is not chunk:
                raise InternalError(f"chunk {chunk.number} is folded but not open")
        if unknown := released - self._open.keys():
            raise InternalError(f"chunks {sorted(unknown)} are released but not open")
        changes = {chunk.number: chunk.outcomes.changes for chunk in opened}
        changes |= {number: self._open[number].outcomes.changes for number in released}
        changed = {number for number, count in changes.items() if self._open[number].folded_changes != count}
        if changed:
            # The journal first: after a power failure the tables must not know what it does not.
            self.journal.sync()
            packed = chunks.pack_outcomes((number, self._live[number]) for number in sorted(changed))
            with self._database.transaction():
                chunks.write_outcomes(self._database, packed)
        for number in changed:
            self._open[number].folded_changes = changes[number]
        self.journal.folded(changes, position)
        if released:
            places = ", ".join("?" * len(released))
            self._database.rows(f"DELETE FROM temp.open_chunk WHERE number IN ({places})", released)
        for number in released:
            del self._open[number], self._live[number]

    def settle_doubts(self, run: int, disposition: Disposition, *, time: float, due: float = 0.0) -> int:
        """Give every recipient of the run at `IN_DOUBT` another disposition, durably; how many there were.

        For what a crash left, so before anything of the run is claimed: InternalError if the journal has the chunk.
        """
        columns: dict[int, OutcomeColumn] = {}
        doubts = self.doubts(run)
        for doubt in doubts:
            if doubt.chunk in self._open or self.journal.holds(doubt.chunk):
                raise InternalError(f"chunk {doubt.chunk} is settled while it is sent")
            column = columns.get(doubt.chunk)
            if column is None:
                column = columns[doubt.chunk] = self._stored(doubt.chunk)
            before = column.get(doubt.index)
            reason = Reason.NONE if disposition == Disposition.DELIVERED else before.reason
            column.set(
                doubt.index,
                Outcome(disposition, before.attempt, reason, before.stage, time=time, due=due, text=before.text),
            )
        if columns:
            with self._database.transaction():
                chunks.write_outcomes(self._database, chunks.pack_outcomes(columns.items()))
        return len(doubts)
