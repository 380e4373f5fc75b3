"""The CPU time that each run has taken, as its processes have reported it."""

import msgspec

from bulkmail.model.cpu import CpuSpent
from bulkmail.store.database import Database

# What stands before a run's number in the table of small facts.
CPU = "cpu "


def keep_cpu(database: Database, run: int, spent: CpuSpent) -> None:
    """In place of what was kept; durable when it returns."""
    with database.transaction() as connection:
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"{CPU}{run}", msgspec.json.encode(spent)))


def read_cpu(database: Database, run: int) -> CpuSpent:
    """Nothing for a run that nobody has reported on."""
    row = database.row("SELECT value FROM meta WHERE name = ?", (f"{CPU}{run}",))
    return CpuSpent() if row is None else msgspec.json.decode(row[0], type=CpuSpent)
