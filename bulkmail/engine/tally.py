"""Count TLS sessions by policy domain, day and result, as reports of RFC 8460 want them."""

from collections.abc import Callable, Iterable
from threading import Lock

from msgspec import structs

from bulkmail.clock import Clock, rfc3339
from bulkmail.errors import StateError
from bulkmail.store.assurance import TlsSessions

REASON_LENGTH = 200
MOST_COUNTS = 100_000


class Tally:
    """Counts in memory until `flush` hands them to `write`; what a crash loses is at most what came since.

    Where they cannot be written (a full disk) they wait for the next time: no mail is held up for them.
    """

    def __init__(self, write: Callable[[list[TlsSessions]], None], *, clock: Clock) -> None:
        self._write = write
        self._clock = clock
        # Counted on the loop, written on the store's thread.
        self._lock = Lock()
        self._counts: dict[tuple[str, ...], TlsSessions] = {}

    def count(
        self,
        domains: Iterable[str],
        policy_type: str,
        policy: str,
        *,
        result: str = "",
        host: str = "",
        source: str = "",
        reason: str = "",
    ) -> None:
        """One session more for each domain; `result` is empty where it succeeded."""
        day = rfc3339(self._clock.time())[:10]
        with self._lock:
            for domain in domains:
                key = (day, domain, policy_type, policy, result, host, source)
                known = self._counts.get(key)
                if known is not None:
                    self._counts[key] = structs.replace(known, sessions=known.sessions + 1)
                elif len(self._counts) < MOST_COUNTS:
                    self._counts[key] = TlsSessions(
                        day=day,
                        domain=domain,
                        policy_type=policy_type,
                        policy=policy,
                        result=result,
                        host=host,
                        source=source,
                        reason=reason[:REASON_LENGTH],
                    )

    def add(self, sessions: Iterable[TlsSessions]) -> None:
        """Those that a node has counted."""
        with self._lock:
            for one in sessions:
                key = (one.day, one.domain, one.policy_type, one.policy, one.result, one.host, one.source)
                known = self._counts.get(key)
                self._counts[key] = (
                    one if known is None else structs.replace(known, sessions=known.sessions + one.sessions)
                )

    def flush(self) -> None:
        """Write what was counted since the last time. Called on the thread that `write` belongs to."""
        with self._lock:
            counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            self._write(list(counts.values()))
        except StateError:
            with self._lock:
                for key, one in self._counts.items():
                    before = counts.get(key)
                    counts[key] = (
                        one if before is None else structs.replace(one, sessions=before.sessions + one.sessions)
                    )
                self._counts = counts
