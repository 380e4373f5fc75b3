"""A lane: one egress source to one site; where limits, connections and back-off live.

A site may have many sets of mail exchangers (every tenant of a big provider has a host of its own), so the work of a
lane waits by set, in exchanges, and each exchange has its own connections; the limits hold for all of them together.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from bulkmail.engine.line import Line
from bulkmail.model.campaign import EgressSource
from bulkmail.native.buckets import TokenBucket
from bulkmail.policy.encryption import Protection
from bulkmail.policy.limits import EffectiveLimits
from bulkmail.policy.pacing import Pacer, PacerStatistics
from bulkmail.policy.route import MailHost, Site
from bulkmail.policy.window import Window

if TYPE_CHECKING:
    from bulkmail.engine.exchange import Exchange

# A lane with fewer recipients waiting is supplied again.
LOW_WATER = 500
# How long an idle lane is kept: one that has learned something of its site, and any.
LEARNED_SECONDS = 60.0
KEPT_SECONDS = 2.0


class LaneStatistics(Struct, frozen=True, kw_only=True):
    """A snapshot: what waits (of that, `ready` composed), what is open, what was accepted.

    `limited_by` is what keeps more from being sent now (`Lane.limited_by`).
    """

    site: str
    source: str
    waiting: int
    ready: int
    connections: int
    accepted: int
    paused_seconds: float
    state: str
    limited_by: str = ""


class Lane:
    """Limits, pace and counts of one (source, site).

    `position` is that of the source in the campaign. `line` is where its pools wait for one of its connections;
    `exchanges` are by hosts and what TLS has to prove there, and by domain where that has a rate of its own. `window`
    is that of the site, of all its lanes. `waiting` counts their recipients, `held` those of them that wait for such a
    rate.
    """

    def __init__(
        self,
        site: Site,
        source: EgressSource,
        limits: EffectiveLimits,
        pacer: Pacer,
        *,
        now: float,
        window: Window | None = None,
        position: int = 0,
    ) -> None:
        self.site = site
        self.position = position
        self.source = source
        self.limits = limits
        self.pacer = pacer
        self.window = window or Window()
        self.exchanges: dict[tuple[tuple[MailHost, ...], str, Protection], Exchange] = {}
        self.line = Line()
        self.waiting = 0
        self.held = 0
        self.connections = 0
        self.accepted = 0
        self.state = ""
        self.touched = now
        self._messages = TokenBucket(limits.messages_per_second, now=now) if limits.messages_per_second else None
        self._connects = TokenBucket(limits.connects_per_second, now=now) if limits.connects_per_second else None
        self._domains: dict[str, TokenBucket] = {}
        self._rate = limits.messages_per_second

    def domain_bucket(self, domain: str, rate_per_second: float, now: float) -> TokenBucket:
        """The domain's own bucket, inside the lane's."""
        bucket = self._domains.get(domain)
        if bucket is None:
            bucket = self._domains[domain] = TokenBucket(rate_per_second, now=now)
        return bucket

    def is_forgettable(self, now: float) -> bool:
        """Whether a new lane would do as well: nothing waits or is open, no tokens are owed, no grudge is held."""
        if self.waiting or self.connections or now - self.touched <= KEPT_SECONDS:
            return False
        if any(bucket is not None and not bucket.is_full(now) for bucket in self._buckets()):
            return False
        rested_since, learned = self.touched, self.pacer.has_learned
        for exchange in self.exchanges.values():
            rested_since = max(rested_since, exchange.open_again_at)
            learned = learned or exchange.failed_connects > 0
        return now - rested_since > (LEARNED_SECONDS if learned else KEPT_SECONDS)

    def free_connections(self) -> int:
        """How many more the lane's limit and pace allow now; below 0 where they have sunk since."""
        return self.pacer.connections_allowed(self.limits.connections) - self.connections

    def wait_seconds(self, now: float) -> float:
        """Seconds until a message may go, as far as pauses and tokens of the lane are concerned."""
        wait = max(0.0, self.pacer.paused_until - now)
        if self._messages is not None:
            wait = max(wait, self._messages.wait_seconds(now))
        return wait

    def spend(self, now: float) -> None:
        """A message goes to the wire: take its token."""
        if self._messages is not None:
            self._messages.take(now)
        self.touched = now

    @property
    def bucket(self) -> TokenBucket | None:
        """What a message takes its token from; None where there is no rate."""
        return self._messages

    def on_accepted(self, now: float, messages: int) -> None:
        """The receiver took so many."""
        self.accepted += messages
        self.pacer.on_accepted(now)
        self.follow_pace(now)
        self.state = ""

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

    def take_over(self, learned: PacerStatistics | None, rest_seconds: float, now: float) -> None:
        """Go on from where another process of this run has left the lane, after a rest."""
        self.pacer.take_over(learned, now + rest_seconds)
        self.follow_pace(now)

    def limited_by(self, now: float) -> str:
        """What keeps more from being sent now; "" where nothing waits, or only for replies and new connections.

        `pause` and `pace` are what the receiver made of it; `domain`, `messages`, `connections` and `connects` are
        the limits of that name.
        """
        if not self.waiting:
            return ""
        limits, pacer = self.limits, self.pacer
        if pacer.paused(now):
            return "pause"
        if self.held == self.waiting:
            return "domain"
        if self._messages is not None and not self._messages.is_full(now):
            return "pace" if self._rate != limits.messages_per_second else "messages"
        if self.free_connections() <= 0:
            return "pace" if pacer.connections_allowed(limits.connections) < limits.connections else "connections"
        if self._connects is not None and self._connects.wait_seconds(now) > 0:
            return "connects"
        return ""

    def _buckets(self) -> Iterator[TokenBucket | None]:
        yield self._messages
        yield self._connects
        yield from self._domains.values()

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
            limited_by=self.limited_by(now),
        )
