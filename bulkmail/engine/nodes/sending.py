"""A node: drives the lanes that the owner of the run has dealt to it, and hands over what became of their recipients.

It keeps no state but its journal and its look at the suppression list. When the channel ends the owner is gone, and so
is the node at once: what it had in flight is in its journal, for whoever takes the directory next.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

from bulkmail.clock import Clock
from bulkmail.engine.conclusions import Conclusions
from bulkmail.engine.courier import Courier
from bulkmail.engine.exchange import Exchange
from bulkmail.engine.lane import Lane
from bulkmail.engine.lanes import LaneKey, Lanes, Means
from bulkmail.engine.meter import CpuMeter
from bulkmail.engine.nodes.channel import Channel
from bulkmail.engine.nodes.messages import (
    Anomaly,
    Closed,
    Drain,
    Drained,
    Flow,
    Folded,
    FromOwner,
    Gone,
    Marked,
    Parked,
    Pause,
    Portion,
    Ready,
    Report,
    Shut,
    Spent,
    Stale,
)
from bulkmail.engine.nodes.recording import NodeRecorder, NodeSyncs
from bulkmail.engine.watch import LoopWatch
from bulkmail.engine.windows import Windows
from bulkmail.engine.work import ActiveChunk, Work
from bulkmail.errors import InternalError, StateError
from bulkmail.model.cpu import CpuSpent
from bulkmail.model.delivery import STALLED
from bulkmail.policy.rules import RuleBook
from bulkmail.store.chunks import OpenChunk
from bulkmail.store.journal import Journal
from bulkmail.store.outcomes import OutcomeColumn
from bulkmail.store.runs import Run
from bulkmail.store.suppressions import Suppressions

T = TypeVar("T")

SWEEP_SECONDS = 0.25
# With the sweep before it, what another process suppresses holds here within a second.
LOOK_SECONDS = 0.5
COUNT_SECONDS = 5.0
# Lanes in a report; of more, the busiest.
REPORTED_LANES = 200


class StandIn:
    """What is known here of another relay's lanes, which may be at another node."""

    __slots__ = ("_shut", "priority", "site_name")

    def __init__(self, site_name: str, priority: int, shut: Mapping[str, float]) -> None:
        self.site_name = site_name
        self.priority = priority
        self._shut = shut

    @property
    def open_again_at(self) -> float:
        return self._shut.get(self.site_name, 0.0)


