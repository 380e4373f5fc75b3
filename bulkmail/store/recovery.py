"""Bring what the journal has into the tables after a crash, once, and list what is in doubt."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from bulkmail.store import chunks
from bulkmail.store.database import Database
from bulkmail.store.directory import fsync_directory
from bulkmail.store.outcomes import Outcome
from bulkmail.store.replay import JournalEntry, Replay
from bulkmail.store.segments import SegmentReader, segment_paths
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
    """The report, and the number the next segment takes.

    The outcomes, and the fact that these segments are done with, are one transaction: killed anywhere, a recovery
    happens once. Only then are the segments deleted.
    """
    done = database.value("SELECT value FROM meta WHERE name = 'journal'")
    segments = segment_paths(folder)
    replay = Replay(lambda number: chunks.read_column(database, number), _unpublished(database))
    for number, path in segments:
        if number > done:
            replay.read(SegmentReader(path))
    doubts = replay.doubt()
    if segments:
        done = max(done, segments[-1][0])
        with database.transaction() as connection:
            chunks.write_outcomes(database, chunks.pack_outcomes(replay.columns.items()))
            connection.execute("DELETE FROM unpublished")
            connection.executemany(
                "INSERT INTO unpublished (chunk, position, outcome) VALUES (?, ?, ?)",
                ((entry.chunk, entry.index, msgspec.msgpack.encode(entry.outcome)) for entry in replay.unpublished),
            )
            connection.execute("UPDATE meta SET value = ? WHERE name = 'journal'", (done,))
        for _, path in segments:
            path.unlink()
        fsync_directory(folder)
    report = RecoveryReport(
        doubts=[
            Doubt(found.run, found.chunk, found.index, found.address, found.attempts)
            for found in recipient_outcomes(database, doubts)
        ],
        outcomes_replayed=replay.outcomes,
        torn_bytes=replay.torn_bytes,
        orphans=replay.orphans,
        events_to_publish=recipient_outcomes(database, replay.unpublished),
        events_offsets=replay.marks,
    )
    return report, done + 1


def _unpublished(database: Database) -> list[JournalEntry]:
    decode = msgspec.msgpack.Decoder(Outcome).decode
    return [
        JournalEntry(chunk, index, decode(outcome))
        for chunk, index, outcome in database.rows("SELECT chunk, position, outcome FROM unpublished ORDER BY sequence")
    ]
