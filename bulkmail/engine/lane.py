"""A lane: one egress source to one site; where limits, connections and back-off live."""

from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from bulkmail.engine.work import Work
from bulkmail.model.campaign import DomainLimits, EgressSource
from bulkmail.model.message import Message
from bulkmail.policy.limits import DomainBuckets, EffectiveLimits, TokenBucket
from bulkmail.policy.pacing import Pacer
from bulkmail.policy.route import Site

if TYPE_CHECKING:
    from bulkmail.net.connection import Connection

# A lane with fewer recipients waiting is supplied again.
LOW_WATER = 500


class LaneStatistics(Struct, frozen=True, kw_only=True):
    """A snapshot: what waits, what is open, what was accepted."""

    site: str
    source: str
    waiting: int
    ready: int
    connections: int
    accepted: int
    paused_seconds: float
    state: str


class Lane:
    """Work for one (source, site), in three steps: `backlog` (not composed), `ring` (ready), on a connection.

    `take` is the only way to the wire and debits the tokens there.
    """

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
        self.backlog: deque[Work] = deque()
        self.ring: deque[Message] = deque()
        self.composing = 0
        self.opening = 0
        self.accepted = 0
        self.connections: set[Connection] = set()
        self.dead_hosts: dict[str, float] = {}
        self.state = ""
        self.touched = now
        self.messages = TokenBucket(limits.messages_per_second, now=now) if limits.messages_per_second else None
        self.connects = TokenBucket(limits.connects_per_second, now=now) if limits.connects_per_second else None
        self._domains = DomainBuckets(domain_limits, now)
        self._rate = limits.messages_per_second

    @property
    def waiting(self) -> int:
        """Recipients that are not on a connection."""
        return len(self.backlog) + self.composing + len(self.ring)

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.connections or self.opening)

    @property
    def ring_target(self) -> int:
        """Messages to keep ready: enough for every connection to go on, few enough to stay fresh."""
        return 32 + 4 * len(self.connections)

    @property
    def composable(self) -> int:
        """How many more messages should be composed now."""
        return min(len(self.backlog), self.ring_target - len(self.ring) - self.composing)

    def take(self, now: float) -> Message | None:
        """The next message whose tokens allow it; they are spent. None: nothing ready, or `wait_seconds` to go."""
        if not self.ring or now < self.pacer.paused_until:
            return None
        if self.messages is not None and self.messages.wait_seconds(now) > 0:
            return None
        for _ in range(len(self.ring)):
            message = self.ring.popleft()
            if self._domains.take(message.domain, now):
                if self.messages is not None:
                    self.messages.take(now)
                self.touched = now
                return message
            self.ring.append(message)
        return None

    def wait_seconds(self, now: float) -> float:
        """Seconds until `take` may succeed, as far as pauses and tokens are concerned."""
        wait = max(0.0, self.pacer.paused_until - now)
        if self.messages is not None:
            wait = max(wait, self.messages.wait_seconds(now))
        if self.ring:
            wait = max(wait, min(self._domains.wait_seconds(message.domain, now) for message in self.ring))
        return wait

    def connect_wait_seconds(self, now: float) -> float:
        wait = max(0.0, self.pacer.paused_until - now)
        if self.connects is not None:
            wait = max(wait, self.connects.wait_seconds(now))
        return wait

    def follow_pace(self, now: float) -> None:
        """Bring the bucket to the rate that the pacer allows now."""
        limit = self.limits.messages_per_second
        if self.messages is None or limit is None:
            return
        rate = self.pacer.rate(limit)
        if rate != self._rate:
            self._rate = rate
            self.messages.set_rate(rate, now)

    def statistics(self, now: float) -> LaneStatistics:
        return LaneStatistics(
            site=self.site.name,
            source=self.source.address or "",
            waiting=len(self.backlog) + self.composing,
            ready=len(self.ring),
            connections=len(self.connections),
            accepted=self.accepted,
            paused_seconds=max(0.0, self.pacer.paused_until - now),
            state=self.state,
        )
