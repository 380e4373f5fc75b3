"""Read a state directory: runs, counts and outcomes, of an owner or beside one."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from bulkmail.errors import StateError
from bulkmail.model.cpu import CpuSpent
from bulkmail.model.delivery import Disposition, Reason, Stage
from bulkmail.store import chunks, codec, segments
from bulkmail.store.database import Database
from bulkmail.store.directory import DATABASE, JOURNAL
from bulkmail.store.outcomes import COUNTED, Outcome, OutcomeColumn
from bulkmail.store.replay import JournalEntry, Replay
from bulkmail.store.runs import Run, all_runs, find_run, latest_run
from bulkmail.store.spending import read_cpu


class RecipientOutcome(Struct, frozen=True, kw_only=True, gc=False):
    """How one recipient stands. Times are Unix seconds; `destination` is the domain, also in a mixed chunk."""

    run: int
    chunk: int
    index: int
    address: str
    destination: str
    disposition: Disposition
    attempts: int
    code: int
    reason: Reason
    stage: Stage
    time: float
    due: float
    text: str


class Doubt(Struct, frozen=True, gc=False):
    """A recipient whose message was sent whole, without a recorded reply."""

    run: int
    chunk: int
    index: int
    address: str
    attempt: int


class ListCounts(Struct):
    """Recipients of one list that are final with or without the mail."""

    delivered: int = 0
    bounced: int = 0
    expired: int = 0


class StoreView:
    """What is known now: queue.db, and over it the outcomes in `live` columns that are not folded yet, by chunk.

    Opened for reading it needs no lock, changes nothing, and stands still: later outcomes are not seen.
    """

    def __init__(self, database: Database, live: dict[int, OutcomeColumn]) -> None:
        self._database = database
        self._live = live
        database.rows("CREATE TEMP TABLE open_chunk (number INTEGER PRIMARY KEY)")

    @classmethod
    def open_readonly(cls, directory: Path) -> "StoreView":
        """A snapshot of `directory`, whoever owns it. StateError if there is none."""
        path = directory / DATABASE
        if not path.exists():
            raise StateError(f"{directory}: no state of bulkmail here", hint="name its directory with --state")
        # The journal is opened before the tables' snapshot: what is folded in between is seen twice, not never.
        journals = []
        for folder in segments.journal_folders(directory / JOURNAL):
            journals.append(journal := list[segments.SegmentReader]())
            for _, segment_path in segments.segment_paths(folder):
                with suppress(FileNotFoundError):
                    journal.append(segments.SegmentReader(segment_path))
        database = Database(path, readonly=True)
        try:
            live: dict[int, OutcomeColumn] = {}
            view = StoreView(database, live)
            database.rows("BEGIN")
            database.rows("SELECT 1 FROM meta")  # the snapshot is that of the first read
            for journal in journals:
                replay = Replay(lambda number: chunks.read_column(database, number), (), live)
                for segment in journal:
                    replay.read(segment)
        except BaseException:
            database.close()
            raise
        return view

    def __enter__(self) -> "StoreView":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def runs(self) -> list[Run]:
        """Every run, oldest first."""
        return all_runs(self._database)

    def run(self, number: int) -> Run:
        """StateError if there is no such run."""
        return find_run(self._database, number)

    def latest_run(self, campaign: str) -> Run | None:
        return latest_run(self._database, campaign)

    def cpu(self, run: int) -> CpuSpent:
        """What the run has taken, up to the last report of whoever sends it."""
        return read_cpu(self._database, run)

    def counts(self, run: int) -> dict[Disposition, int]:
        """How many stored recipients of the run stand where; every disposition is a key."""
        columns = ", ".join(f"coalesce(sum({name}), 0)" for name in ("size", *chunks.COUNT_COLUMNS.split(", ")))
        size, *finals = self._database.rows(f"SELECT {columns} FROM chunk WHERE run = ?", (run,))[0]
        counts = _counts(size, finals)
        for number, column in list(self._live.items()):
            row = self._database.row(
                f"SELECT size, {chunks.COUNT_COLUMNS} FROM chunk WHERE number = ? AND run = ?", (number, run)
            )
            if row is not None:
                stored = _counts(row[0], row[1:])
                for disposition, count in column.counts().items():
                    counts[disposition] += count - stored[disposition]
        return counts

    def backlog(self, run: int, now: float) -> list[chunks.Backlog]:
        """What waits, by destination, apart from the chunks that are open here. `now` in Unix seconds."""
        return chunks.backlog(self._database, run, now)

    def outcomes(self, run: int, *, only: Collection[Disposition] | None = None) -> Iterator[RecipientOutcome]:
        """How each recipient of the run stands, in the order taken in; `only` those that stand at one of these."""
        wanted = frozenset(Disposition if only is None else only)
        for number, size, *stored in self._database.stream(
            f"SELECT number, size, {chunks.COUNT_COLUMNS} FROM chunk WHERE run = ? ORDER BY number", (run,)
        ):
            live = self._live.get(number)
            counts = _counts(size, stored) if live is None else live.counts()
            if not any(counts[disposition] for disposition in wanted):
                continue
            column = live or self._stored(number)
            addresses = chunks.read_addresses(self._database, number)
            for index in column.indexes(wanted):
                yield _recipient(run, number, index, addresses[index], column.get(index))

    def at(self, run: int, chunk: int, index: int) -> RecipientOutcome | None:
        """How the recipient at a place stands; None if nobody of that run is there."""
        row = self._database.row("SELECT size FROM chunk WHERE number = ? AND run = ?", (chunk, run))
        if row is None or not 0 <= index < row[0]:
            return None
        column = self._live.get(chunk) or self._stored(chunk)
        return _recipient(run, chunk, index, chunks.read_addresses(self._database, chunk)[index], column.get(index))

    def find(self, address: str) -> list[RecipientOutcome]:
        """How one address stands in every run, oldest first. Letters a to z match in either case.

        Read are the chunks of its domain and the mixed ones: about a second for 10 million recipients.
        """
        line = address.encode("utf-8", "replace").lower()
        found = []
        for run, number, size, blob in self._database.stream(
            "SELECT run, number, size, addresses FROM chunk JOIN payload ON chunk = number"
            " WHERE destination IN (?, '') ORDER BY number",
            (address.rpartition("@")[2].lower(),),
        ):
            what = chunks.chunk_name(self._database, number)
            if line not in codec.unpack(blob, size, what).lower():
                continue
            column = self._live.get(number) or self._stored(number)
            found += [
                _recipient(run, number, index, given, column.get(index))
                for index, given in enumerate(chunks.decode_addresses(blob, size, what))
                if given.encode().lower() == line
            ]
        return found

    def counts_by_list(self, run: int) -> dict[str | None, ListCounts]:
        """How many of each list are delivered, bounced and expired; None for recipients of no list."""
        found: dict[str | None, ListCounts] = {}
        for number, name, delivered, bounced, expired in self._database.stream(
            "SELECT number, list, delivered, bounced, expired FROM chunk WHERE run = ?", (run,)
        ):
            counts = found.setdefault(name, ListCounts())
            live = self._live.get(number)
            if live is not None:
                now = live.counts()
                delivered, bounced, expired = (
                    now[each] for each in (Disposition.DELIVERED, Disposition.BOUNCED, Disposition.EXPIRED)
                )
            counts.delivered += delivered
            counts.bounced += bounced
            counts.expired += expired
        return found

    def lists_of(self, run: int, addresses: Collection[str]) -> dict[str, str | None]:
        """The list of each of the addresses in the run. Reads every chunk: a second for a million recipients."""
        wanted = frozenset(addresses)
        found: dict[str, str | None] = {}
        for number, name in self._database.rows("SELECT number, list FROM chunk WHERE run = ?", (run,)):
            found |= dict.fromkeys(wanted.intersection(chunks.read_addresses(self._database, number)), name)
        return found

    def doubts(self, run: int) -> list[Doubt]:
        """The recipients of the run that stand at `IN_DOUBT`."""
        return [
            Doubt(run, found.chunk, found.index, found.address, found.attempts)
            for found in self.outcomes(run, only={Disposition.IN_DOUBT})
        ]

    def _stored(self, number: int) -> OutcomeColumn:
        column = chunks.read_column(self._database, number)
        assert column is not None
        return column


def recipient_outcomes(database: Database, entries: Iterable[JournalEntry]) -> list[RecipientOutcome]:
    """`entries` of known chunks, with run and address."""
    runs_and_addresses: dict[int, tuple[int, list[str]]] = {}
    outcomes = []
    for entry in entries:
        if entry.chunk not in runs_and_addresses:
            run = database.value("SELECT run FROM chunk WHERE number = ?", (entry.chunk,))
            runs_and_addresses[entry.chunk] = run, chunks.read_addresses(database, entry.chunk)
        run, addresses = runs_and_addresses[entry.chunk]
        outcomes.append(_recipient(run, entry.chunk, entry.index, addresses[entry.index], entry.outcome))
    return outcomes


def _counts(size: int, stored: Sequence[int]) -> dict[Disposition, int]:
    return {Disposition.OPEN: size - sum(stored), **dict(zip(COUNTED, stored, strict=True))}


def _recipient(run: int, chunk: int, index: int, address: str, outcome: Outcome) -> RecipientOutcome:
    return RecipientOutcome(
        run=run,
        chunk=chunk,
        index=index,
        address=address,
        destination=address.rpartition("@")[2].lower(),
        disposition=outcome.disposition,
        attempts=outcome.attempt,
        code=outcome.code,
        reason=outcome.reason,
        stage=outcome.stage,
        time=outcome.time,
        due=outcome.due,
        text=outcome.text,
    )
