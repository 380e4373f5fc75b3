"""Look after a run a few times a second: what nobody says by itself, and what is to be kept now and then."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bulkmail.clock import Clock
from bulkmail.engine.lanes import Lanes
from bulkmail.engine.meter import CpuMeter
from bulkmail.engine.pausing import Pausing
from bulkmail.engine.scheduler import Scheduler
from bulkmail.engine.storethread import StoreThread
from bulkmail.engine.tally import Tally
from bulkmail.engine.watch import LoopWatch
from bulkmail.errors import DiskFull
from bulkmail.model.cpu import CpuSpent
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppressions

if TYPE_CHECKING:
    from bulkmail.engine.nodes.deal import Deal

COUNT_SECONDS = 30.0
# With the sweep before it, what another process suppresses holds here within a second.
LOOK_SECONDS = 0.5


class Upkeep:
    """Sweeps every `sweep_seconds` as long as `run` does; the CPU that the run has taken is kept at any time."""

    def __init__(
        self,
        run_number: int,
        *,
        store: Store,
        in_store: StoreThread,
        suppressions: Suppressions,
        pausing: Pausing,
        lanes: "Lanes | Deal",
        scheduler: Scheduler[Any],
        tally: Tally,
        meter: CpuMeter,
        watch: LoopWatch,
        clock: Clock,
        sweep_seconds: float,
    ) -> None:
        self._run_number = run_number
        self._store = store
        self._in_store = in_store
        self._suppressions = suppressions
        self._pausing = pausing
        self._lanes = lanes
        self._scheduler = scheduler
        self._tally = tally
        self._meter = meter
        self._watch = watch
        self._clock = clock
        self._sweep_seconds = sweep_seconds

    async def run(self) -> None:
        """Slow hosts that others wait for, idle lanes, orders, a full disk and suppressions made elsewhere."""
        next_look = next_count = 0.0
        while True:
            await asyncio.sleep(self._sweep_seconds)
            now = self._clock.monotonic()
            self._pausing.look_at_orders()
            await self._pausing.look_at_canary(now)
            self._lanes.sweep(now)
            if now >= next_look:
                next_look = now + LOOK_SECONDS
                await self._in_store(self._look)
                self._lanes.drop_idle(now)
                await self._fold_stale()
                await self._pausing.look_at_disk()
            if now >= next_count:
                next_count = now + COUNT_SECONDS
                await self._in_store(self._tally.flush)
                await self.keep_cpu()

    async def keep_cpu(self) -> None:
        """What the run has taken so far."""
        # No reason to stop: a full disk is dealt with where mail depends on it.
        with suppress(DiskFull):
            blocks = CpuSpent(blocks=self._watch.blocks, blocked_seconds=self._watch.blocked_seconds)
            spent = await self._meter.spent() + self._lanes.cpu + blocks
            await self._in_store(self._store.keep_cpu, self._run_number, spent)

    # Beneath.

    def _look(self) -> None:
        self._store.check_in_place()
        self._suppressions.refresh()

    async def _fold_stale(self) -> None:
        """Fold chunks that keep old segments of the journal alive."""
        stale = self._store.journal.stale_chunks()
        if stale:
            await self._scheduler.checkpoint(stale)
