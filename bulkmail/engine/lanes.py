"""The lanes of one process: made on first use, fed, swept, forgotten; with the rooms that every pool works in."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from heapq import heappop, heappush, nlargest

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.content.identity import Issuer
from bulkmail.content.program import Program
from bulkmail.dkim.signing import Signer
from bulkmail.engine.budget import Budget
from bulkmail.engine.composer import Composer
from bulkmail.engine.conclusions import Conclusions
from bulkmail.engine.courier import Courier
from bulkmail.engine.dialer import Dialer, Transport
from bulkmail.engine.encryption import Encryption
from bulkmail.engine.exchange import Exchange
from bulkmail.engine.lane import KEPT_SECONDS, LEARNED_SECONDS, Lane, LaneStatistics
from bulkmail.engine.meter import CpuMeter
from bulkmail.engine.pool import Pool, Rooms
from bulkmail.engine.recorder import Recorder
from bulkmail.engine.router import Router
from bulkmail.engine.ways import Way
from bulkmail.engine.windows import Windows
from bulkmail.engine.work import Work
from bulkmail.model.campaign import Campaign, EgressSource
from bulkmail.model.cpu import CpuSpent
from bulkmail.policy.limits import effective_limits, narrowed
from bulkmail.policy.pacing import Pacer, PacingSettings

DRAIN_SECONDS = 60.0
QUIT_SECONDS = 2.0

# Lanes that a display is told of: to look at 10,000 held the loop up for 58 ms.
MOST_LANES = 1000
# Connections that are told to quit in one turn of the loop.
QUIT_TOGETHER = 200

LaneKey = tuple[str, int]


class Means(Struct, frozen=True, kw_only=True):
    """What messages are made of and how connections are made, in whatever process."""

    campaign: Campaign
    program: Program
    signer: Signer
    issuer: Issuer
    router: Router
    encryption: Encryption
    transport: Transport
    transports: Mapping[str, Transport]
    sources: Sequence[EgressSource]
    pacing: PacingSettings
    signers: int


class Lanes:
    """Every lane of this process by (site, position of its source), with the pools of its exchanges.

    `may_begin` is asked before each message. `on_low` is called when a lane has few recipients left waiting or may do
    more than before, `on_changed` with each lane whose pause or failure changed what it may do, `on_crash` for a
    defect.
    """

    def __init__(
        self,
        means: Means,
        *,
        recorder: Recorder,
        conclusions: Conclusions,
        courier: Courier,
        windows: Windows,
        meter: CpuMeter,
        connections: int,
        clock: Clock,
        may_begin: Callable[[], bool],
        on_low: Callable[[], None],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._means = means
        self._windows = windows
        self._clock = clock
        self._on_low = on_low
        self.on_changed: Callable[[Lane], None] = lambda lane: None
        self.budget = Budget(connections)
        self._lanes: dict[LaneKey, Lane] = {}
        self._pools: dict[Exchange, Pool] = {}
        # When to look whether a lane is to be forgotten, and since when it is there.
        self._looks: list[tuple[float, LaneKey, float]] = []
        self._domain_rates = {
            domain.lower(): float(limits.messages)
            for domain, limits in means.campaign.limits.domains.items()
            if limits.messages is not None
        }
        self._composer = Composer(
            means.program, means.signer, means.issuer, threads=means.signers, clock=clock, meter=meter
        )
        courier.on_lane_changed = self._changed
        self._composer.on_ready = lambda exchange: self._pools[exchange].kick()
        self._composer.on_failure = conclusions.compose_failed
        self._composer.on_crash = on_crash
        self._rooms = Rooms(
            composer=self._composer,
            conclusions=conclusions,
            courier=courier,
            dialer=Dialer(means.transport, means.router, means.encryption, transports=means.transports, clock=clock),
            recorder=recorder,
            budget=self.budget,
            clock=clock,
            uncounted={},
            may_begin=may_begin,
            on_low=on_low,
            on_crash=on_crash,
        )

    # What the scheduler asks.

    def exchanges_of(self, ways: Sequence[Way], domain: str) -> list[Exchange]:
        """The exchanges of a domain's ways, made on first use: one in a lane of each egress source."""
        exchanges = []
        for way in ways:
            for position, source in enumerate(self._means.sources):
                exchange = self.exchange_of(way, domain, position)
                exchange.weight, exchange.priority = way.weight * source.weight, way.priority
                exchanges.append(exchange)
        for exchange in exchanges:
            exchange.alternatives = exchanges
        return exchanges

    def exchange_of(self, way: Way, domain: str, position: int) -> Exchange:
        """The one in the lane of the source at `position`."""
        now = self._clock.monotonic()
        rate = self._domain_rates.get(domain)
        site = way.site
        kind = (site.hosts, domain if rate is not None else "", site.protection)
        key = (site.name, position)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = self._make_lane(way, position)
            heappush(self._looks, (now + KEPT_SECONDS, key, now))
        exchange = lane.exchanges.get(kind)
        if exchange is None:
            bucket = lane.domain_bucket(domain, rate, now) if rate is not None else None
            exchange = lane.exchanges[kind] = Exchange(lane, site.hosts, bucket, site.protection)
            self._pools[exchange] = Pool(exchange, self._rooms)
        exchange.serve(domain)
        return exchange

    def put(self, exchange: Exchange, work: Iterable[Work]) -> None:
        exchange.put(work)
        self._pools[exchange].kick()

    # What whoever runs them asks.

    full = False
    cpu = CpuSpent()

    async def start(self) -> None:
        """They are ready as they are."""

    def stop(self) -> None:
        """`may_begin` says it."""

    def about_to_fold(self) -> Callable[[Collection[int]], None]:
        """Nobody else keeps a journal."""
        return _nothing

    async def leave(self, *, folded: bool) -> None:
        """Nobody is to be let go."""

    def __contains__(self, key: LaneKey) -> bool:
        return key in self._lanes

    def items(self) -> Iterable[tuple[LaneKey, Lane]]:
        return self._lanes.items()

    def sweep(self, now: float) -> None:
        """Count what was delivered, and let the slow give way where others wait; called a few times a second."""
        for pool in list(self._rooms.uncounted):
            pool.account()
        self.budget.relieve(now)

    def go_on(self) -> None:
        """The flow was held, and may go on."""
        for pool in self._pools.values():
            pool.kick()
        self._on_low()

    def drop_idle(self, now: float) -> list[LaneKey]:
        """Forget the lanes that new ones would do as well for; which.

        A lane is looked at when it is KEPT_SECONDS old, and then each time that it is twice as old, or a minute older.
        """
        dropped = []
        while self._looks and self._looks[0][0] <= now:
            _, key, born = heappop(self._looks)
            if self._lanes[key].is_forgettable(now):
                self._drop(key)
                dropped.append(key)
            else:
                heappush(self._looks, (now + min(now - born, LEARNED_SECONDS), key, born))
        return dropped

    def __len__(self) -> int:
        return len(self._lanes)

    def busiest(self, most: int) -> list[Lane]:
        """So many lanes at most, the busiest first."""
        return nlargest(most, self._lanes.values(), key=lambda lane: (lane.waiting, lane.connections))

    def statistics(self, now: float) -> list[LaneStatistics]:
        """Of MOST_LANES, the busiest first."""
        return [lane.statistics(now) for lane in self.busiest(MOST_LANES)]

    async def drain(self) -> None:
        """Wait for the replies to what is in flight, up to DRAIN_SECONDS; nothing new is to be begun."""
        holders = self.budget.holders
        for pool in list(holders):
            pool.drain()
        await self._until(lambda: not any(pool.in_flight for pool in holders), DRAIN_SECONDS)

    async def close(self) -> None:
        """QUIT where nothing is in flight, a moment for the replies to that, then the sockets are closed."""
        for number, pool in enumerate(list(self.budget.holders), 1):
            pool.drain()
            if number % QUIT_TOGETHER == 0:
                await asyncio.sleep(0)
        await self._until(lambda: not self.budget.open, QUIT_SECONDS)
        for pool in list(self._pools.values()):
            await pool.close()
        await self._composer.close()

    # Beneath.

    def _make_lane(self, way: Way, position: int) -> Lane:
        campaign, source = self._means.campaign, self._means.sources[position]
        limits = narrowed(effective_limits(way.site, campaign.limits), way.limits, source.limits)
        window = limits.window or campaign.delivery.window
        if source.limits is not None and source.limits.window is not None:
            window = min(window, source.limits.window)
        return Lane(
            way.site,
            source,
            limits,
            Pacer(campaign.delivery.retry, self._means.pacing),
            now=self._clock.monotonic(),
            window=self._windows.of(way.site, window),
            position=position,
        )

    def _drop(self, key: LaneKey) -> None:
        exchanges = self._lanes.pop(key).exchanges
        for exchange in exchanges.values():
            self._pools.pop(exchange).forget()
            exchange.alternatives = ()
        # A lane and its exchanges know each other: apart, they go without the collector's help.
        exchanges.clear()

    def _changed(self, lane: Lane) -> None:
        for exchange in lane.exchanges.values():
            if exchange.waiting:
                self._pools[exchange].kick()
        self.on_changed(lane)
        self._on_low()

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while not condition() and self._clock.monotonic() < deadline:  # noqa: ASYNC110 - the conditions have no event
            await asyncio.sleep(0.02)


def _nothing(chunks: Collection[int]) -> None:
    """Nobody has to know."""
