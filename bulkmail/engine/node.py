"""One sending process for one run: builds the rooms of the engine, lets them run, stops them in order."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from msgspec import Struct

from bulkmail.clock import Clock, SteadyClock
from bulkmail.content.identity import Identity
from bulkmail.content.program import Program
from bulkmail.dkim.signing import Signer
from bulkmail.dns.resolver import Resolver
from bulkmail.engine.canary import CanaryWatch
from bulkmail.engine.composer import Composer, composes_on_loop
from bulkmail.engine.courier import Courier
from bulkmail.engine.dialer import Dialer, Transport
from bulkmail.engine.encryption import Encryption
from bulkmail.engine.exchange import Exchange
from bulkmail.engine.intake import Batch, Intake
from bulkmail.engine.lane import Lane
from bulkmail.engine.meter import CpuMeter
from bulkmail.engine.pool import Budget, Pool, Rooms
from bulkmail.engine.recorder import Recorder
from bulkmail.engine.router import Router
from bulkmail.engine.scheduler import Scheduler
from bulkmail.engine.statistics import Snapshot, Statistics
from bulkmail.engine.timing import Timing
from bulkmail.engine.ways import Way, Ways
from bulkmail.engine.windows import Windows
from bulkmail.engine.work import Work
from bulkmail.errors import DiskFull, StateError
from bulkmail.events.log import EventLog
from bulkmail.model.campaign import Campaign, EgressSource
from bulkmail.model.delivery import Event, Summary
from bulkmail.policy.limits import effective_limits, narrowed
from bulkmail.policy.pacing import Pacer, PacingSettings
from bulkmail.policy.rules import RuleBook
from bulkmail.store.orders import Kind, Order, give_order, standing_order, take_back
from bulkmail.store.runs import Run, RunState
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppressions

T = TypeVar("T")

SWEEP_SECONDS = 0.25
COUNT_SECONDS = 30.0
# With the sweep before it, what another process suppresses holds here within a second.
LOOK_SECONDS = 0.5
DRAIN_SECONDS = 60.0
QUIT_SECONDS = 2.0


class NodeOptions(Struct, frozen=True, kw_only=True):
    """`signers` are composing and signing threads; `limit` stops intake after so many rows.

    `connections` is the most that may be open at once, to all receivers together. `rules` judge replies; None: ours.
    `sweep_seconds` is how often what is overdue or idle is looked for.
    """

    wait: bool = True
    limit: int | None = None
    signers: int = 1
    connections: int = 1000
    sweep_seconds: float = SWEEP_SECONDS
    pacing: PacingSettings = PacingSettings()
    rules: RuleBook | None = None


class Node:
    """Sends one run. `run` may be called once; `stop` and `snapshot` at any time on the same loop."""

    def __init__(
        self,
        campaign: Campaign,
        run: Run,
        *,
        store: Store,
        suppressions: Suppressions,
        event_log: EventLog,
        program: Program,
        signer: Signer,
        resolver: Resolver,
        transport: Transport,
        transports: Mapping[str, Transport],
        ways: Ways,
        encryption: Encryption,
        sources: Sequence[EgressSource],
        options: NodeOptions,
        store_thread: Executor,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._campaign = campaign
        self._run = run
        self._store = store
        self._suppressions = suppressions
        self._event_log = event_log
        self._program = program
        self._options = options
        self._store_thread = store_thread
        self._clock = clock
        # What is due, and when a recipient expires, is reckoned by this one.
        steady = SteadyClock(clock)
        self._sources = sources
        self._encryption = encryption
        self._stopping = False
        self._disk_full = False
        self._paused = self._cancelled = False
        self._canary: CanaryWatch | None = None
        self._crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._pools: dict[Exchange, Pool] = {}
        self._domain_rates = {
            domain.lower(): float(limits.messages)
            for domain, limits in campaign.limits.domains.items()
            if limits.messages is not None
        }
        self._sync_thread = ThreadPoolExecutor(1, thread_name_prefix="bulkmail-sync")
        self.statistics = Statistics(campaign, run.id, now=clock.monotonic())
        self._recorder = Recorder(
            run=run,
            journal=store.journal,
            event_log=event_log,
            suppressions=suppressions,
            statistics=self.statistics,
            clock=steady,
            sync_thread=self._sync_thread,
            store_thread=store_thread,
            soft_bounces=campaign.feedback.soft_bounces,
            sync_intents=campaign.delivery.intent == "synced",
        )
        self._windows = Windows(store, self._recorder, store_thread, on_crash=self._crashed)
        own_names = [source.ehlo for source in sources if source.ehlo]
        self._router = Router(campaign, resolver, ways, own_names=own_names, rng=rng, encryption=encryption)
        self._courier = Courier(
            campaign,
            self._recorder,
            suppressions,
            clock=steady,
            rules=options.rules,
        )
        issuer = Identity(store.token_keys).issuer(run.number, run.created)
        self._meter = CpuMeter(store_thread, self._sync_thread, composes_on_loop=composes_on_loop(signer))
        self._composer = Composer(program, signer, issuer, threads=options.signers, clock=clock, meter=self._meter)
        self._scheduler = Scheduler(
            store,
            run.number,
            router=self._router,
            courier=self._courier,
            exchanges_of=self._exchanges_of,
            put=self._put,
            store_thread=store_thread,
            clock=steady,
            rng=rng,
        )
        self._recorder.on_progress = self._scheduler.progressed
        self._recorder.on_crash = self._crashed
        self._courier.on_lane_changed = self._lane_changed
        self._composer.on_ready = lambda exchange: self._pools[exchange].kick()
        self._composer.on_failure = self._courier.compose_failed
        self._composer.on_crash = self._crashed
        self._rooms = Rooms(
            composer=self._composer,
            courier=self._courier,
            dialer=Dialer(transport, self._router, encryption, transports=transports, clock=clock),
            recorder=self._recorder,
            budget=Budget(options.connections),
            clock=clock,
            may_begin=self._may_begin,
            on_low=self._scheduler.wake,
            on_crash=self._crashed,
        )

    def subscribe(self, subscriber: Callable[[Sequence[Event]], None]) -> None:
        """`subscriber` gets every event once it is durable."""
        self._recorder.subscriber = subscriber

    async def run(self, batches: AsyncIterator[Batch] | None) -> Summary:
        """Take recipients in (unless that is done already), send, and return how the run stands.

        Raises StateError when the state directory failed; everything recorded before is safe then.
        """
        loop = asyncio.get_running_loop()
        await self._in_store(self._load_totals)
        await self._meter.begin(await self._in_store(self._store.cpu, self._run.number))
        if self._run.state is RunState.INTAKE:
            # What an interrupted intake said of rows that it did not store will be said again.
            self._event_log.truncate(self._run.events_offset)
        self._look_at_orders()
        syncs = loop.create_task(self._recorder.run_syncs())
        sweeps = loop.create_task(self._sweep())
        work = loop.create_task(self._work(batches))
        finished = False
        try:
            watched: list[asyncio.Future[Any]] = [syncs, sweeps, work, self._crash]
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for task in (syncs, sweeps, self._crash):
                if task.done():
                    await task
            finished = await work
        finally:
            self._stopping = True
            await self._end_of(work)
            try:
                await self._close_connections()
            finally:
                # Where the journal has failed, what ends with the connections cannot be recorded.
                await self._end_of(sweeps)
                self._recorder.run_event(self._ending(finished))
                self._recorder.close()
                try:
                    await syncs
                    await self._scheduler.release_all()
                    self._event_log.sync()
                    await self._keep_cpu()
                finally:
                    self._sync_thread.shutdown()
        if finished:
            await self._in_store(self._store.set_state, self._run.number, RunState.FINISHED)
        elif self._cancelled:
            await self._in_store(self._store.set_state, self._run.number, RunState.CANCELLED)
        if finished or self._cancelled:
            take_back(self._store.path, self._run.id)
        return self.statistics.summary(self._ending(finished), self._clock.monotonic())

    def _ending(self, finished: bool) -> str:
        return "finished" if finished else "cancelled" if self._cancelled else "stopped"

    def stop(self) -> None:
        """Begin no new message; replies may come in for up to DRAIN_SECONDS; then `run` returns."""
        if not self._stopping:
            self._stopping = True
            self.statistics.phase = "stopping"
            self._scheduler.stop()

    def snapshot(self) -> Snapshot:
        """How things stand, for a display."""
        now = self._clock.monotonic()
        lanes = [lane.statistics(now) for lane in self._lanes.values()]
        lanes.sort(key=lambda lane: (lane.waiting, lane.connections), reverse=True)
        statistics = self.statistics
        summary = statistics.summary(statistics.phase, now)
        return Snapshot(
            summary=summary,
            open=summary.deferred,
            phase=statistics.phase,
            rate_per_second=statistics.rate_per_second(now),
            lanes=tuple(lanes),
            sites=dict(statistics.sites),
            problem=statistics.problem,
        )

    # Beneath.

    async def _work(self, batches: AsyncIterator[Batch] | None) -> bool:
        """Intake, then sending; True when the run is finished."""
        if self._run.state is RunState.INTAKE:
            if batches is None:
                raise StateError("this run's intake is not done and no recipients were given")
            intake = Intake(
                self._store,
                self._run,
                self._program,
                self._suppressions,
                self._event_log,
                self.statistics,
                timing=Timing(self._campaign, began=self._run.created),
                clock=self._clock,
                publish=self._recorder.publish,
            )
            done = await intake.run(batches, self._store_thread, limit=self._options.limit, stop=lambda: self._stopping)
            if not done:
                return False
            await self._in_store(self._store.set_state, self._run.number, RunState.SENDING)
        await self._meter.sending()
        if self._campaign.canary is not None:
            held = await self._in_store(self._store.held, self._run.number)
            self._canary = CanaryWatch(self._campaign.canary, held) if held else None
        self.statistics.phase = "sending"
        self._recorder.run_event("sending")
        finished = await self._scheduler.run(wait=self._options.wait)
        if self._stopping:
            await self._drain()
        return finished

    async def _drain(self) -> None:
        holders = self._rooms.budget.holders
        for pool in list(holders):
            pool.drain()
        await self._until(lambda: not any(pool.in_flight for pool in holders), DRAIN_SECONDS)

    async def _close_connections(self) -> None:
        """QUIT where nothing is in flight, a moment for the replies to that, then the sockets are closed."""
        for pool in list(self._rooms.budget.holders):
            pool.drain()
        await self._until(lambda: not self._rooms.budget.open, QUIT_SECONDS)
        for pool in list(self._pools.values()):
            await pool.close()
        await self._composer.close()

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while not condition() and self._clock.monotonic() < deadline:  # noqa: ASYNC110 - the conditions have no event
            await asyncio.sleep(0.02)

    @staticmethod
    async def _end_of(task: asyncio.Task[Any]) -> None:
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _load_totals(self) -> None:
        run, statistics = self._run, self.statistics
        statistics.rows, statistics.rejected = run.rows, run.rejected
        statistics.duplicates, statistics.suppressed_at_intake = run.duplicates, run.suppressed
        statistics.totals.update(self._store.counts(run.number))

    def _crashed(self, error: BaseException) -> None:
        """A task of ours died of a defect: the run ends with it instead of hanging."""
        if not self._crash.done():
            self._crash.set_exception(error)

    def _may_begin(self) -> bool:
        return not (self._stopping or self._disk_full or self._paused)

    def _exchanges_of(self, ways: Sequence[Way], domain: str) -> list[Exchange]:
        """The exchanges of a domain's ways, made on first use: one in a lane of each egress source."""
        exchanges = []
        for way in ways:
            for position, source in enumerate(self._sources):
                exchange = self._exchange_of(way, domain, position, source)
                exchange.weight, exchange.priority = way.weight * source.weight, way.priority
                exchanges.append(exchange)
        for exchange in exchanges:
            exchange.alternatives = exchanges
        return exchanges

    def _exchange_of(self, way: Way, domain: str, position: int, source: EgressSource) -> Exchange:
        now = self._clock.monotonic()
        rate = self._domain_rates.get(domain)
        site = way.site
        kind = (site.hosts, domain if rate is not None else "", site.protection)
        key = (site.name, position)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = self._make_lane(way, source)
        exchange = lane.exchanges.get(kind)
        if exchange is None:
            bucket = lane.domain_bucket(domain, rate, now) if rate is not None else None
            exchange = lane.exchanges[kind] = Exchange(lane, site.hosts, bucket, site.protection)
            self._pools[exchange] = Pool(exchange, self._rooms)
        exchange.serve(domain)
        return exchange

    def _make_lane(self, way: Way, source: EgressSource) -> Lane:
        campaign = self._campaign
        limits = narrowed(effective_limits(way.site, campaign.limits), way.limits, source.limits)
        window = limits.window or campaign.delivery.window
        if source.limits is not None and source.limits.window is not None:
            window = min(window, source.limits.window)
        return Lane(
            way.site,
            source,
            limits,
            Pacer(campaign.delivery.retry, self._options.pacing),
            now=self._clock.monotonic(),
            window=self._windows.of(way.site, window),
        )

    def _put(self, exchange: Exchange, work: Iterable[Work]) -> None:
        exchange.put(work)
        self._pools[exchange].kick()

    def _lane_changed(self, lane: Lane) -> None:
        for exchange in lane.exchanges.values():
            if exchange.waiting:
                self._pools[exchange].kick()
        self._scheduler.wake()

    async def _sweep(self) -> None:
        """Overdue replies, idle connections, idle lanes, a full disk and suppressions made elsewhere."""
        next_look = next_count = 0.0
        while True:
            await asyncio.sleep(self._options.sweep_seconds)
            now = self._clock.monotonic()
            for pool in list(self._rooms.budget.holders):
                pool.sweep(now)
            self._rooms.budget.relieve(now)
            self._look_at_orders()
            await self._look_at_canary(now)
            if now >= next_look:
                next_look = now + LOOK_SECONDS
                await self._in_store(self._look)
                self._drop_idle_lanes(now)
                await self._look_at_journal()
            if now >= next_count:
                next_count = now + COUNT_SECONDS
                await self._in_store(self._encryption.tally.flush)
                await self._keep_cpu()

    def _look(self) -> None:
        self._store.check_in_place()
        self._suppressions.refresh()

    async def _keep_cpu(self) -> None:
        # No reason to stop: a full disk is dealt with where mail depends on it.
        with suppress(DiskFull):
            await self._in_store(self._store.keep_cpu, self._run.number, await self._meter.spent())

    def _look_at_orders(self) -> None:
        """What somebody has ordered from elsewhere, in force at once."""
        order = standing_order(self._store.path, self._run.id)
        if order is not None and order.kind is Kind.CANCEL and not self._cancelled:
            self._cancelled = True
            self.stop()
        paused = order is not None and order.kind is Kind.PAUSE
        if paused and not self._options.wait:
            self.stop()
        if paused == self._paused:
            return
        self._paused = paused
        self.statistics.problem = f"paused: {order.reason}" if order is not None and paused else ""
        self._recorder.run_event("paused" if paused else "resumed", order.reason if order is not None else "")
        if not paused:
            self._go_on()

    async def _look_at_canary(self, now: float) -> None:
        """Let the others follow, or pause."""
        if self._canary is None or self._paused or self._stopping:
            return
        verdict = self._canary.look(self.statistics.totals, now)
        if verdict.reason:
            give_order(
                self._store.path,
                self._run.id,
                Order(kind=Kind.PAUSE, reason=verdict.reason, time=self._clock.time()),
            )
            self._look_at_orders()
        elif verdict.release:
            await self._in_store(self._store.release_held, self._run.number)
            self._recorder.run_event("canary", f"{self._canary.held:,} recipients follow")
            self._canary = None
            self._go_on()

    def _go_on(self) -> None:
        for pool in self._pools.values():
            pool.kick()
        self._scheduler.wake()

    def _drop_idle_lanes(self, now: float) -> None:
        for key, lane in list(self._lanes.items()):
            if lane.is_forgettable(now):
                del self._lanes[key]
                for exchange in lane.exchanges.values():
                    self._pools.pop(exchange).forget()

    async def _look_at_journal(self) -> None:
        """Fold chunks that keep old segments alive; stop the flow while the disk is full, and go on by itself."""
        stale = self._store.journal.stale_chunks()
        if stale:
            await self._scheduler.checkpoint(stale)
        full = self._recorder.full or self._scheduler.disk_full
        if full:
            full = not await self._in_store(self._recorder.make_room) or self._scheduler.disk_full
        if full != self._disk_full:
            self._disk_full = full
            self.statistics.problem = "paused: disk full" if full else ""
            self._recorder.run_event("paused" if full else "resumed", "the disk is full" if full else "")
            if not full:
                self._go_on()

    async def _in_store(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._store_thread, function, *arguments)
