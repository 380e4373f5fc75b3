"""Changes of the suppression list that leave a trace in the history of their address."""

import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bulkmail.store.pseudonyms import stored_hash

if TYPE_CHECKING:
    from bulkmail.store.suppressions import Suppression

_HISTORY = "INSERT INTO suppression_history (key, scope, time, action, reason, source) VALUES (?, ?, ?, ?, ?, ?)"


def take_off(
    connection: sqlite3.Connection, rows: Iterable[tuple[object, ...]], now: float, action: str, source: str
) -> None:
    """Delete rows (id, scope, key, address, reason, source, time, expires); what they said goes into the history."""
    for number, scope, key, _, reason, given_source, time, _ in rows:
        connection.execute("DELETE FROM suppression WHERE id = ?", (number,))
        connection.execute("INSERT INTO suppression_removal (scope, key) VALUES (?, ?)", (scope, key))
        connection.execute(_HISTORY, (key, scope, time, "added", reason, given_source))
        connection.execute(_HISTORY, (key, scope, now, action, reason, source))


def prolong(connection: sqlite3.Connection, batch: "Iterable[Suppression]") -> None:
    """An entry for a time gives way to one that lasts longer."""
    for one in batch:
        name = (stored_hash(one.scope, one.key), one.key, one.scope)
        connection.execute(
            "INSERT INTO suppression_history (key, scope, time, action, reason, source)"
            " SELECT key, scope, ?6, 'prolonged', ?4, ?5 FROM suppression WHERE hash = ?1 AND key = ?2"
            " AND scope = ?3 AND expires IS NOT NULL AND (?7 IS NULL OR ?7 > expires)",
            (*name, one.reason, one.source, one.time, one.expires),
        )
        connection.execute(
            "UPDATE suppression SET reason = ?4, source = ?5, expires = ?6 WHERE hash = ?1 AND key = ?2"
            " AND scope = ?3 AND expires IS NOT NULL AND (?6 IS NULL OR ?6 > expires)",
            (*name, one.reason, one.source, one.expires),
        )


def tell_again(connection: sqlite3.Connection, one: "Suppression") -> None:
    """Note that it was said of an address that is on the list; the same by the same source, once.

    What came back is read again and again.
    """
    connection.execute(
        "INSERT INTO suppression_history (key, scope, reason, source, action, time)"
        " SELECT ?1, ?2, ?3, ?4, 'again', ?5 WHERE NOT EXISTS (SELECT 1 FROM suppression_history"
        " WHERE key = ?1 AND scope = ?2 AND reason = ?3 AND source = ?4 AND action = 'again') AND NOT EXISTS"
        " (SELECT 1 FROM suppression WHERE hash = ?6 AND key = ?1 AND scope = ?2 AND reason = ?3 AND source = ?4)",
        (one.key, one.scope, one.reason, one.source, one.time, stored_hash(one.scope, one.key)),
    )
