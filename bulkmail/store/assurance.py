"""What is remembered about TLS across restarts: MTA-STS policies, counts for TLS reports, and reports sent."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct, structs

from bulkmail.smtp.sts import StsPolicy
from bulkmail.store.database import Database
from bulkmail.store.directory import DATABASE

INTERNET, SANDBOX = "", "sandbox"
DAYS_KEPT = 60

_TABLES = """
CREATE TABLE IF NOT EXISTS sts_policy (
    network TEXT NOT NULL,
    domain TEXT NOT NULL,
    id TEXT NOT NULL,
    fetched REAL NOT NULL,
    expires REAL NOT NULL,
    mode TEXT NOT NULL,
    mx TEXT NOT NULL,
    max_age INTEGER NOT NULL,
    PRIMARY KEY (network, domain)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tls_sessions (
    network TEXT NOT NULL,
    day TEXT NOT NULL,
    domain TEXT NOT NULL,
    policy_type TEXT NOT NULL,
    policy TEXT NOT NULL,
    result TEXT NOT NULL,
    host TEXT NOT NULL,
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    PRIMARY KEY (network, day, domain, policy_type, policy, result, host, source)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tls_reports (
    day TEXT NOT NULL,
    domain TEXT NOT NULL,
    target TEXT NOT NULL,
    sent REAL NOT NULL,
    PRIMARY KEY (day, domain, target)
) WITHOUT ROWID
"""


class KeptPolicy(Struct, frozen=True, kw_only=True):
    """A domain's policy and the `id` it was announced with; `fetched` and `expires` are Unix seconds."""

    domain: str
    id: str
    policy: StsPolicy
    fetched: float
    expires: float


class TlsSessions(Struct, frozen=True, kw_only=True):
    """How many sessions of one UTC day (`2027-03-01`) came to one `result` ("" for success; else RFC 8460 §4.3).

    `policy` is the policy in lines, as reports quote it; `host` and `source` (our address) are of failures alone.
    """

    day: str
    domain: str
    policy_type: str
    policy: str
    result: str = ""
    host: str = ""
    source: str = ""
    reason: str = ""
    sessions: int = 1


_COLUMNS = ", ".join(TlsSessions.__struct_fields__)


class TlsMemory:
    """The three tables in queue.db; a connection of its own, to be used from one thread at a time.

    What belongs to one `network` is not known in another: what gmail.com says in the sandbox is not what it says.
    """

    def __init__(self, database: Database, network: str) -> None:
        self._database = database
        self._network = network

    @classmethod
    def open(cls, directory: Path, network: str = INTERNET) -> "TlsMemory":
        """Open in a state directory that exists; the tables are made where they are missing."""
        database = Database(directory / DATABASE)
        try:
            with database.transaction() as connection:
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
        except BaseException:
            database.close()
            raise
        return cls(database, network)

    def close(self) -> None:
        self._database.close()

    def policies(self, now: float) -> list[KeptPolicy]:
        """Those that still hold."""
        return [
            KeptPolicy(
                domain=domain,
                id=announced,
                policy=StsPolicy(mode=mode, mx=tuple(json.loads(mx)), max_age_seconds=max_age),
                fetched=fetched,
                expires=expires,
            )
            for domain, announced, fetched, expires, mode, mx, max_age in self._database.rows(
                "SELECT domain, id, fetched, expires, mode, mx, max_age FROM sts_policy"
                " WHERE network = ? AND expires > ?",
                (self._network, now),
            )
        ]

    def prune(self, now: float) -> None:
        """Drop policies that hold no longer, and counts that no report will ask for any more."""
        last = datetime.fromtimestamp(now, UTC).date() - timedelta(days=DAYS_KEPT)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM sts_policy WHERE expires <= ?", (now,))
            connection.execute("DELETE FROM tls_sessions WHERE day < ?", (last.isoformat(),))
            connection.execute("DELETE FROM tls_reports WHERE day < ?", (last.isoformat(),))

    def keep(self, kept: KeptPolicy) -> None:
        """Durable when this returns, in place of the domain's older one."""
        policy = kept.policy
        values = (self._network, kept.domain, kept.id, kept.fetched, kept.expires, policy.mode, json.dumps(policy.mx))
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO sts_policy (network, domain, id, fetched, expires, mode, mx, max_age)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, policy.max_age_seconds),
            )

    def add(self, counts: Iterable[TlsSessions]) -> None:
        """Add to what was counted before."""
        with self._database.transaction() as connection:
            connection.executemany(
                f"INSERT INTO tls_sessions (network, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET sessions = sessions + excluded.sessions",
                [(self._network, *structs.astuple(one)) for one in counts],
            )

    def reports_sent(self) -> set[tuple[str, str, str]]:
        """Day, domain and target of each report that somebody has taken."""
        return {tuple(row) for row in self._database.rows("SELECT day, domain, target FROM tls_reports")}

    def report_sent(self, day: str, domain: str, target: str, now: float) -> None:
        """Durable when this returns."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO tls_reports VALUES (?, ?, ?, ?)", (day, domain, target, now))


def read_tls_sessions(directory: Path, day: str | None = None, network: str = INTERNET) -> list[TlsSessions]:
    """The counts of one day, or of all, by day and domain; whoever owns the directory. StateError where it has none."""
    database = Database(directory / DATABASE, readonly=True)
    try:
        if not database.value("SELECT count(*) FROM sqlite_schema WHERE name = 'tls_sessions'"):
            return []
        rows = database.rows(
            f"SELECT {_COLUMNS} FROM tls_sessions WHERE network = ?2 AND (?1 IS NULL OR day = ?1)"
            " ORDER BY day, domain, policy_type, policy, result, host, source",
            (day, network),
        )
    finally:
        database.close()
    return [TlsSessions(**dict(zip(TlsSessions.__struct_fields__, row, strict=True))) for row in rows]
