"""Bring what the journal has into the tables after a crash, once, and list what is in doubt."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from bulkmail.store import chunks
from bulkmail.store.database import Database
from bulkmail.store.directory import fsync_directory
from bulkmail.store.outcomes import Outcome, OutcomeColumn
from bulkmail.store.replay import JournalEntry, Replay
from bulkmail.store.segments import SegmentReader, journal_folders, segment_paths
from bulkmail.store.view import Doubt, RecipientOutcome, recipient_outcomes


class RecoveryReport(Struct, frozen=True, kw_only=True):
    """What opening the directory found.

    `doubts` are the intents nothing answered, now at `IN_DOUBT`. `events_to_publish` are the outcomes, doubts among
    them, that no mark covers: the run's event log may lack them, and has them all up to `events_offsets[run]`. They
    are reported again after another crash, until a `mark` of the journal covers them. `orphans` counts the records of
    chunks and recipients that do not exist.
    """

    doubts: list[Doubt] = []
    outcomes_replayed: int = 0
    torn_bytes: int = 0
    orphans: int = 0
    events_to_publish: list[RecipientOutcome] = []
    events_offsets: Mapping[int, int] = {}


def recover(database: Database, folder: Path) -> tuple[RecoveryReport, int]:
    """The report, and the number the next segment takes, in whatever journal: the owner's, or one of a node's.

    The outcomes, and the fact that these segments are done with, are one transaction: killed anywhere, a recovery
    happens once. Only then are the segments deleted.
    """
    done = database.value("SELECT value FROM meta WHERE name = 'journal'")
    columns: dict[int, OutcomeColumn] = {}
    replays, found = [], []
    for place in journal_folders(folder):
        # What was recovered before is nobody's but the owner's.
        earlier = _unpublished(database) if place == folder else ()
        replay = Replay(lambda number: chunks.read_column(database, number), earlier, columns)
        for number, path in segment_paths(place):
            if number > done:
                replay.read(SegmentReader(path))
            found.append((number, path))
        replays.append(replay)
    doubts = [entry for replay in replays for entry in replay.doubt()]
    unpublished = [entry for replay in replays for entry in replay.unpublished]
    if found:
        done = max(done, *(number for number, _ in found))
        with database.transaction() as connection:
            chunks.write_outcomes(database, chunks.pack_outcomes(columns.items()))
            connection.execute("DELETE FROM unpublished")
            connection.executemany(
                "INSERT INTO unpublished (chunk, position, outcome) VALUES (?, ?, ?)",
                ((entry.chunk, entry.index, msgspec.msgpack.encode(entry.outcome)) for entry in unpublished),
            )
            connection.execute("UPDATE meta SET value = ? WHERE name = 'journal'", (done,))
    for place in reversed(journal_folders(folder)):
        remove_journal(place, keep=place == folder)
    report = RecoveryReport(
        doubts=[
            Doubt(found.run, found.chunk, found.index, found.address, found.attempts)
            for found in recipient_outcomes(database, doubts)
        ],
        outcomes_replayed=sum(replay.outcomes for replay in replays),
        torn_bytes=sum(replay.torn_bytes for replay in replays),
        orphans=sum(replay.orphans for replay in replays),
        events_to_publish=recipient_outcomes(database, unpublished),
        events_offsets=_offsets(replays),
    )
    return report, done + 1


def remove_journal(folder: Path, *, keep: bool = False) -> None:
    """Delete the segments of one journal, durably; and unless it is to be kept, its folder."""
    for _, path in segment_paths(folder):
        path.unlink()
    if keep:
        fsync_directory(folder)
    else:
        folder.rmdir()
        fsync_directory(folder.parent)


def _offsets(replays: Sequence[Replay]) -> dict[int, int]:
    """Up to where each run's log has what every journal has marked."""
    marks = [replay.marks for replay in replays if replay.unpublished]
    return {run: min(one.get(run, 0) for one in marks) for run in {run for one in marks for run in one}}


def _unpublished(database: Database) -> list[JournalEntry]:
    decode = msgspec.msgpack.Decoder(Outcome).decode
    return [
        JournalEntry(chunk, index, decode(outcome))
        for chunk, index, outcome in database.rows("SELECT chunk, position, outcome FROM unpublished ORDER BY sequence")
    ]
