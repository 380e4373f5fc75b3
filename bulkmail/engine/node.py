"""Drive one run: take its rows in, keep its lanes supplied, follow orders, stop in order.

The lanes are in this process (`Lanes`), or dealt out to nodes of their own (`Deal`).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from bulkmail.clock import Clock, SteadyClock
from bulkmail.content.identity import Identity
from bulkmail.content.program import Program
from bulkmail.dkim.signing import Signer
from bulkmail.dns.resolver import Resolver
from bulkmail.engine.canary import CanaryWatch
from bulkmail.engine.conclusions import Conclusions
from bulkmail.engine.courier import Courier
from bulkmail.engine.dialer import Transport
from bulkmail.engine.encryption import Encryption
from bulkmail.engine.intake import FULL_SECONDS, Batch, Intake
from bulkmail.engine.lanes import Lanes, Means
from bulkmail.engine.meter import CpuMeter
from bulkmail.engine.recorder import Recorder
from bulkmail.engine.router import Router
from bulkmail.engine.scheduler import Scheduler
from bulkmail.engine.statistics import DISK_FULL, MOST_SITES, Snapshot, Statistics
from bulkmail.engine.syncs import Syncs
from bulkmail.engine.timing import Timing
from bulkmail.engine.watch import Block, LoopWatch
from bulkmail.engine.ways import Ways
from bulkmail.engine.windows import Windows
from bulkmail.errors import DiskFull, StateError
from bulkmail.events.log import EventLog
from bulkmail.model.campaign import Campaign, EgressSource
from bulkmail.model.cpu import CpuSpent
from bulkmail.model.delivery import STALLED, Event, Summary
from bulkmail.policy.pacing import PacingSettings
from bulkmail.policy.rules import RuleBook
from bulkmail.store.orders import Kind, Order, give_order, standing_order, take_back
from bulkmail.store.runs import Run, RunState
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppressions

if TYPE_CHECKING:
    from bulkmail.engine.nodes.deal import Deal
    from bulkmail.engine.nodes.desk import NodeStarter

T = TypeVar("T")

SWEEP_SECONDS = 0.25
COUNT_SECONDS = 30.0
# With the sweep before it, what another process suppresses holds here within a second.
LOOK_SECONDS = 0.5


class NodeOptions(Struct, frozen=True, kw_only=True):
    """`signers` are composing and signing threads; `limit` stops intake after so many rows.

    `connections` is the most that may be open at once, to all receivers together. `nodes` are sending processes: of
    more than one, none is this. `rules` judge replies; None: ours. `sweep_seconds` is how often idle lanes, orders and
    a full disk are looked for. `most_sites` are counted one by one. `watch` the event
    loop: off on one whose time is not that of the machine.
    """

    wait: bool = True
    limit: int | None = None
    signers: int = 1
    connections: int = 1000
    nodes: int = 1
    sweep_seconds: float = SWEEP_SECONDS
    most_sites: int = MOST_SITES
    watch: bool = True
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
        starter: "NodeStarter | None" = None,
    ) -> None:
        """`starter` starts the processes where there are to be several."""
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
        self._encryption = encryption
        self._stopping = self._leaving = False
        self._disk_full = False
        self._paused = self._cancelled = False
        self._canary: CanaryWatch | None = None
        self._crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sync_thread = ThreadPoolExecutor(1, thread_name_prefix="bulkmail-sync")
        self.statistics = Statistics(campaign, run.id, now=clock.monotonic(), most_sites=options.most_sites)
        self._syncs = Syncs(
            run=run,
            journal=store.journal,
            event_log=event_log,
            suppressions=suppressions,
            sync_thread=self._sync_thread,
            store_thread=store_thread,
            soft_bounces=campaign.feedback.soft_bounces,
        )
        self._recorder = Recorder(
            run=run,
            journal=store.journal,
            syncs=self._syncs,
            statistics=self.statistics,
            clock=steady,
            sync_thread=self._sync_thread,
            sync_intents=campaign.delivery.intent == "synced",
        )
        own_names = [source.ehlo for source in sources if source.ehlo]
        router = Router(campaign, resolver, ways, own_names=own_names, rng=rng, encryption=encryption)
        conclusions = Conclusions(
            campaign, self._recorder, self._syncs, suppressions, clock=steady, rules=options.rules
        )
        courier = Courier(campaign, self._recorder, conclusions, clock=steady, rules=options.rules)
        self._meter = CpuMeter(store_thread, self._sync_thread)
        self._watch = LoopWatch(self._loop_blocked)
        self._lanes: Lanes | Deal
        if starter is None:
            means = Means(
                campaign=campaign,
                program=program,
                signer=signer,
                issuer=Identity(store.token_keys).issuer(run.number, run.created),
                router=router,
                encryption=encryption,
                transport=transport,
                transports=transports,
                sources=sources,
                pacing=options.pacing,
                signers=options.signers,
            )
            self._lanes = Lanes(
                means,
                recorder=self._recorder,
                conclusions=conclusions,
                courier=courier,
                windows=Windows(store.anomalies(), self._recorder, keep=self._keep_anomaly),
                meter=self._meter,
                connections=options.connections,
                clock=clock,
                may_begin=self._may_begin,
                on_low=lambda: self._scheduler.wake(),
                on_crash=self._crashed,
            )
        else:
            self._lanes = self._deal(sources, starter, conclusions=conclusions, encryption=encryption, clock=steady)
        self._scheduler: Scheduler[Any] = Scheduler(
            store,
            run.number,
            router=router,
            conclusions=conclusions,
            courier=courier,
            exchanges_of=self._lanes.exchanges_of,
            put=self._lanes.put,
            store_thread=store_thread,
            clock=steady,
            rng=rng,
            rated={domain.lower() for domain, limits in campaign.limits.domains.items() if limits.messages is not None},
        )
        self._scheduler.on_fold = self._lanes.about_to_fold
        self._recorder.on_progress = self._scheduler.progressed
        self._recorder.intents.on_crash = self._crashed

    def subscribe(self, subscriber: Callable[[Sequence[Event]], None]) -> None:
        """`subscriber` gets every event once it is durable."""
        self._syncs.subscriber = subscriber

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
        if self._options.watch:
            self._watch.start()
        syncs = loop.create_task(self._syncs.run())
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
            self._watch.close()
            await self._end_of(work)
            try:
                await self._lanes.close()
            finally:
                # Where the journal has failed, what ends with the connections cannot be recorded.
                await self._end_of(sweeps)
                self._recorder.run_event(self._ending(finished))
                self._syncs.close()
                folded = False
                try:
                    await syncs
                    await self._scheduler.release_all()
                    self._event_log.sync()
                    folded = True
                    await self._keep_cpu()
                finally:
                    try:
                        await self._lanes.leave(folded=folded)
                    finally:
                        self._sync_thread.shutdown()
        if finished:
            await self._when_there_is_room(self._store.set_state, self._run.number, RunState.FINISHED)
        elif self._cancelled:
            await self._when_there_is_room(self._store.set_state, self._run.number, RunState.CANCELLED)
        if finished or self._cancelled:
            take_back(self._store.path, self._run.id)
        return self.statistics.summary(self._ending(finished), self._clock.monotonic())

    def _ending(self, finished: bool) -> str:
        return "finished" if finished else "cancelled" if self._cancelled else "stopped"

    def stop(self) -> None:
        """Begin no new message; replies may come in for up to DRAIN_SECONDS; then `run` returns."""
        self._leaving = True
        if not self._stopping:
            self._stopping = True
            self.statistics.phase = "stopping"
            self._scheduler.stop()
            self._lanes.stop()

    def snapshot(self) -> Snapshot:
        """How things stand, for a display."""
        now = self._clock.monotonic()
        statistics = self.statistics
        summary = statistics.summary(statistics.phase, now)
        return Snapshot(
            summary=summary,
            open=summary.deferred,
            phase=statistics.phase,
            rate_per_second=statistics.rate_per_second(now),
            lanes=tuple(self._lanes.statistics(now)),
            sites=dict(statistics.sites),
            more_sites=statistics.more_sites,
            problem=statistics.problem,
        )

    # Beneath.

    def _deal(
        self,
        sources: Sequence[EgressSource],
        starter: "NodeStarter",
        *,
        conclusions: Conclusions,
        encryption: Encryption,
        clock: Clock,
    ) -> "Deal":
        """The lanes at nodes of their own."""
        # Most sends are of one process.
        from bulkmail.engine.nodes.deal import Deal
        from bulkmail.engine.nodes.desk import Desk

        desk = Desk(
            store=self._store,
            recorder=self._recorder,
            syncs=self._syncs,
            conclusions=conclusions,
            tally=encryption.tally,
            in_store=self._in_store,
            waiting=lambda destination: self._scheduler.recipients_waiting(destination),
            checkpoint=lambda chunks: self._scheduler.checkpoint(chunks),
            keep_anomaly=self._keep_anomaly,
            may_begin=self._may_begin,
            events_offset=lambda: self._event_log.offset,
            on_low=lambda: self._scheduler.wake(),
            on_crash=self._crashed,
        )
        options = self._options
        return Deal(
            self._campaign,
            sources,
            desk,
            starter=starter,
            nodes=options.nodes,
            connections=options.connections,
            clock=clock,
        )

    async def _work(self, batches: AsyncIterator[Batch] | None) -> bool:
        """Intake, then sending; True when the run is finished."""
        starting = asyncio.get_running_loop().create_task(self._lanes.start())
        try:
            if not await self._take_in(batches):
                return False
            await starting
        finally:
            await self._end_of(starting)
        await self._meter.sending()
        if self._campaign.canary is not None:
            held = await self._in_store(self._store.held, self._run.number)
            self._canary = CanaryWatch(self._campaign.canary, held) if held else None
        self.statistics.phase = "sending"
        self._recorder.run_event("sending")
        finished = await self._scheduler.run(wait=self._options.wait)
        if self._stopping:
            await self._lanes.drain()
        return finished

    async def _take_in(self, batches: AsyncIterator[Batch] | None) -> bool:
        """Read and store the rows, unless that is done already; False where it was stopped."""
        if self._run.state is not RunState.INTAKE:
            return True
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
            publish=self._syncs.publish,
        )
        done = await intake.run(batches, self._store_thread, limit=self._options.limit, stop=lambda: self._stopping)
        if done:
            await self._when_there_is_room(self._store.set_state, self._run.number, RunState.SENDING)
        return done

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

    def _loop_blocked(self, block: Block) -> None:
        self._recorder.run_event(STALLED, str(block))

    def _may_begin(self) -> bool:
        return not (self._stopping or self._disk_full or self._paused)

    async def _sweep(self) -> None:
        """Slow hosts that others wait for, idle lanes, orders, a full disk and suppressions made elsewhere."""
        next_look = next_count = 0.0
        while True:
            await asyncio.sleep(self._options.sweep_seconds)
            now = self._clock.monotonic()
            self._look_at_orders()
            await self._look_at_canary(now)
            self._lanes.sweep(now)
            if now >= next_look:
                next_look = now + LOOK_SECONDS
                await self._in_store(self._look)
                self._lanes.drop_idle(now)
                await self._look_at_journal()
            if now >= next_count:
                next_count = now + COUNT_SECONDS
                await self._in_store(self._encryption.tally.flush)
                await self._keep_cpu()

    def _look(self) -> None:
        self._store.check_in_place()
        self._suppressions.refresh()

    def _keep_anomaly(self, site: str, what: str) -> None:
        kept = asyncio.get_running_loop().run_in_executor(self._store_thread, self._store.keep_anomaly, site, what)
        kept.add_done_callback(self._kept)

    def _kept(self, done: asyncio.Future[None]) -> None:
        # On a full disk it is learned again by the next run.
        if not done.cancelled() and (error := done.exception()) is not None and not isinstance(error, DiskFull):
            self._crashed(error)

    async def _keep_cpu(self) -> None:
        # No reason to stop: a full disk is dealt with where mail depends on it.
        with suppress(DiskFull):
            blocks = CpuSpent(blocks=self._watch.blocks, blocked_seconds=self._watch.blocked_seconds)
            spent = await self._meter.spent() + self._lanes.cpu + blocks
            await self._in_store(self._store.keep_cpu, self._run.number, spent)

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
            self._lanes.go_on()

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
            self._scheduler.reload()
            self._lanes.go_on()

    async def _look_at_journal(self) -> None:
        """Fold chunks that keep old segments alive; stop the flow while the disk is full, and go on by itself."""
        stale = self._store.journal.stale_chunks()
        if stale:
            await self._scheduler.checkpoint(stale)
        full = self._syncs.full or self._scheduler.disk_full
        if full:
            full = not await self._in_store(self._syncs.make_room) or self._scheduler.disk_full
        full = full or self._lanes.full
        if full != self._disk_full:
            self._disk_full = full
            self.statistics.problem = DISK_FULL if full else ""
            self._recorder.run_event("paused" if full else "resumed", "the disk is full" if full else "")
            if not full:
                self._lanes.go_on()

    async def _when_there_is_room(self, function: Callable[..., T], *arguments: object) -> T:
        """`_in_store`, again and again while the disk is full. Raises DiskFull once somebody wants to leave."""
        while True:
            try:
                done = await self._in_store(function, *arguments)
            except DiskFull:
                if self._leaving:
                    raise
                self.statistics.problem = DISK_FULL
                await asyncio.sleep(FULL_SECONDS)
            else:
                if self.statistics.problem == DISK_FULL:
                    self.statistics.problem = ""
                return done

    async def _in_store(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._store_thread, function, *arguments)
