"""Pause a run, let it go on or give it up: by orders from elsewhere, for its canary, while the disk is full."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bulkmail.clock import Clock
from bulkmail.engine.canary import CanaryWatch
from bulkmail.engine.lanes import Lanes
from bulkmail.engine.recorder import Recorder
from bulkmail.engine.scheduler import Scheduler
from bulkmail.engine.statistics import DISK_FULL, Statistics
from bulkmail.engine.storethread import StoreThread
from bulkmail.engine.syncs import Syncs
from bulkmail.model.campaign import Canary
from bulkmail.store.orders import Kind, Order, give_order, standing_order
from bulkmail.store.runs import Run
from bulkmail.store.store import Store

if TYPE_CHECKING:
    from bulkmail.engine.nodes.deal import Deal


class Gate:
    """Whether messages may begin: not while the run is stopping, is paused, or waits for room on the disk."""

    __slots__ = ("disk_full", "paused", "stopping")

    def __init__(self) -> None:
        self.stopping = self.paused = self.disk_full = False

    def may_begin(self) -> bool:
        """Asked before each message."""
        return not (self.stopping or self.disk_full or self.paused)


class Pausing:
    """Looks whether a run is to be held, and opens and closes its `gate`; each look is cheap, and none comes by itself.

    An order to cancel calls `stop` with `cancelled` set, and so does one to pause where the run does not `wait`.
    """

    def __init__(
        self,
        run: Run,
        gate: Gate,
        *,
        store: Store,
        in_store: StoreThread,
        recorder: Recorder,
        syncs: Syncs,
        statistics: Statistics,
        lanes: "Lanes | Deal",
        scheduler: Scheduler[Any],
        clock: Clock,
        wait: bool,
        stop: Callable[[], None],
    ) -> None:
        self._run = run
        self._gate = gate
        self._store = store
        self._in_store = in_store
        self._recorder = recorder
        self._syncs = syncs
        self._statistics = statistics
        self._lanes = lanes
        self._scheduler = scheduler
        self._clock = clock
        self._wait = wait
        self._stop = stop
        self._canary: CanaryWatch | None = None
        self.cancelled = False

    async def hold_for(self, canary: Canary) -> None:
        """Recipients that are still held in the store follow when those before them have shown that they can."""
        held = await self._in_store(self._store.held, self._run.number)
        self._canary = CanaryWatch(canary, held) if held else None

    def look_at_orders(self) -> None:
        """What somebody has ordered from elsewhere, in force at once."""
        order = standing_order(self._store.path, self._run.id)
        if order is not None and order.kind is Kind.CANCEL and not self.cancelled:
            self.cancelled = True
            self._stop()
        paused = order is not None and order.kind is Kind.PAUSE
        if paused and not self._wait:
            self._stop()
        if paused == self._gate.paused:
            return
        self._gate.paused = paused
        self._statistics.problem = f"paused: {order.reason}" if order is not None and paused else ""
        self._recorder.run_event("paused" if paused else "resumed", order.reason if order is not None else "")
        if not paused:
            self._lanes.go_on()

    async def look_at_canary(self, now: float) -> None:
        """Let the others follow, or pause."""
        if self._canary is None or self._gate.paused or self._gate.stopping:
            return
        verdict = self._canary.look(self._statistics.totals, now)
        if verdict.reason:
            give_order(
                self._store.path,
                self._run.id,
                Order(kind=Kind.PAUSE, reason=verdict.reason, time=self._clock.time()),
            )
            self.look_at_orders()
        elif verdict.release:
            await self._in_store(self._store.release_held, self._run.number)
            self._recorder.run_event("canary", f"{self._canary.held:,} recipients follow")
            self._canary = None
            self._scheduler.reload()
            self._lanes.go_on()

    async def look_at_disk(self) -> None:
        """Stop the flow while the disk is full, and go on by itself."""
        full = self._syncs.full or self._scheduler.disk_full
        if full:
            full = not await self._in_store(self._syncs.make_room) or self._scheduler.disk_full
        full = full or self._lanes.full
        if full != self._gate.disk_full:
            self._gate.disk_full = full
            self._statistics.problem = DISK_FULL if full else ""
            self._recorder.run_event("paused" if full else "resumed", "the disk is full" if full else "")
            if not full:
                self._lanes.go_on()
