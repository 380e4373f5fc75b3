"""Chunks: at most 1,000 recipients of one destination, stored, claimed and closed together."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from bulkmail.errors import StateError
from bulkmail.model.delivery import Disposition
from bulkmail.store import codec
from bulkmail.store.database import Database
from bulkmail.store.outcomes import COUNTED, OutcomeColumn, encode_all

MAX_RECIPIENTS = 0x10000  # an index has 16 bits in journal and token
MAX_CHUNKS = 0xFFFFFFFF
# Added to the due time of recipients that wait for others: far beyond any real one.
HELD_SECONDS = 1e11
COUNT_COLUMNS = ", ".join(disposition.label for disposition in COUNTED)
# Of what `PackedOutcomes` has, with the number before it.
_COLUMNS = (*(disposition.label for disposition in COUNTED), "remaining", "due")
_SET_COUNTS = ", ".join(f"{name} = new.column{place}" for place, name in enumerate(_COLUMNS, 2))
# Chunks whose outcomes one statement stores.
MOST_TOGETHER = 64


class NewChunk(Struct, frozen=True):
    """Recipients to be stored: `rows[i]` holds the fields of `addresses[i]`; neither has a line feed.

    `destination` is the domain of all of them, "" where they differ; `due` (Unix seconds) when they may first be tried.
    """

    destination: str
    list_name: str | None
    addresses: list[str]
    rows: list[bytes]
    due: float = 0.0


class Backlog(Struct, frozen=True):
    """What waits for one destination, without the chunks that are open.

    `next_due` is the earliest due time (Unix seconds) of the chunks that are not ready yet.
    """

    destination: str
    chunks_ready: int
    recipients_open: int
    next_due: float | None


class Waiting(Struct, frozen=True, kw_only=True):
    """All that waits in the store for a run, without the chunks that are open.

    `ready` are destinations with their chunks that are due and the recipients in these; `later` the due time (Unix
    seconds) and the destination of each chunk that is not; `held` the recipients that wait to be released.
    """

    ready: list[tuple[str, int, int]]
    later: list[tuple[float, str]]
    held: int


class OpenChunk:
    """A claimed chunk: its recipients, and their outcomes so far, which its owner sets."""

    __slots__ = ("addresses", "destination", "folded_changes", "list_name", "number", "outcomes", "rows", "run")

    def __init__(
        self,
        *,
        number: int,
        run: int,
        destination: str,
        list_name: str | None,
        addresses: list[str],
        rows: list[bytes],
        outcomes: OutcomeColumn,
    ) -> None:
        self.number = number
        self.run = run
        self.destination = destination
        self.list_name = list_name
        self.addresses = addresses
        self.rows = rows
        self.outcomes = outcomes
        self.folded_changes = outcomes.changes

    def ready(self, now: float) -> list[int]:
        """Indexes of the recipients that may be tried at `now` (Unix seconds)."""
        return self.outcomes.ready(now)

    @property
    def open_count(self) -> int:
        """Recipients not final."""
        counts = self.outcomes.counts()
        return counts[Disposition.OPEN] + counts[Disposition.DEFERRED]


class PackedChunk(Struct, frozen=True):
    """A `NewChunk` as it is stored."""

    destination: str
    list_name: str | None
    due: float
    size: int
    addresses: bytes
    rows: bytes


def pack_chunks(chunks: Iterable[NewChunk]) -> list[PackedChunk]:
    """Takes its time, so it is no part of a transaction: others wait for the end of those."""
    chunks = list(chunks)
    columns: list[tuple[bytes, int]] = []
    for chunk in chunks:
        size = len(chunk.addresses)
        if size != len(chunk.rows) or size > MAX_RECIPIENTS:
            raise ValueError(f"a chunk of {size} addresses and {len(chunk.rows)} rows")
        columns.append((codec.joined([address.encode() for address in chunk.addresses]), size))
        columns.append((codec.joined(chunk.rows), size))
    packed = codec.pack_all(columns)
    return [
        PackedChunk(chunk.destination, chunk.list_name, chunk.due, len(chunk.addresses), addresses, rows)
        for chunk, addresses, rows in zip(chunks, packed[::2], packed[1::2], strict=True)
    ]


def insert_chunks(database: Database, run: int, chunks: Sequence[PackedChunk]) -> list[int]:
    """Their numbers. Part of the caller's transaction."""
    number = 1 + database.value("SELECT coalesce(max(number), 0) FROM chunk")
    if number + len(chunks) > MAX_CHUNKS:
        raise StateError(f"{database.path}: full: chunk numbers are used up", hint="start a new state directory")
    numbers = list(range(number, number + len(chunks)))
    for number, chunk in zip(numbers, chunks, strict=True):
        database.connection.execute(
            "INSERT INTO chunk (number, run, destination, list, size, remaining, due) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, run, chunk.destination, chunk.list_name, chunk.size, chunk.size, chunk.due),
        )
        database.connection.execute(
            "INSERT INTO payload (chunk, addresses, rows) VALUES (?, ?, ?)", (number, chunk.addresses, chunk.rows)
        )
    return numbers


def backlog(database: Database, run: int, now: float) -> list[Backlog]:
    """By destination, in no order; `temp.open_chunk` names the chunks to leave out."""
    return [
        Backlog(*row)
        for row in database.rows(
            "SELECT destination, sum(due <= ?1), sum(remaining), min(CASE WHEN due > ?1 THEN due END) FROM chunk"
            " WHERE run = ?2 AND due IS NOT NULL AND number NOT IN (SELECT number FROM temp.open_chunk)"
            " GROUP BY destination",
            (now, run),
        )
    ]


