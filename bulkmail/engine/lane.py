"""A lane: one egress source to one site; where limits, connections and back-off live.

A site may have many sets of mail exchangers (every tenant of a big provider has a host of its own), so the work of a
lane waits by set, in exchanges, and each exchange has its own connections; the limits hold for all of them together.
"""

from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from bulkmail.engine.line import Line
from bulkmail.model.campaign import DomainLimits, EgressSource
from bulkmail.model.message import Message
from bulkmail.policy.limits import DomainBuckets, EffectiveLimits, TokenBucket
from bulkmail.policy.pacing import Pacer
from bulkmail.policy.route import MailHost, Site

if TYPE_CHECKING:
    from bulkmail.engine.exchange import Exchange

# A lane with fewer recipients waiting is supplied again.
LOW_WATER = 500


class LaneStatistics(Struct, frozen=True, kw_only=True):
    """A snapshot: what waits (of that, `ready` composed), what is open, what was accepted."""

    site: str
    source: str
    waiting: int
    ready: int
    connections: int
    accepted: int
    paused_seconds: float
    state: str


class Lane:
    """Limits, pace and counts of one (source, site); `line` is where its pools wait for one of its connections."""

    def __init__(
        self,
        site: Site,
        source: EgressSource,
        limits: EffectiveLimits,
        pacer: Pacer,
        domain_limits: dict[str, DomainLimits],
        *,
        now: float,
    ) -> None:
        self.site = site
        self.source = source
        self.limits = limits
        self.pacer = pacer
        self.exchanges: dict[tuple[MailHost, ...], Exchange] = {}
        self.line = Line()
        self.waiting = 0
        self.connections = 0
        self.accepted = 0
        self.state = ""
        self.touched = now
        self._messages = TokenBucket(limits.messages_per_second, now=now) if limits.messages_per_second else None
        self._connects = TokenBucket(limits.connects_per_second, now=now) if limits.connects_per_second else None
        self._domains = DomainBuckets(domain_limits, now)
        self._rate = limits.messages_per_second

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.connections)

    def free_connections(self) -> int:
        """How many more the lane's limit and pace allow now; below 0 where they have sunk since."""
        return self.pacer.connections_allowed(self.limits.connections) - self.connections

    def take(self, ring: "deque[Message]", now: float) -> Message | None:
        """The next message of the ring whose tokens allow it; they are spent: this is the way to the wire."""
        if not ring or now < self.pacer.paused_until:
            return None
        if self._messages is not None and self._messages.wait_seconds(now) > 0:
            return None
        for _ in range(len(ring)):
            message = ring.popleft()
            if self._domains.take(message.domain, now):
                if self._messages is not None:
                    self._messages.take(now)
                self.touched = now
                return message
            ring.append(message)
        return None

    def wait_seconds(self, ring: "deque[Message]", now: float) -> float:
        """Seconds until `take` may succeed, as far as pauses and tokens are concerned."""
        wait = max(0.0, self.pacer.paused_until - now)
        if self._messages is not None:
            wait = max(wait, self._messages.wait_seconds(now))
        if ring:
            wait = max(wait, min(self._domains.wait_seconds(message.domain, now) for message in ring))
        return wait

    def take_connect(self, now: float) -> float:
        """0 and a connect's token is spent, or the seconds to wait for one."""
        wait = max(0.0, self.pacer.paused_until - now)
        if self._connects is not None:
            wait = max(wait, self._connects.wait_seconds(now))
            if wait <= 0:
                self._connects.take(now)
        return wait

    def follow_pace(self, now: float) -> None:
        """Bring the bucket to the rate that the pacer allows now."""
        limit = self.limits.messages_per_second
        if self._messages is None or limit is None:
            return
        rate = self.pacer.rate(limit)
        if rate != self._rate:
            self._rate = rate
            self._messages.set_rate(rate, now)

    def statistics(self, now: float) -> LaneStatistics:
        ready = sum(len(exchange.ring) for exchange in self.exchanges.values())
        return LaneStatistics(
            site=self.site.name,
            source=self.source.address or "",
            waiting=self.waiting,
            ready=ready,
            connections=self.connections,
            accepted=self.accepted,
            paused_seconds=max(0.0, self.pacer.paused_until - now),
            state=self.state,
        )
