"""Deal the lanes of a run out to nodes, hear what became of their recipients, and go on without a node that dies.

What is folded, published and suppressed is done by the owner alone, from what the nodes' journals have durably.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from bulkmail.clock import Clock
from bulkmail.engine.lane import LOW_WATER
from bulkmail.engine.lanes import DRAIN_SECONDS, QUIT_SECONDS
from bulkmail.engine.nodes.channel import Channel
from bulkmail.engine.nodes.desk import Desk, NodeStarter
from bulkmail.engine.nodes.messages import (
    FROM_NODE,
    Anomaly,
    Drain,
    Drained,
    Failed,
    Flow,
    Folded,
    FromNode,
    Gone,
    Marked,
    Parked,
    Pause,
    Ready,
    Recorded,
    Report,
    Spent,
    Stale,
    TlsCounts,
)
from bulkmail.engine.nodes.mirror import LaneMirror, Mirror
from bulkmail.engine.nodes.seat import Held, Seat
from bulkmail.engine.nodes.table import Table
from bulkmail.errors import InternalError, StateError
from bulkmail.model.campaign import Campaign, EgressSource
from bulkmail.model.cpu import CpuSpent
from bulkmail.store.handover import Leftovers, leftovers, outcomes_in
from bulkmail.store.recovery import remove_journal
from bulkmail.store.replay import is_news
from bulkmail.store.segments import node_folder

START_SECONDS = 60.0
END_SECONDS = 5.0
# A node reports twice a second; one that says nothing for so long, while we have looked around so often, is ended.
SILENT_SECONDS, SILENT_SWEEPS = 60.0, 100
# How often a full disk is tried again.
FULL_SECONDS = 1.0


class Deal:
    """Stands in for `Lanes` where they are at `nodes` other processes; `connections` are those of all together.

    `exchanges_of` and `put` are what the scheduler asks, `statistics` what a display does (see `Table`).
    """

    def __init__(
        self,
        campaign: Campaign,
        sources: Sequence[EgressSource],
        desk: Desk,
        *,
        starter: NodeStarter,
        nodes: int,
        connections: int,
        clock: Clock,
    ) -> None:
        self._desk = desk
        self._table = Table(campaign, sources, waiting=desk.waiting, clock=clock)
        self.exchanges_of, self.put, self.statistics = self._table.exchanges_of, self._table.put, self._table.statistics
        self._starter = starter
        self._nodes = nodes
        self._connections = connections
        self._clock = clock
        self._started = 0
        self._flow = True
        self._stopped = self._draining = False
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: dict[type, Callable[[Seat, Any], None]] = {
            Ready: self._ready,
            Failed: self._failed,
            Recorded: self._recorded,
            Parked: self._parked,
            Pause: self._paused,
            Report: self._reported,
            Spent: self._spent,
            Gone: self._table.forget,
            Stale: self._stale,
            TlsCounts: lambda _, counts: self._desk.tally.add(counts.sessions),
            Drained: self._drained,
            Anomaly: self._anomaly,
        }

    def __len__(self) -> int:
        return len(self._table.lanes)

    # The nodes.

    async def start(self) -> None:
        """Have all nodes ready. Raises StateError and InternalError."""
        await asyncio.gather(*(self._seat_up() for _ in range(self._nodes)))

    @property
    def full(self) -> bool:
        """Whether a node's journal has no room."""
        return any(seat.full for seat in self._table.alive)

    @property
    def cpu(self) -> CpuSpent:
        """What the nodes have taken, up to their last words about it."""
        return sum((seat.cpu for seat in self._table.seats), CpuSpent())

    async def _seat_up(self) -> None:
        self._started += 1
        number = self._started
        folder = node_folder(self._desk.store.journal_folder, number)
        await self._desk.in_store(folder.mkdir, 0o700)
        process, ours, setup = await self._starter.start(
            number,
            folder,
            events_offset=self._desk.events_offset(),
            connections=max(1, self._connections // self._nodes),
        )
        seat = Seat(number, folder, process)
        seat.channel = await Channel.over(
            ours,
            FROM_NODE,
            on_messages=partial(self._receive, seat),
            on_closed=partial(self._closed, seat),
            on_error=self._desk.on_crash,
        )
        self._table.seats.append(seat)
        seat.channel.post(setup)
        await self._until(lambda: seat.ready or seat.gone or self._stopped, START_SECONDS)
        if not (seat.ready or self._stopped):
            raise seat.failure or InternalError(f"node {number} (process {process.pid}) did not start")
        self._share_out()

    def _share_out(self) -> None:
        """Tell each node whether to begin messages, and its share of the connections."""
        alive = self._table.alive
        for seat in alive:
            seat.channel.post(Flow(may_begin=self._flow, connections=max(1, self._connections // len(alive))))

    # What the scheduler asks.

    def about_to_fold(self) -> Callable[[Collection[int]], None]:
        """Called before outcomes are copied into the tables; to be called, with the chunks, when they are in."""
        positions = [(seat, seat.position) for seat in self._table.alive]

        def folded(chunks: Collection[int]) -> None:
            numbers = list(chunks)
            for seat, position in positions:
                if not seat.gone:
                    seat.channel.post(Folded(numbers, position))

        return folded

    # What whoever drives the run asks.

    def sweep(self, now: float) -> None:
        """Let the nodes follow what is allowed now, and end one that has said nothing for a long time."""
        for seat in self._table.alive:
            seat.sweeps_silent += 1
            # Counted as well, for we may have been held up ourselves.
            if now - seat.heard_at > SILENT_SECONDS and seat.sweeps_silent > SILENT_SWEEPS:
                seat.process.kill()
        flow = self._desk.may_begin()
        if flow != self._flow:
            self._flow = flow
            self._share_out()

    def go_on(self) -> None:
        """The flow was held, and may go on."""
        self.sweep(self._clock.monotonic())
        self._desk.on_low()

    def drop_idle(self, now: float) -> None:
        """The nodes say which lanes they have forgotten."""

    def stop(self) -> None:
        """Nothing more will be put: a start that is under way need not go on."""
        self._stopped = True
        self._changed.set()

    async def drain(self) -> None:
        """Have every node wait for its replies, close its connections and hand over what it has recorded."""
        self._flow = False
        if not self._draining:
            self._draining = True
            for seat in self._table.alive:
                seat.channel.post(Drain())
        seconds = DRAIN_SECONDS + QUIT_SECONDS + END_SECONDS
        await self._until(lambda: not self._table.alive and not self._tasks, seconds)

    async def close(self) -> None:
        """The same; a node that does not come to its end is ended, and what its journal has is taken from there."""
        await self.drain()
        for seat in self._table.alive:
            seat.process.kill()
        await self._until(lambda: not self._table.alive and not self._tasks, END_SECONDS)

    async def leave(self, *, folded: bool) -> None:
        """Let the nodes go. With `folded`, tables and log have all of theirs: their journals are deleted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for seat in self._table.seats:
            seat.leaving = True
            seat.channel.close()
            try:
                await asyncio.wait_for(seat.process.wait(), END_SECONDS)
            except TimeoutError:
                seat.process.kill()
                await seat.process.wait()
            # One that never was ready has recorded nothing; of one that failed, the next start takes what there is.
            if folded and (seat.drained or not seat.ready) and seat.folder.exists():
                await self._desk.in_store(remove_journal, seat.folder)

    # What the nodes say.

    def _receive(self, seat: Seat, messages: Sequence[FromNode]) -> None:
        seat.heard_at, seat.sweeps_silent = self._clock.monotonic(), 0
        for message in messages:
            self._handlers[type(message)](seat, message)

    def _ready(self, seat: Seat, ready: Ready) -> None:
        seat.ready = True
        self._changed.set()

    def _failed(self, seat: Seat, failed: Failed) -> None:
        what = f"node {seat.number}: {failed.message}"
        seat.failure = StateError(what, hint=failed.hint) if failed.state else InternalError(what)

    def _recorded(self, seat: Seat, recorded: Recorded) -> None:
        heard = self._desk.recorder.heard
        concluded: defaultdict[LaneMirror, int] = defaultdict(int)
        for entry in outcomes_in(recorded.records):
            held = seat.held[entry.chunk]
            mirror = held.places.pop(entry.index)
            mirror.count(-1)
            concluded[mirror.lane] += 1
            if not held.places:
                del seat.held[entry.chunk]
            heard(held.active, entry.index, entry.outcome, mirror.lane.key[0])
        seat.position = recorded.position
        self._desk.syncs.pass_on(
            recorded.lines,
            recorded.suppressions,
            recorded.soft_bounces,
            published=partial(self._published, seat, recorded.position),
        )
        for lane, count in concluded.items():
            seat.load -= count
            lane.lately, lane.quiet = count, False
            self._look_at_supply(lane)

    def _published(self, seat: Seat, position: int, offset: int) -> None:
        if not seat.gone:
            seat.channel.post(Marked(position, offset))

    def _look_at_supply(self, lane: LaneMirror) -> None:
        if not lane.told_low and lane.least_supply < LOW_WATER:
            lane.told_low = True
            self._desk.on_low()

    def _parked(self, seat: Seat, parked: Parked) -> None:
        held = seat.held[parked.chunk]
        now, unix = self._clock.monotonic(), self._clock.time()
        for index in parked.indexes:
            mirror = held.places.pop(index)
            mirror.count(-1)
            seat.load -= 1
            wait = min(one.open_again_at for one in mirror.alternatives) - now
            self._desk.recorder.park(held.active, index, unix + max(0.0, wait))
        if not held.places:
            del seat.held[parked.chunk]

    def _paused(self, seat: Seat, pause: Pause) -> None:
        lane = self._table.lanes.get((pause.site, pause.position))
        if lane is None or lane.seat is not seat:
            return
        now = self._clock.monotonic()
        lane.paused_until, lane.learned = now + pause.seconds, pause.learned
        for closed in pause.closed:
            mirror = lane.mirrors.get((closed.hosts, closed.domain, closed.protection))
            if mirror is not None:
                mirror.closed_until = now + closed.seconds if closed.seconds else 0.0
        if pause.complaint:
            self._desk.conclusions.complained(pause.site, pause.complaint)
        self._table.tell_other_relays(lane, now)
        self._desk.on_low()

    def _reported(self, seat: Seat, report: Report) -> None:
        seat.full = report.full
        for position, statistics in report.lanes:
            lane = self._table.lanes.get((statistics.site, position))
            if lane is None or lane.seat is not seat:
                continue
            lane.statistics = statistics
            if lane.quiet:
                lane.lately = 0
            lane.quiet = True
            self._look_at_supply(lane)

    def _spent(self, seat: Seat, spent: Spent) -> None:
        seat.cpu = spent.cpu

    def _stale(self, seat: Seat, stale: Stale) -> None:
        self._begin(self._fold_for(seat, stale.chunks, seat.position))

    async def _fold_for(self, seat: Seat, chunks: list[int], position: int) -> None:
        still_open = await self._desk.in_store(self._desk.store.still_open, chunks)
        if still_open:
            await self._desk.checkpoint(still_open)
        folded = sorted(set(chunks) - still_open)
        if folded and not seat.gone:
            seat.channel.post(Folded(folded, position))

    def _anomaly(self, seat: Seat, anomaly: Anomaly) -> None:
        self._desk.keep_anomaly(anomaly.site, anomaly.what)
        for other in self._table.alive:
            if other is not seat:
                other.channel.post(anomaly)

    def _drained(self, seat: Seat, drained: Drained) -> None:
        seat.drained = True
        self._changed.set()

    # The end of a node.

    def _closed(self, seat: Seat) -> None:
        seat.gone = True
        self._changed.set()
        if seat.leaving or seat.drained:
            return
        if seat.failure is not None:
            self._desk.on_crash(seat.failure)
        elif seat.ready:
            self._begin(self._bury(seat))

    async def _bury(self, seat: Seat) -> None:
        """A node has died: take what its journal knows, and let its lanes go on elsewhere."""
        seat.process.kill()
        status = await seat.process.wait()
        doubts = self._take_leftovers(seat, await self._desk.in_store(leftovers, seat.folder))
        how = f"signal {-status}" if status < 0 else f"status {status}"
        self._desk.recorder.run_event(
            "node", f"node {seat.number} (process {seat.process.pid}) ended: {how}; {doubts} recipients in doubt"
        )
        if not self._draining:
            if not self._table.alive:
                await self._seat_up()
            self._table.move_lanes(seat)
            self._share_out()
        await self._retire(seat)
        seat.drained = True
        self._changed.set()

    def _take_leftovers(self, seat: Seat, found: Leftovers) -> int:
        """Conclude what was recorded and never handed over, and what is in doubt; how many those are."""
        conclusions, doubts = self._desk.conclusions, 0
        for entry in found.outcomes:
            held = seat.held.get(entry.chunk)
            if held is None or entry.index not in held.places:
                continue
            if is_news(held.active.chunk.outcomes, entry.index, entry.outcome):
                mirror = self._forget(held, entry.index)
                conclusions.adopt(held.active, entry.index, entry.outcome, mirror.lane.key[0])
        for intent in found.intents:
            held = seat.held.get(intent.chunk)
            if held is None or intent.index not in held.places:
                continue
            if intent.attempt > held.active.chunk.outcomes.attempt(intent.index):
                mirror = self._forget(held, intent.index)
                what = "in doubt: its sending process ended before a reply was recorded"
                conclusions.doubt(held.active, intent.index, intent.attempt, what, site=mirror.lane.key[0])
                doubts += 1
        return doubts

    @staticmethod
    def _forget(held: Held, index: int) -> Mirror:
        mirror = held.places.pop(index)
        mirror.count(-1)
        return mirror

    async def _retire(self, seat: Seat) -> None:
        """Delete a dead node's journal, once all that it knows is in the log and in the tables."""
        published = asyncio.Event()
        self._desk.syncs.pass_on(b"", published=lambda _: published.set())
        await published.wait()
        # Room on a disk is no event.
        while not await self._fold_all():  # noqa: ASYNC110
            await asyncio.sleep(FULL_SECONDS)
        await self._desk.in_store(remove_journal, seat.folder)

    async def _fold_all(self) -> bool:
        return await self._desk.checkpoint(await self._desk.in_store(self._desk.store.still_open, None))

    # Beneath.

    def _begin(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._desk.on_crash(error)

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