class SendingNode:
    """`run` returns when the owner has asked to drain and all is handed over, or raises what the node failed of."""

    def __init__(
        self,
        means: Means,
        run: Run,
        *,
        number: int,
        journal: Journal,
        events_offset: int,
        suppressions: Suppressions,
        anomalies: Mapping[str, str],
        rules: RuleBook | None,
        connections: int,
        look_thread: Executor,
        sync_thread: Executor,
        meter: CpuMeter,
        clock: Clock,
    ) -> None:
        self._run = run
        self._journal = journal
        # Up to here the log has all that this journal knows: nothing.
        journal.mark(run.number, events_offset)
        self._suppressions = suppressions
        self._look_thread, self._sync_thread = look_thread, sync_thread
        self._meter = meter
        self._watch = LoopWatch(lambda block: self._recorder.run_event(STALLED, f"node {number}: {block}"))
        self._clock = clock
        self._tally = means.encryption.tally
        self.channel: Channel[FromOwner]
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._drain = asyncio.Event()
        self._flow = True
        self._full = False
        self._active: dict[int, ActiveChunk] = {}
        self._shut: dict[str, float] = {}
        self._changed: dict[LaneKey, Lane] = {}
        self._parked: dict[int, list[int]] = {}
        self._telling = False
        self._syncs = NodeSyncs(
            means.campaign,
            run,
            journal=journal,
            sync_thread=sync_thread,
            on_recorded=lambda recorded: self.channel.post(recorded),
        )
        self._recorder = NodeRecorder(
            means.campaign,
            run,
            journal=journal,
            syncs=self._syncs,
            clock=clock,
            sync_thread=sync_thread,
            on_parked=self._park,
        )
        self._recorder.on_progress = self._progressed
        self._recorder.intents.on_crash = self.crashed
        self._conclusions = Conclusions(
            means.campaign, self._recorder, self._syncs, suppressions, clock=clock, rules=rules
        )
        self._windows = Windows(
            anomalies, self._recorder, keep=lambda site, what: self.channel.post(Anomaly(site, what))
        )
        self._lanes = Lanes(
            means,
            recorder=self._recorder,
            conclusions=self._conclusions,
            courier=Courier(means.campaign, self._recorder, self._conclusions, clock=clock, rules=rules),
            windows=self._windows,
            meter=meter,
            connections=connections,
            clock=clock,
            may_begin=self._may_begin,
            # The owner counts for itself what is left.
            on_low=lambda: None,
            on_crash=self.crashed,
        )
        self._lanes.on_changed = self._lane_changed
        self._handlers: dict[type, Callable[[Any], None]] = {
            Portion: self._take_portion,
            Flow: self._follow_flow,
            Shut: self._note_shut,
            Marked: lambda marked: self._journal.mark(self._run.number, marked.offset, marked.position),
            Folded: self._note_folded,
            Drain: lambda _: self._begin_drain(),
            Anomaly: lambda anomaly: self._windows.lost_elsewhere(anomaly.site, anomaly.what),
        }

    def receive(self, messages: Sequence[FromOwner]) -> None:
        """What the owner says, in its order."""
        for message in messages:
            self._handlers[type(message)](message)

    def crashed(self, error: BaseException) -> None:
        """Something failed that the node cannot go on without."""
        if not self._failure.done():
            self._failure.set_exception(error)

    async def run(self) -> None:
        """Send until the owner wants no more. Raises StateError, and whatever else is a defect."""
        loop = asyncio.get_running_loop()
        self._watch.start()
        await self._meter.begin(CpuSpent())
        await self._meter.sending()
        syncs = loop.create_task(self._syncs.run())
        sweeps = loop.create_task(self._sweep())
        drain = loop.create_task(self._drain.wait())
        self.channel.post(Ready())
        watched: list[asyncio.Future[Any]] = [syncs, sweeps, drain, self._failure]
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in (syncs, sweeps, self._failure):
            if task.done():
                await task
        self._watch.close()
        await self._lanes.drain()
        await self._lanes.close()
        sweeps.cancel()
        await asyncio.gather(sweeps, return_exceptions=True)
        self._syncs.close()
        await syncs
        self._tell()
        await self._in_thread(self._tally.flush)
        self.channel.post(Spent(await self._spent()))
        self.channel.post(Drained())

    # What the owner says.

    def _take_portion(self, portion: Portion) -> None:
        now = self._clock.monotonic()
        is_new = (portion.way.site.name, portion.position) not in self._lanes
        exchange = self._lanes.exchange_of(portion.way, portion.domain, portion.position)
        exchange.priority = portion.way.priority
        if portion.others:
            for other in portion.others:
                self._shut[other.site] = now + other.shut_seconds
            exchange.alternatives = (
                exchange,
                *(StandIn(other.site, other.priority, self._shut) for other in portion.others),
            )
        if is_new and portion.rest is not None:
            exchange.lane.take_over(portion.rest.learned, portion.rest.seconds, now)
        active = self._chunk_of(portion)
        active.outstanding += len(portion.indexes)
        chunk = active.chunk
        for index, address, row in zip(portion.indexes, portion.addresses, portion.rows, strict=True):
            chunk.addresses[index], chunk.rows[index] = address, row
        chunk.outcomes.take_records(portion.indexes, portion.records)
        work: list[Work] = [(active, index) for index in portion.indexes]
        self._lanes.put(exchange, work)

    def _chunk_of(self, portion: Portion) -> ActiveChunk:
        active = self._active.get(portion.chunk)
        if active is None:
            size = portion.size
            chunk = OpenChunk(
                number=portion.chunk,
                run=self._run.number,
                destination="",
                list_name=portion.list_name,
                addresses=[""] * size,
                rows=[b""] * size,
                outcomes=OutcomeColumn(size),
            )
            active = self._active[portion.chunk] = ActiveChunk(chunk, jitter=portion.jitter)
        return active

    def _progressed(self, active: ActiveChunk) -> None:
        if not active.outstanding:
            del self._active[active.chunk.number]

    def _follow_flow(self, flow: Flow) -> None:
        self._lanes.budget.resize(flow.connections)
        before, self._flow = self._flow, flow.may_begin
        if flow.may_begin and not before:
            self._lanes.go_on()

    def _note_shut(self, shut: Shut) -> None:
        self._shut[shut.site] = self._clock.monotonic() + shut.seconds

    def _note_folded(self, folded: Folded) -> None:
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._sync_thread, self._journal.folded, folded.chunks, folded.position)
        done.add_done_callback(self._noted)

    def _noted(self, done: asyncio.Future[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            self.crashed(error)

    def _begin_drain(self) -> None:
        self._drain.set()

    def _may_begin(self) -> bool:
        return self._flow and not self._full and not self._drain.is_set()

    # What the owner has to know.

    def _lane_changed(self, lane: Lane) -> None:
        self._changed[lane.site.name, lane.position] = lane
        self._tell_soon()

    def _park(self, chunk: int, index: int) -> None:
        self._parked.setdefault(chunk, []).append(index)
        self._tell_soon()

    def _tell_soon(self) -> None:
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        """Pauses first: they say when what is parked may be tried again."""
        self._telling = False
        now = self._clock.monotonic()
        changed, self._changed = self._changed, {}
        for (site, position), lane in changed.items():
            self.channel.post(
                Pause(
                    site=site,
                    position=position,
                    seconds=max(0.0, lane.pacer.paused_until - now),
                    closed=[_closed(exchange, kind[1], now) for kind, exchange in lane.exchanges.items()],
                    learned=lane.pacer.statistics(),
                    complaint=self._conclusions.complaint(site),
                )
            )
        parked, self._parked = self._parked, {}
        for chunk, indexes in parked.items():
            self.channel.post(Parked(chunk, indexes))

    async def _sweep(self) -> None:
        """Overdue replies, idle lanes, suppressions made elsewhere, the journal's room, and reports."""
        next_look = next_count = 0.0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._clock.monotonic()
            self._lanes.sweep(now)
            if now < next_look:
                continue
            next_look = now + LOOK_SECONDS
            await self._in_thread(self._suppressions.refresh)
            if gone := self._lanes.drop_idle(now):
                self.channel.post(Gone(gone))
            if stale := self._journal.stale_chunks():
                self.channel.post(Stale(sorted(stale)))
            if self._syncs.full or self._full:
                await self._look_for_room()
            self._report(now)
            if now >= next_count:
                next_count = now + COUNT_SECONDS
                await self._in_thread(self._tally.flush)
                self.channel.post(Spent(await self._spent()))

    async def _spent(self) -> CpuSpent:
        watch = self._watch
        return await self._meter.spent() + CpuSpent(blocks=watch.blocks, blocked_seconds=watch.blocked_seconds)

    async def _look_for_room(self) -> None:
        full = not await asyncio.get_running_loop().run_in_executor(self._sync_thread, self._syncs.make_room)
        if full != self._full:
            self._full = full
            if not full:
                self._lanes.go_on()

    def _report(self, now: float) -> None:
        lanes = [(lane.position, lane.statistics(now)) for lane in self._lanes.busiest(REPORTED_LANES)]
        self.channel.post(Report(lanes=lanes, full=self._full))

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._look_thread, function, *arguments)


def _closed(exchange: Exchange, domain: str, now: float) -> Closed:
    return Closed(exchange.hosts, domain, exchange.protection, max(0.0, exchange.closed_until - now))


def failure_of(error: BaseException) -> tuple[str, bool, str | None]:
    """Message, whether the disk's, and hint: what the owner is told of a node that cannot go on."""
    if isinstance(error, StateError | InternalError):
        return str(error), isinstance(error, StateError), getattr(error, "hint", None)
    return f"{type(error).__name__}: {error}", False, None
