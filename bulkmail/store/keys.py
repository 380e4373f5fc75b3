"""The token keys of a state directory, and how long tokens are accepted."""

import struct

from bulkmail.content.identity import KEYS_IN_USE, TokenKey, new_key
from bulkmail.store.database import Database

ACCEPT_SECONDS = 400 * 86400.0
_FIRST = "secret"
_KEY = "token key "
_ACCEPT = "token accept seconds"
_CREATED = struct.Struct(">d")


def read_keys(database: Database) -> tuple[TokenKey, ...]:
    """Oldest first; at least one."""
    first = database.value("SELECT value FROM meta WHERE name = ?", (_FIRST,))
    keys = [TokenKey(number=0, created=0.0, secret=first)] if first is not None else []
    for name, value in database.rows("SELECT name, value FROM meta WHERE name LIKE ?", (_KEY + "%",)):
        (created,) = _CREATED.unpack_from(value)
        keys.append(TokenKey(number=int(name.removeprefix(_KEY)), created=created, secret=value[_CREATED.size :]))
    return tuple(sorted(keys, key=lambda key: key.number))


def add_key(database: Database, now: float, *, forget_older: bool = False) -> TokenKey:
    """A new key for the runs that begin from now on. Those before open tokens still, unless they are forgotten."""
    with database.transaction() as connection:
        keys = read_keys(database)
        made = new_key(keys[-1].number + 1, now)
        connection.execute(
            "INSERT INTO meta VALUES (?, ?)", (f"{_KEY}{made.number}", _CREATED.pack(made.created) + made.secret)
        )
        for old in keys if forget_older else keys[: 1 - KEYS_IN_USE]:
            name = f"{_KEY}{old.number}" if old.number else _FIRST
            connection.execute("DELETE FROM meta WHERE name = ?", (name,))
    return made


def accept_seconds(database: Database) -> float:
    """How long after its run began a token is accepted."""
    stored = database.value("SELECT value FROM meta WHERE name = ?", (_ACCEPT,))
    return ACCEPT_SECONDS if stored is None else float(stored)


def set_accept_seconds(database: Database, seconds: float) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_ACCEPT, seconds))
