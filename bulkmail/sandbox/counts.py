"""Running totals of a sandbox, and the frozen picture of them that is handed out."""

from msgspec import Struct


class Statistics(Struct, frozen=True, kw_only=True, tag="statistics"):
    """Totals since the start. `refused` is by `stage code` (`rcpt 550`), per recipient where there is one."""

    connections: int
    connections_refused: int
    most_at_once: int
    messages: int
    accepted: int
    bytes: int
    dns_queries: int
    refused: dict[str, int]


class Counts:
    """The totals while they run; `most_at_once`: connections of one client at exchangers of the same manners."""

    __slots__ = (
        "_refused",
        "accepted",
        "bytes",
        "connections",
        "connections_refused",
        "dns_queries",
        "messages",
        "most_at_once",
    )

    def __init__(self) -> None:
        self.connections = self.connections_refused = self.most_at_once = 0
        self.messages = self.accepted = self.bytes = self.dns_queries = 0
        self._refused: dict[tuple[str, int], int] = {}

    def refuse(self, stage: str, code: int) -> None:
        """Count one refusal."""
        self._refused[stage, code] = self._refused.get((stage, code), 0) + 1

    def picture(self) -> Statistics:
        """The totals as they are now."""
        return Statistics(
            connections=self.connections,
            connections_refused=self.connections_refused,
            most_at_once=self.most_at_once,
            messages=self.messages,
            accepted=self.accepted,
            bytes=self.bytes,
            dns_queries=self.dns_queries,
            refused={f"{stage} {code}": count for (stage, code), count in sorted(self._refused.items())},
        )
