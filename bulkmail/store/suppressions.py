"""Who must not be mailed, and why: exact in queue.db, fast in memory, shared by several processes."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from msgspec import Struct

from bulkmail.native.hashset import AddressSet, hash64
from bulkmail.store.database import Database
from bulkmail.store.directory import DATABASE, make_directory

ALL = "all"
_BATCH = 10_000
_IMPORT_BATCH = 50_000  # fewer would write the pages of a large index over and over
_COLUMNS = "scope, key, address, reason, source, time"
_SAME = "hash = ? AND key = ? AND scope = ?"


class Suppression(Struct, frozen=True, kw_only=True):
    """A reason not to mail an address.

    `scope` is `all` or the name of a list; `key` the address's comparison key, `address` as it was given; `source` who
    or what said so; `time` Unix seconds.
    """

    scope: str = ALL
    key: str
    address: str
    reason: str
    source: str
    time: float


class Suppressions:
    """The suppressions of a state directory. No lock is needed: others may add and remove while a run is sent.

    Every change is durable when its call returns. `contains` sees the changes of this object at once and those of
    others after `refresh`; `version` grows with each change seen.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._set: AddressSet | None = None
        self._last_added = self._last_removed = 0
        self._data_version = -1
        self.version = 0

    @classmethod
    def open(cls, directory: Path) -> "Suppressions":
        """Those of `directory`, which is made if it is not there."""
        make_directory(directory)
        return cls(Database(directory / DATABASE))

    def __enter__(self) -> "Suppressions":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def __len__(self) -> int:
        return int(self._database.value("SELECT count(*) FROM suppression"))

    @property
    def memory_bytes(self) -> int:
        """What the set in memory occupies."""
        return 0 if self._set is None else self._set.memory_bytes

    def add(self, suppression: Suppression) -> bool:
        """False if the key was suppressed in that scope before: the older entry stays."""
        return self.add_many((suppression,)) == 1

    def add_many(self, suppressions: Iterable[Suppression]) -> int:
        """How many were new. Durable a batch of 50,000 at a time, so that it may be repeated after a failure."""
        added = 0
        remaining = iter(suppressions)
        while batch := list(islice(remaining, _IMPORT_BATCH)):
            with self._database.transaction() as connection:
                added += connection.executemany(
                    f"INSERT INTO suppression (hash, {_COLUMNS}) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7"
                    " WHERE NOT EXISTS (SELECT 1 FROM suppression WHERE hash = ?1 AND key = ?3 AND scope = ?2)",
                    map(_values, batch),
                ).rowcount
        if added:
            self._catch_up()
        return added

    def remove(self, key: str, scope: str = ALL) -> bool:
        """False if the key was not suppressed in that scope."""
        with self._database.transaction() as connection:
            removed = connection.execute(
                f"DELETE FROM suppression WHERE {_SAME}", (_stored_hash(scope, key), key, scope)
            ).rowcount
            if removed:
                connection.execute("INSERT INTO suppression_removal (scope, key) VALUES (?, ?)", (scope, key))
        if removed:
            self._catch_up()
        return bool(removed)

    def check(self, key: str, list_name: str | None = None) -> Suppression | None:
        """Why the key must not be mailed for that list, as queue.db has it now; None if it may."""
        for scope in (ALL,) if list_name is None else (ALL, list_name):
            row = self._database.row(
                f"SELECT {_COLUMNS} FROM suppression WHERE {_SAME}", (_stored_hash(scope, key), key, scope)
            )
            if row is not None:
                return _suppression(row)
        return None

    def entries(self, key: str) -> list[Suppression]:
        """Every entry of the key, of whatever scope, oldest first. Reads the whole table."""
        return [
            _suppression(row)
            for row in self._database.rows(f"SELECT {_COLUMNS} FROM suppression WHERE key = ? ORDER BY id", (key,))
        ]

    def contains(self, key: str, list_name: str | None = None) -> bool:
        """`check(...) is not None` as of the last `refresh`, from memory alone.

        By 64-bit hashes: among 10 million entries, one look-up in 10**12 takes an address for suppressed that is not.
        """
        known = self._set
        if known is None:
            known = self._load()
        return _name(ALL, key) in known or (list_name is not None and _name(list_name, key) in known)

    def contains_many(self, keys: Sequence[bytes], list_name: str | None = None) -> list[bool]:
        """`contains` for each key, encoded."""
        known = self._set
        if known is None:
            known = self._load()
        if not known:
            return [False] * len(keys)
        found = known.contains_many([_name(ALL, "") + key for key in keys])
        if list_name is not None:
            of_list = known.contains_many([_name(list_name, "") + key for key in keys])
            found = [one or other for one, other in zip(found, of_list, strict=True)]
        return found

    def load(self) -> None:
        """Read all into memory now (seconds for millions), rather than at the first look-up."""
        if self._set is None:
            self._load()

    def refresh(self) -> bool:
        """Take in what other processes changed; True if anything did. A microsecond if nobody wrote to queue.db."""
        version = self._database.value("PRAGMA data_version")
        if version == self._data_version:
            return False
        changed = self._catch_up()
        self._data_version = version
        return changed

    def export(self) -> Iterator[Suppression]:
        """All, oldest first."""
        last = 0
        while rows := self._database.rows(
            f"SELECT {_COLUMNS}, id FROM suppression WHERE id > ? ORDER BY id LIMIT {_BATCH}", (last,)
        ):
            last = rows[-1][-1]
            yield from map(_suppression, rows)

    def _load(self) -> AddressSet:
        known = AddressSet()
        self._last_added, self._last_removed = self._newest()
        add = known.add_hash
        # The index alone is read, in its order. What is added meanwhile has a higher id and is taken in again.
        for (stored,) in self._database.stream("SELECT hash FROM suppression ORDER BY hash"):
            add(stored & 0xFFFFFFFFFFFFFFFF)
        self._set = known
        return known

    def _catch_up(self) -> bool:
        added, removed = self._newest()
        if (added, removed) == (self._last_added, self._last_removed):
            return False
        if self._set is not None:
            # Removals first: what was removed and added again has a new id.
            for scope, key in self._database.rows(
                "SELECT scope, key FROM suppression_removal WHERE id > ? AND id <= ?", (self._last_removed, removed)
            ):
                self._set.discard(_name(scope, key))
            for (stored,) in self._database.stream(
                "SELECT hash FROM suppression WHERE id > ? AND id <= ?", (self._last_added, added)
            ):
                self._set.add_hash(stored & 0xFFFFFFFFFFFFFFFF)
        self._last_added, self._last_removed = added, removed
        self.version += 1
        return True

    def _newest(self) -> tuple[int, int]:
        """The last ids given to an entry and to a removal; never given twice."""
        ids = dict(self._database.rows("SELECT name, seq FROM sqlite_sequence"))
        return ids.get("suppression", 0), ids.get("suppression_removal", 0)


def _name(scope: str, key: str) -> bytes:
    return f"{scope}\0{key}".encode("utf-8", "surrogatepass")


def _stored_hash(scope: str, key: str) -> int:
    """`hash64` as SQLite's signed integer."""
    value = hash64(_name(scope, key))
    return value - (1 << 64) if value >> 63 else value


def _suppression(row: tuple[object, ...]) -> Suppression:
    scope, key, address, reason, source, time = row[:6]
    return Suppression(scope=scope, key=key, address=address, reason=reason, source=source, time=time)  # type: ignore[arg-type]


def _values(one: Suppression) -> tuple[object, ...]:
    return _stored_hash(one.scope, one.key), one.scope, one.key, one.address, one.reason, one.source, one.time