def waiting(database: Database, run: int, now: float) -> Waiting:
    """`temp.open_chunk` names the chunks to leave out. Looks at every chunk that is not done."""
    which = " FROM chunk WHERE run = ? AND due IS NOT NULL AND number NOT IN (SELECT number FROM temp.open_chunk)"
    return Waiting(
        ready=database.rows(
            f"SELECT destination, count(*), sum(remaining) {which} AND due <= ? GROUP BY destination", (run, now)
        ),
        later=database.rows(f"SELECT due, destination {which} AND due > ? AND due < ?", (run, now, HELD_SECONDS)),
        held=held(database, run),
    )


def held(database: Database, run: int) -> int:
    """How many recipients are held."""
    query = "SELECT coalesce(sum(remaining), 0) FROM chunk WHERE run = ? AND due >= ?"
    return int(database.value(query, (run, HELD_SECONDS)))


def release_held(database: Database, run: int) -> None:
    """Give the held ones their own due times."""
    with database.transaction() as connection:
        connection.execute("UPDATE chunk SET due = due - ?1 WHERE run = ?2 AND due >= ?1", (HELD_SECONDS, run))


def next_chunks(database: Database, run: int, destination: str, now: float, most: int) -> list[OpenChunk]:
    """Those that have been due longest, of those not in `temp.open_chunk`; up to so many."""
    found = database.rows(
        "SELECT chunk.number, chunk.list, size, addresses, rows, records, texts FROM chunk"
        " JOIN payload ON payload.chunk = chunk.number LEFT JOIN outcome ON outcome.chunk = chunk.number"
        " WHERE chunk.number IN (SELECT number FROM chunk WHERE run = ? AND destination = ? AND due <= ?"
        " AND number NOT IN (SELECT number FROM temp.open_chunk) ORDER BY due, number LIMIT ?)"
        " ORDER BY chunk.due, chunk.number",
        (run, destination, now, most),
    )
    packed = []
    for number, _, size, addresses, rows, _, _ in found:
        what = chunk_name(database, number)
        packed += [codec.Packed(addresses, size, what), codec.Packed(rows, size, what)]
    columns = iter(codec.unpack_all(packed))
    opened = []
    for number, list_name, size, _, _, records, texts in found:
        what = chunk_name(database, number)
        opened.append(
            OpenChunk(
                number=number,
                run=run,
                destination=destination,
                list_name=list_name,
                addresses=_addresses(next(columns), size, what),
                rows=codec.split(next(columns), size, what),
                outcomes=OutcomeColumn.decode(size, records, texts, what),
            )
        )
    return opened


class PackedOutcomes(Struct, frozen=True):
    """A chunk's outcomes as they are stored: counts, remaining recipients and due time, and the encoded column."""

    number: int
    counts: tuple[object, ...]
    encoded: tuple[bytes, bytes | None]


def pack_outcomes(columns: Iterable[tuple[int, OutcomeColumn]]) -> list[PackedOutcomes]:
    """Of each numbered chunk; takes its time, so it is no part of a transaction."""
    numbers, told, copies = [], [], []
    for number, column in columns:
        # One copy is counted and stored, whatever is set meanwhile.
        copy = column.copy()
        counts = copy.counts()
        remaining = counts[Disposition.OPEN] + counts[Disposition.DEFERRED]
        numbers.append(number)
        told.append(
            (*(counts[disposition] for disposition in COUNTED), remaining, copy.next_due() if remaining else None)
        )
        copies.append(copy)
    return list(map(PackedOutcomes, numbers, told, encode_all(copies)))


def write_outcomes(database: Database, packed: Sequence[PackedOutcomes]) -> None:
    """Store the outcomes, counts and due time of each. Part of the caller's transaction."""
    for start in range(0, len(packed), MOST_TOGETHER):
        together = packed[start : start + MOST_TOGETHER]
        # Each statement gives the interpreter away and has to wait for it: so few as can be.
        database.connection.execute(
            f"UPDATE chunk SET {_SET_COUNTS} FROM (VALUES {_places(len(COUNTED) + 3, len(together))}) AS new"
            " WHERE number = new.column1",
            [value for one in together for value in (one.number, *one.counts)],
        )
        database.connection.execute(
            f"INSERT OR REPLACE INTO outcome (chunk, records, texts) VALUES {_places(3, len(together))}",
            [value for one in together for value in (one.number, *one.encoded)],
        )


def _places(width: int, rows: int) -> str:
    """The placeholders of so many rows."""
    return ", ".join([f"({', '.join('?' * width)})"] * rows)


def read_column(database: Database, number: int) -> OutcomeColumn | None:
    """The stored outcomes of a chunk; None if there is no such chunk."""
    row = database.row(
        "SELECT size, records, texts FROM chunk LEFT JOIN outcome ON chunk = number WHERE number = ?", (number,)
    )
    if row is None:
        return None
    size, records, texts = row
    return OutcomeColumn.decode(size, records, texts, chunk_name(database, number))


def read_addresses(database: Database, number: int) -> list[str]:
    row = database.row("SELECT addresses, size FROM payload JOIN chunk ON number = chunk WHERE chunk = ?", (number,))
    if row is None:
        raise codec.damaged(chunk_name(database, number), "its recipients are missing")
    blob, size = row
    return decode_addresses(blob, size, chunk_name(database, number))


def decode_addresses(blob: bytes, size: int, what: str) -> list[str]:
    return _addresses(codec.unpack(blob, size, what), size, what)


def _addresses(content: bytes, size: int, what: str) -> list[str]:
    addresses = content.decode().split("\n")
    if len(addresses) != size:
        raise codec.damaged(what, f"{len(addresses)} addresses where {size} are expected")
    return addresses


def chunk_name(database: Database, number: int) -> str:
    """A chunk as messages call it."""
    return f"{database.path}: chunk {number}"
