"""Keyed hashes in place of addresses, for a suppression list that is to hold none."""

import hmac
import os
import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bulkmail.native.hashset import hash64
from bulkmail.store.database import Database

if TYPE_CHECKING:
    from bulkmail.store.suppressions import Suppression

PREFIX = "hmac:"
KEY_NAME = "suppression_key"
_KEY_BYTES = 32
_HASH_BYTES = 16
_ADDRESS = re.compile(r"\S+@\S+")
_PSEUDONYM = re.compile(rf"{PREFIX}[0-9a-f]{{{2 * _HASH_BYTES}}}")


class Pseudonyms:
    """HMAC-SHA256 of comparison keys, cut to 128 bits, under a key of the state directory's own.

    Who has the whole directory can try addresses against it, though not read them off. A domain is no address and
    stays as it is.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def of(cls, database: Database) -> "Pseudonyms | None":
        """None where addresses are kept as they are."""
        secret = database.value("SELECT value FROM meta WHERE name = ?", (KEY_NAME,))
        return None if secret is None else cls(secret)

    def key(self, key: str) -> str:
        """What is stored for a comparison key; a pseudonym and a domain are their own."""
        if key.startswith("@") or is_pseudonym(key):
            return key
        digest = hmac.digest(self._secret, key.encode("utf-8", "surrogatepass"), "sha256")
        return PREFIX + digest[:_HASH_BYTES].hex()

    def entry(self, one: "Suppression") -> "Suppression":
        """The entry without the address, also where a receiver repeated it."""
        key = self.key(one.key)
        return replace(one, key=key, address=key, reason=without_addresses(one.reason),
                       source=without_addresses(one.source))  # fmt: skip


def is_pseudonym(text: str) -> bool:
    return _PSEUDONYM.fullmatch(text) is not None


def without_addresses(text: str) -> str:
    return _ADDRESS.sub("[address]", text)


def hash_list(database: Database) -> int:
    """Turn all entries and their history into pseudonyms, for good; how many entries. Once done, nothing happens.

    No send may be under way. What the freed pages held is overwritten.
    """
    if Pseudonyms.of(database) is not None:
        return 0
    secret = os.urandom(_KEY_BYTES)
    pseudonyms = Pseudonyms(secret)
    database.rows("PRAGMA secure_delete = ON")
    connection = database.connection
    connection.create_function("pseudonym", 1, pseudonyms.key, deterministic=True)
    connection.create_function("masked", 1, without_addresses, deterministic=True)
    connection.create_function("entry_hash", 2, stored_hash, deterministic=True)
    with database.transaction():
        connection.execute("INSERT INTO meta VALUES (?, ?)", (KEY_NAME, secret))
        count = connection.execute(
            "UPDATE suppression SET hash = entry_hash(scope, pseudonym(key)), key = pseudonym(key),"
            " address = pseudonym(key), reason = masked(reason), source = masked(source)"
        ).rowcount
        connection.execute("UPDATE suppression_removal SET key = pseudonym(key)")
        connection.execute(
            "UPDATE suppression_history SET key = pseudonym(key), reason = masked(reason), source = masked(source)"
        )
        connection.execute("UPDATE soft_bounce SET key = pseudonym(key)")
    database.rows("VACUUM")
    database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    return count


def entry_name(scope: str, key: str) -> bytes:
    """What stands in the set in memory, hashed, for an entry."""
    return f"{scope}\0{key}".encode("utf-8", "surrogatepass")


def stored_hash(scope: str, key: str) -> int:
    """`hash64` of `entry_name` as SQLite's signed integer."""
    value = hash64(entry_name(scope, key))
    return value - (1 << 64) if value >> 63 else value
