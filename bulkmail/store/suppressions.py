"""Who must not be mailed, and why: exact in queue.db, fast in memory, shared by several processes."""

import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path

from msgspec import Struct

from bulkmail.clock import Clock, SystemClock
from bulkmail.native.hashset import AddressSet
from bulkmail.store.changes import prolong, take_off, tell_again
from bulkmail.store.database import Database
from bulkmail.store.directory import DATABASE, make_directory
from bulkmail.store.pseudonyms import Pseudonyms, entry_name, stored_hash

ALL = "all"
CAMPAIGN = "campaign:"
_BATCH = 10_000
_IMPORT_BATCH = 50_000  # fewer would write the pages of a large index over and over
_COLUMNS = "scope, key, address, reason, source, time, expires"
_SAME = "hash = ? AND key = ? AND scope = ?"


class Suppression(Struct, frozen=True, kw_only=True):
    """A reason not to mail an address.

    `scope` is `all`, the name of a list, or `campaign:NAME`; `key` the address's comparison key, or `@domain` for
    every address of it; `address` as it was given; `source` who or what said so; `time` Unix seconds, and `expires`
    those from which on it is none any more (None: never).
    """

    scope: str = ALL
    key: str
    address: str
    reason: str
    source: str
    time: float
    expires: float | None = None


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """Something that befell an address: `action` is added, again, prolonged, soft_bounce, removed or expired."""

    scope: str
    time: float
    action: str
    reason: str
    source: str


class SoftBounce(Struct, frozen=True, kw_only=True):
    """Mail that could not be delivered now: `key` and `address` as in Suppression, `time` in Unix seconds."""

    key: str
    address: str
    run: str
    reason: str
    time: float


