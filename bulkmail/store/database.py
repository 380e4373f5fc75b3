"""Open queue.db and run transactions on it; SQLite's errors become StateError and DiskFull."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bulkmail.errors import DiskFull, StateError
from bulkmail.store import schema

SECRET_BYTES = 32
BUSY_SECONDS = 30.0
# SQLite sleeps longer the longer it has waited, up to 100 ms at a time: who wants to write asks more often.
ASK_MILLISECONDS = 3
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class Database:
    """One connection. Every commit is durable when it returns (WAL, synchronous=FULL).

    It may be used from any thread, but from one at a time.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path
        self._depth = 0
        self.connection = self._connect(readonly=readonly)
        try:
            with self._errors():
                self.connection.execute("PRAGMA temp_store = MEMORY")
                self.connection.execute("PRAGMA cache_size = -16384")
            if not readonly:
                self._create()
            version = self.value("PRAGMA user_version")
            if readonly and 0 < version < schema.VERSION:
                # Written by an older bulkmail: who reads wants its new tables as much as who writes.
                Database(path).close()
                version = self.value("PRAGMA user_version")
            if version != schema.VERSION:
                raise StateError(
                    f"{path}: written by another bulkmail (schema {version}, this one knows {schema.VERSION})",
                    hint="upgrade bulkmail, or choose another directory with --state",
                )
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, durable at the end; one within another is part of it."""
        if self._depth:
            yield self.connection
            return
        self._depth += 1
        try:
            with self._outermost() as connection:
                yield connection
        finally:
            self._depth -= 1

    @contextmanager
    def _outermost(self) -> Iterator[sqlite3.Connection]:
        with self._errors():
            self._begin()
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                # Some errors (disk full among them) have rolled back already.
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def _begin(self) -> None:
        execute = self.connection.execute
        execute(f"PRAGMA busy_timeout = {ASK_MILLISECONDS}")
        try:
            for _ in range(int(BUSY_SECONDS * 1000 / ASK_MILLISECONDS)):
                try:
                    execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode not in _BUSY:
                        raise
        finally:
            execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        execute("BEGIN IMMEDIATE")

    def rows(self, statement: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with self._errors():
            return self.connection.execute(statement, tuple(parameters)).fetchall()

    def stream(self, statement: str, parameters: Iterable[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """`rows`, fetched as they are asked for."""
        with self._errors():
            yield from self.connection.execute(statement, tuple(parameters))

    def row(self, statement: str, parameters: Iterable[Any] = ()) -> tuple[Any, ...] | None:
        rows = self.rows(statement, parameters)
        return rows[0] if rows else None

    def value(self, statement: str, parameters: Iterable[Any] = ()) -> Any:
        """The first column of the first row, None without one."""
        row = self.row(statement, parameters)
        return None if row is None else row[0]

    def _create(self) -> None:
        with self._errors():
            self.connection.execute("PRAGMA page_size = 8192")
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = FULL")
            self.connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
        if self.value("PRAGMA user_version") >= schema.VERSION:
            return
        with self.transaction() as connection:
            # Another process may have come first; a file with tables but no version is not ours.
            version = self.value("PRAGMA user_version")
            if version == 0:
                if self.value("SELECT count(*) FROM sqlite_schema"):
                    raise StateError(
                        f"{self.path}: not a queue of bulkmail", hint="choose another directory with --state"
                    )
                _run(connection, schema.TABLES)
                connection.execute("INSERT INTO meta VALUES ('secret', ?)", (os.urandom(SECRET_BYTES),))
                connection.execute("INSERT INTO meta VALUES ('journal', 0)")
                version = 1
            for step in range(version, schema.VERSION):
                _run(connection, schema.UPGRADES[step])
            connection.execute(f"PRAGMA user_version = {max(version, schema.VERSION)}")

    def _connect(self, *, readonly: bool) -> sqlite3.Connection:
        with self._errors():
            return sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code in _FULL:
                raise DiskFull(f"{self.path}: the disk is full", hint="free some space") from None
            if code in _BUSY:
                raise StateError(
                    f"{self.path}: locked by another process for {BUSY_SECONDS:.0f} s", hint="try again"
                ) from None
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            raise StateError(f"{self.path}: {error}", hint="restore the state directory from a backup") from None


def _run(connection: sqlite3.Connection, statements: str) -> None:
    """One by one: `executescript` would end the transaction."""
    for statement in statements.split(";"):
        connection.execute(statement)
