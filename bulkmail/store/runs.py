"""Runs as queue.db has them: created, counted, moved from state to state."""

from enum import StrEnum

from msgspec import Struct

from bulkmail.errors import StateError
from bulkmail.store.database import Database

_COLUMNS = (
    "number, id, campaign, content_hash, recipients_hash, state, created, started, finished, "
    "rows, rejected, duplicates, suppressed, watermark, events_offset, settings"
)


class RunState(StrEnum):
    """`INTAKE`: rows are still read; `SENDING`: all rows are stored."""

    INTAKE = "intake"
    SENDING = "sending"
    FINISHED = "finished"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (RunState.FINISHED, RunState.CANCELLED)


class Run(Struct, frozen=True, kw_only=True):
    """One execution of a campaign. Times are Unix seconds.

    `rows` to `suppressed` count the intake so far, `watermark` the rows of all sources, in order, that are taken in.
    `settings` is whatever the engine pinned, as bytes.
    """

    number: int
    id: str
    campaign: str
    content_hash: str
    recipients_hash: str
    state: RunState
    created: float
    started: float | None = None
    finished: float | None = None
    rows: int = 0
    rejected: int = 0
    duplicates: int = 0
    suppressed: int = 0
    watermark: int = 0
    events_offset: int = 0
    settings: bytes = b""


class IntakeProgress(Struct, frozen=True, kw_only=True):
    """The intake's counters in all, not since the last call."""

    rows: int
    rejected: int
    duplicates: int
    suppressed: int
    watermark: int
    events_offset: int = 0


def all_runs(database: Database) -> list[Run]:
    """Every run, oldest first."""
    return [_run(row) for row in database.rows(f"SELECT {_COLUMNS} FROM run ORDER BY number")]


def find_run(database: Database, number: int) -> Run:
    """StateError if there is no such run."""
    row = database.row(f"SELECT {_COLUMNS} FROM run WHERE number = ?", (number,))
    if row is None:
        raise StateError(f"{database.path}: no run {number}")
    return _run(row)


def latest_run(database: Database, campaign: str) -> Run | None:
    row = database.row(f"SELECT {_COLUMNS} FROM run WHERE campaign = ? ORDER BY number DESC LIMIT 1", (campaign,))
    return None if row is None else _run(row)


def create_run(
    database: Database, campaign: str, content_hash: str, recipients_hash: str, settings: bytes, created: float
) -> Run:
    """A new run in state `INTAKE`, its id the campaign's name and a counter."""
    with database.transaction() as connection:
        counter = 1 + database.value("SELECT coalesce(max(counter), 0) FROM run WHERE campaign = ?", (campaign,))
        number = connection.execute(
            "INSERT INTO run (id, campaign, counter, content_hash, recipients_hash, state, created, settings)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                f"{campaign}-{counter}",
                campaign,
                counter,
                content_hash,
                recipients_hash,
                RunState.INTAKE,
                created,
                settings,
            ),
        ).lastrowid
    assert number is not None
    return find_run(database, number)


def set_state(database: Database, number: int, state: RunState, now: float) -> Run:
    """Move a run to `state`: `started` is stamped on the first SENDING, `finished` on the last end."""
    with database.transaction() as connection:
        connection.execute(
            "UPDATE run SET state = ?1,"
            " started = CASE WHEN ?1 = 'sending' THEN coalesce(started, ?2) ELSE started END,"
            " finished = CASE WHEN ?1 IN ('finished', 'cancelled') THEN ?2 END WHERE number = ?3",
            (state, now, number),
        )
    return find_run(database, number)


def extend_run(database: Database, number: int, recipients_hash: str, settings: bytes, events_offset: int) -> Run:
    """Back to `INTAKE`, with other pins; events behind `events_offset` are those of an intake that may be repeated."""
    with database.transaction() as connection:
        connection.execute(
            "UPDATE run SET state = 'intake', finished = NULL, recipients_hash = ?, settings = ?, events_offset = ?"
            " WHERE number = ?",
            (recipients_hash, settings, events_offset, number),
        )
    return find_run(database, number)


def set_progress(database: Database, number: int, progress: IntakeProgress) -> None:
    """Part of the transaction that stores the rows counted. StateError unless the run takes rows in."""
    changed = database.connection.execute(
        "UPDATE run SET rows = ?, rejected = ?, duplicates = ?, suppressed = ?, watermark = ?, events_offset = ?"
        " WHERE number = ? AND state = 'intake'",
        (
            progress.rows,
            progress.rejected,
            progress.duplicates,
            progress.suppressed,
            progress.watermark,
            progress.events_offset,
            number,
        ),
    ).rowcount
    if changed != 1:
        raise StateError(f"{database.path}: run {number} takes no more rows in")


def _run(row: tuple[object, ...]) -> Run:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    values["state"] = RunState(str(values["state"]))
    return Run(**values)  # type: ignore[arg-type]
