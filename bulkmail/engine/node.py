"""Drive one run: put its parts together, take its rows in, send, stop in order.

The lanes are in this process (`Lanes`), or dealt out to nodes of their own (`Deal`).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bulkmail.clock import Clock, SteadyClock
from bulkmail.content.identity import Identity
from bulkmail.content.program import Program
from bulkmail.dkim.signing import Signer
from bulkmail.dns.resolver import Resolver
from bulkmail.engine.conclusions import Conclusions
from bulkmail.engine.courier import Courier
from bulkmail.engine.dialer import Transport
from bulkmail.engine.encryption import Encryption
from bulkmail.engine.intake import Batch, Intake
from bulkmail.engine.lanes import Lanes, Means
from bulkmail.engine.meter import CpuMeter
from bulkmail.engine.options import NodeOptions
from bulkmail.engine.pausing import Gate, Pausing
from bulkmail.engine.recorder import Recorder
from bulkmail.engine.router import Router
from bulkmail.engine.scheduler import Scheduler
from bulkmail.engine.statistics import Snapshot, Statistics
from bulkmail.engine.storethread import StoreThread
from bulkmail.engine.syncs import Syncs
from bulkmail.engine.timing import Timing
from bulkmail.engine.upkeep import Upkeep
from bulkmail.engine.watch import Block, LoopWatch
from bulkmail.engine.ways import Ways
from bulkmail.engine.windows import Windows
from bulkmail.errors import StateError
from bulkmail.events.log import EventLog
from bulkmail.model.campaign import Campaign, EgressSource
from bulkmail.model.delivery import STALLED, Event, Summary
from bulkmail.store.orders import take_back
from bulkmail.store.runs import Run, RunState
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppressions

if TYPE_CHECKING:
    from bulkmail.engine.nodes.deal import Deal
    from bulkmail.engine.nodes.desk import NodeStarter


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
        self._gate = Gate()
        self._leaving = False
        self._crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sync_thread = ThreadPoolExecutor(1, thread_name_prefix="bulkmail-sync")
        self.statistics = Statistics(campaign, run.id, now=clock.monotonic(), most_sites=options.most_sites)
        self._in_store = StoreThread(
            store_thread, self.statistics, leaving=lambda: self._leaving, on_crash=self._crashed
        )
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
                may_begin=self._gate.may_begin,
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
            in_store=self._in_store,
            clock=steady,
            rng=rng,
            rated={domain.lower() for domain, limits in campaign.limits.domains.items() if limits.messages is not None},
        )
        self._pausing = Pausing(
            run,
            self._gate,
            store=store,
            in_store=self._in_store,
            recorder=self._recorder,
            syncs=self._syncs,
            statistics=self.statistics,
            lanes=self._lanes,
            scheduler=self._scheduler,
            clock=clock,
            wait=options.wait,
            stop=self.stop,
        )
        self._upkeep = Upkeep(
            run.number,
            store=store,
            in_store=self._in_store,
            suppressions=suppressions,
            pausing=self._pausing,
            lanes=self._lanes,
            scheduler=self._scheduler,
            tally=encryption.tally,
            meter=self._meter,
            watch=self._watch,
            clock=clock,
            sweep_seconds=options.sweep_seconds,
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
        self._pausing.look_at_orders()
        if self._options.watch:
            self._watch.start()
        syncs = loop.create_task(self._syncs.run())
        sweeps = loop.create_task(self._upkeep.run())
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
            self._gate.stopping = True
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
                    await self._upkeep.keep_cpu()
                finally:
                    try:
                        await self._lanes.leave(folded=folded)
                    finally:
                        self._sync_thread.shutdown()
        if finished:
            await self._in_store.when_there_is_room(self._store.set_state, self._run.number, RunState.FINISHED)
        elif self._pausing.cancelled:
            await self._in_store.when_there_is_room(self._store.set_state, self._run.number, RunState.CANCELLED)
        if finished or self._pausing.cancelled:
            take_back(self._store.path, self._run.id)
        return self.statistics.summary(self._ending(finished), self._clock.monotonic())

    def _ending(self, finished: bool) -> str:
        return "finished" if finished else "cancelled" if self._pausing.cancelled else "stopped"

    def stop(self) -> None:
        """Begin no new message; replies may come in for up to DRAIN_SECONDS; then `run` returns."""
        self._leaving = True
        if not self._gate.stopping:
            self._gate.stopping = True
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
            lane_count=len(self._lanes),
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
            may_begin=self._gate.may_begin,
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
            await self._pausing.hold_for(self._campaign.canary)
        self.statistics.phase = "sending"
        self._recorder.run_event("sending")
        finished = await self._scheduler.run(wait=self._options.wait)
        if self._gate.stopping:
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
        done = await intake.run(
            batches, self._store_thread, limit=self._options.limit, stop=lambda: self._gate.stopping
        )
        if done:
            await self._in_store.when_there_is_room(self._store.set_state, self._run.number, RunState.SENDING)
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

    def _keep_anomaly(self, site: str, what: str) -> None:
        # What a full disk has no room for is learned again by the next run.
        self._in_store.later(self._store.keep_anomaly, site, what)