class Suppressions:
    """The suppressions of a state directory. No lock is needed: others may add and remove while a run is sent.

    Every change is durable when its call returns. `contains` sees the changes of this object at once and those of
    others after `refresh`. `campaign` is the one that `contains` asks for. `quick` is what `contains` looks into where
    that is all it does, and None where it is not; `everywhere` stands there before the key of an address suppressed for
    all, `entry_name(list, "")` before that of one suppressed for a list.
    """

    def __init__(self, database: Database, *, campaign: str | None = None, clock: Clock = SystemClock) -> None:
        self._database = database
        self._clock = clock
        self._campaign = None if campaign is None else CAMPAIGN + campaign
        self._pseudonyms = Pseudonyms.of(database)
        self._set: AddressSet | None = None
        self.quick: AddressSet | None = None
        self.everywhere = entry_name(ALL, "")
        self._last_added = self._last_removed = 0
        self._data_version = -1
        self._wide = self._pseudonyms is not None
        self._next_expiry = math.inf
        self._look_for_rare_kinds()

    @classmethod
    def open(cls, directory: Path, *, campaign: str | None = None, clock: Clock = SystemClock) -> "Suppressions":
        """Those of `directory`, which is made if it is not there."""
        make_directory(directory)
        return cls(Database(directory / DATABASE), campaign=campaign, clock=clock)

    @classmethod
    def open_readonly(
        cls, directory: Path, *, campaign: str | None = None, clock: Clock = SystemClock
    ) -> "Suppressions":
        """Those of `directory`, to be looked at alone."""
        return cls(Database(directory / DATABASE, readonly=True), campaign=campaign, clock=clock)

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

    @property
    def hashed(self) -> bool:
        """Whether no addresses are kept, but keyed hashes of them."""
        return self._pseudonyms is not None

    def together(self) -> AbstractContextManager[object]:
        """Changes within are one transaction, durable at its end; `contains` may be ahead of one that fails."""
        return self._database.transaction()

    def add(self, suppression: Suppression) -> bool:
        """False if the key was suppressed in that scope before: the one that lasts longer stays."""
        if self.add_many((suppression,)) == 1:
            return True
        with self._database.transaction() as connection:
            tell_again(connection, self._stored(suppression))
        return False

    def add_many(self, suppressions: Iterable[Suppression]) -> int:
        """How many were new. Durable a batch of 50,000 at a time, so that it may be repeated after a failure."""
        added = 0
        remaining = iter(suppressions)
        while given := list(islice(remaining, _IMPORT_BATCH)):
            with self._database.transaction() as connection:
                self._follow_hashing()
                batch = [self._stored(one) for one in given]
                self._expire(connection)
                if self._database.row("SELECT 1 FROM suppression WHERE expires IS NOT NULL LIMIT 1"):
                    prolong(connection, batch)
                added += connection.executemany(
                    f"INSERT INTO suppression (hash, {_COLUMNS}) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8"
                    " WHERE NOT EXISTS (SELECT 1 FROM suppression WHERE hash = ?1 AND key = ?3 AND scope = ?2)",
                    map(_values, batch),
                ).rowcount
        self._catch_up()
        return added

    def remove(self, key: str, scope: str = ALL, *, source: str = "") -> bool:
        """False if the key was not suppressed in that scope; `source` is who takes it off."""
        now = self._clock.time()
        with self._database.transaction() as connection:
            key = self._key_as_kept(key)
            self._expire(connection)
            connection.execute("DELETE FROM soft_bounce WHERE key = ?", (key,))
            row = connection.execute(
                f"SELECT id, {_COLUMNS} FROM suppression WHERE {_SAME}", (stored_hash(scope, key), key, scope)
            ).fetchone()
            if row is not None:
                take_off(connection, [row], now, "removed", source)
        self._catch_up()
        return row is not None

    def count_soft_bounces(self, bounces: Sequence[SoftBounce], within_seconds: float) -> list[int]:
        """How many the address of each has had within that time, itself included; older ones are forgotten.

        A run counts once for an address, however often it was tried or the bounce is read.
        """
        counts = []
        with self._database.transaction() as connection:
            self._follow_hashing()
            for one in bounces:
                key = self._key(one.key)
                connection.execute(
                    "INSERT OR IGNORE INTO soft_bounce VALUES (?, ?, ?, ?)", (key, one.run, one.time, one.reason)
                )
                connection.execute(
                    "DELETE FROM soft_bounce WHERE key = ? AND time <= ?", (key, one.time - within_seconds)
                )
                found = connection.execute("SELECT count(*) FROM soft_bounce WHERE key = ?", (key,))
                counts.append(found.fetchone()[0])
        return counts

    def check(self, key: str, list_name: str | None = None) -> Suppression | None:
        """Why the key must not be mailed for that list, as queue.db has it now; None if it may."""
        keys = (self._key_as_kept(key), _domain_of(key))
        for scope in filter(None, (ALL, list_name, self._campaign)):
            for one in keys:
                row = self._database.row(
                    f"SELECT {_COLUMNS} FROM suppression WHERE {_SAME} AND (expires IS NULL OR expires > ?)",
                    (stored_hash(scope, one), one, scope, self._clock.time()),
                )
                if row is not None:
                    return _suppression(row)
        return None

    def entry(self, key: str, scope: str) -> Suppression | None:
        """The entry of the key in exactly this scope, as queue.db has it now."""
        key = self._key_as_kept(key)
        row = self._database.row(
            f"SELECT {_COLUMNS} FROM suppression WHERE {_SAME} AND (expires IS NULL OR expires > ?)",
            (stored_hash(scope, key), key, scope, self._clock.time()),
        )
        return None if row is None else _suppression(row)

    def entries(self, key: str) -> list[Suppression]:
        """Every entry of the key and of its domain, of whatever scope, oldest first. Reads the whole table."""
        return [
            _suppression(row)
            for row in self._database.rows(
                f"SELECT {_COLUMNS} FROM suppression WHERE key IN (?, ?) AND (expires IS NULL OR expires > ?)"
                " ORDER BY id",
                (self._key_as_kept(key), _domain_of(key), self._clock.time()),
            )
        ]

    def history(self, key: str) -> list[HistoryEntry]:
        """All that befell the key, oldest first, but for what `entries` still has."""
        rows = self._database.rows(
            "SELECT scope, time, action, reason, source FROM suppression_history WHERE key = ?"
            " UNION ALL SELECT ?, time, 'soft_bounce', reason, run FROM soft_bounce WHERE key = ? ORDER BY time",
            (self._key_as_kept(key), ALL, self._key_as_kept(key)),
        )
        return [
            HistoryEntry(scope=scope, time=time, action=action, reason=reason, source=source)
            for scope, time, action, reason, source in rows
        ]

    def contains(self, key: str, list_name: str | None = None) -> bool:
        """`check(...) is not None` as of the last `refresh`, from memory alone.

        By 64-bit hashes: among 10 million entries, one look-up in 10**12 takes an address for suppressed that is not.
        """
        known = self._set
        if known is None:
            known = self._load()
        if self._wide:
            keys = (self._key(key), _domain_of(key))
            scopes = filter(None, (ALL, list_name, self._campaign))
            return any(entry_name(scope, one) in known for scope in scopes for one in keys)
        return entry_name(ALL, key) in known or (list_name is not None and entry_name(list_name, key) in known)

    def contains_many(self, keys: Sequence[bytes], list_name: str | None = None) -> list[bool]:
        """`contains` for each key, encoded."""
        known = self._set
        if known is None:
            known = self._load()
        if not known:
            return [False] * len(keys)
        if self._wide:
            return [self.contains(key.decode(), list_name) for key in keys]
        prefix = entry_name(ALL, "")
        found = known.contains_many([prefix + key for key in keys])
        if list_name is not None:
            prefix = entry_name(list_name, "")
            of_list = known.contains_many([prefix + key for key in keys])
            found = [one or other for one, other in zip(found, of_list, strict=True)]
        return found

    def load(self) -> None:
        """Read all into memory now (seconds for millions), rather than at the first look-up."""
        if self._set is None:
            self._load()

    def refresh(self) -> bool:
        """Take in what other processes changed, and drop what has expired; True if anything did.

        A microsecond if nobody wrote to queue.db.
        """
        expired = self._next_expiry <= self._clock.time() and self._expire_now()
        version = self._database.value("PRAGMA data_version")
        if version == self._data_version:
            return expired
        self._follow_hashing()
        changed = self._catch_up()
        self._data_version = version
        return changed or expired

    def export(self) -> Iterator[Suppression]:
        """All that have not expired, oldest first."""
        last = 0
        now = self._clock.time()
        while rows := self._database.rows(
            f"SELECT {_COLUMNS}, id FROM suppression WHERE id > ? ORDER BY id LIMIT {_BATCH}", (last,)
        ):
            last = rows[-1][-1]
            yield from (one for one in map(_suppression, rows) if one.expires is None or one.expires > now)

    @property
    def any_expires(self) -> bool:
        """Whether an entry is for a time only."""
        return self._database.row("SELECT 1 FROM suppression WHERE expires IS NOT NULL LIMIT 1") is not None

    # Beneath.

    def _key(self, key: str) -> str:
        return key if self._pseudonyms is None else self._pseudonyms.key(key)

    def _key_as_kept(self, key: str) -> str:
        self._follow_hashing()
        return self._key(key)

    def _follow_hashing(self) -> None:
        """Another process may have turned the list into hashes since it was opened here."""
        if self._pseudonyms is None:
            self._pseudonyms = Pseudonyms.of(self._database)
            if self._pseudonyms is not None:
                self._set, self._wide = None, True
                self.quick = None

    def _stored(self, one: Suppression) -> Suppression:
        return one if self._pseudonyms is None else self._pseudonyms.entry(one)

    def _load(self) -> AddressSet:
        known = AddressSet()
        self._last_added, self._last_removed = self._newest()
        add = known.add_hash
        # The index alone is read, in its order. What is added meanwhile has a higher id and is taken in again.
        for (stored,) in self._database.stream("SELECT hash FROM suppression ORDER BY hash"):
            add(stored & 0xFFFFFFFFFFFFFFFF)
        for scope, key in self._database.rows(
            "SELECT scope, key FROM suppression WHERE expires <= ?", (self._clock.time(),)
        ):
            known.discard(entry_name(scope, key))
        self._set = known
        self._look_for_rare_kinds()
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
                self._set.discard(entry_name(scope, key))
            for (stored,) in self._database.stream(
                "SELECT hash FROM suppression WHERE id > ? AND id <= ?", (self._last_added, added)
            ):
                self._set.add_hash(stored & 0xFFFFFFFFFFFFFFFF)
        self._last_added, self._last_removed = added, removed
        self._look_for_rare_kinds()
        return True

    def _look_for_rare_kinds(self) -> None:
        """What makes a look-up dearer is looked for only where there is any of it."""
        value = self._database.value
        self._wide = (
            self._pseudonyms is not None
            or value("SELECT 1 FROM suppression WHERE substr(key, 1, 1) = '@' LIMIT 1") is not None
            or (
                self._campaign is not None
                and value("SELECT 1 FROM suppression WHERE substr(scope, 1, 9) = 'campaign:' LIMIT 1") is not None
            )
        )
        soonest = value("SELECT min(expires) FROM suppression WHERE expires IS NOT NULL")
        self._next_expiry = math.inf if soonest is None else soonest
        self.quick = None if self._wide else self._set

    def _expire_now(self) -> bool:
        with self._database.transaction() as connection:
            self._expire(connection)
        return self._catch_up()

    def _expire(self, connection: sqlite3.Connection) -> None:
        now = self._clock.time()
        rows = connection.execute(
            f"SELECT id, {_COLUMNS} FROM suppression WHERE expires IS NOT NULL AND expires <= ?", (now,)
        ).fetchall()
        take_off(connection, rows, now, "expired", "")

    def _newest(self) -> tuple[int, int]:
        """The last ids given to an entry and to a removal; never given twice."""
        ids = dict(self._database.rows("SELECT name, seq FROM sqlite_sequence"))
        return ids.get("suppression", 0), ids.get("suppression_removal", 0)


def _domain_of(key: str) -> str:
    return key[key.rfind("@") :] if "@" in key else key


def _suppression(row: tuple[object, ...]) -> Suppression:
    scope, key, address, reason, source, time, expires = row[:7]
    return Suppression(scope=scope, key=key, address=address, reason=reason, source=source, time=time, expires=expires)  # type: ignore[arg-type]


def _values(one: Suppression) -> tuple[object, ...]:
    return (stored_hash(one.scope, one.key), one.scope, one.key, one.address, one.reason, one.source, one.time,
            one.expires)  # fmt: skip
