"""A node's record of what happened: in its own journal in the same tick, and handed to the owner once it is durable."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from bulkmail.clock import Clock
from bulkmail.engine.nodes.messages import Recorded
from bulkmail.engine.publication import Entry
from bulkmail.engine.recorder import Recorder
from bulkmail.engine.statistics import Statistics
from bulkmail.engine.syncs import Syncs
from bulkmail.engine.work import ActiveChunk
from bulkmail.errors import DiskFull
from bulkmail.model.campaign import Campaign
from bulkmail.store.journal import Journal
from bulkmail.store.runs import Run


class NodeRecorder(Recorder):
    """A recorder that tells `on_parked(chunk, index)` of recipients that come back without an attempt."""

    def __init__(
        self,
        campaign: Campaign,
        run: Run,
        *,
        journal: Journal,
        syncs: "NodeSyncs",
        clock: Clock,
        sync_thread: Executor,
        on_parked: Callable[[int, int], None],
    ) -> None:
        super().__init__(
            run=run,
            journal=journal,
            syncs=syncs,
            statistics=Statistics(campaign, run.id, now=clock.monotonic()),
            clock=clock,
            sync_thread=sync_thread,
            sync_intents=campaign.delivery.intent == "synced",
        )
        self._on_parked = on_parked

    def park(self, active: ActiveChunk, index: int, due: float) -> None:
        """When it is due is the owner's to say, who knows all lanes."""
        self._on_parked(active.chunk.number, index)
        self._resolved(active)


class NodeSyncs(Syncs):
    """Syncs of a journal whose events, suppressions and marks are the owner's to write.

    `on_recorded` gets what the owner has to know, once the journal has it durably.
    """

    def __init__(
        self,
        campaign: Campaign,
        run: Run,
        *,
        journal: Journal,
        sync_thread: Executor,
        on_recorded: Callable[[Recorded], None],
    ) -> None:
        super().__init__(
            run=run,
            journal=journal,
            event_log=None,
            suppressions=None,
            sync_thread=sync_thread,
            store_thread=sync_thread,
            soft_bounces=campaign.feedback.soft_bounces,
        )
        self._on_recorded = on_recorded
        self._handed_over = journal.position

    async def sync(self) -> None:
        """Once; what a full disk refuses is kept and tried again a second later, or raised while closing."""
        self._dirty.clear()
        closing = self._closing
        try:
            self._journal.flush()
            self._refused = False
        except DiskFull:
            if closing:
                raise
            self._wait_for_room()
            return
        self._bring_lines()
        position = self._journal.position
        entries, self._events = self._events, []
        suppressions, self._suppress = self._suppress, []
        soft_bounces, self._soft = self._soft, []
        lines = await asyncio.get_running_loop().run_in_executor(self._sync_thread, self._make_durable, entries)
        recorded = Recorded(
            position=position,
            records=self._journal.recorded(self._handed_over, position),
            lines=lines,
            suppressions=suppressions,
            soft_bounces=soft_bounces,
        )
        self._handed_over = position
        self._on_recorded(recorded)

    def _make_durable(self, entries: list[Entry]) -> bytes:
        self._journal.sync()
        return self._publication.lines(entries)
