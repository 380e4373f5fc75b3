"""Make what was recorded durable, then do what may follow: event log, suppressions, subscribers.

Rules: an event is published only after `fdatasync`; a sync that failed is never retried, the run stops (a second fsync
would lie about the lost pages); what a full disk refuses is kept, and tried again when there may be room.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from bulkmail.engine.publication import Delivery, Entry, Publication
from bulkmail.engine.softbounces import count_soft_bounces
from bulkmail.errors import DiskFull, StateError
from bulkmail.events.log import EventLog
from bulkmail.model.campaign import SoftBounces
from bulkmail.model.delivery import Event, Reason
from bulkmail.native.lines import DeliveredLines
from bulkmail.store.journal import Journal
from bulkmail.store.runs import Run
from bulkmail.store.suppressions import SoftBounce, Suppression, Suppressions

SYNC_SECONDS = 0.05
# How often a full disk is tried again.
FULL_SECONDS = 1.0


class Syncs:
    """One run's syncs, and what waits for the next: entries of the event log, suppressions, soft bounces.

    `subscriber`, where set, gets every published event. Who writes to `lines` without `note` calls `wake` with the
    first of them.
    """

    def __init__(
        self,
        *,
        run: Run,
        journal: Journal,
        event_log: EventLog | None,
        suppressions: Suppressions | None,
        sync_thread: Executor,
        store_thread: Executor,
        soft_bounces: SoftBounces | None = None,
    ) -> None:
        self.lines = DeliveredLines(run.id)
        self._run = run.id
        self._run_number = run.number
        self._journal = journal
        self._event_log = event_log
        self._publication = Publication(run.id, event_log)
        self._suppressions = suppressions
        self._soft_bounces = soft_bounces
        self._sync_thread = sync_thread
        self._store_thread = store_thread
        self._events: list[Entry] = []
        self._suppress: list[Suppression] = []
        self._soft: list[SoftBounce] = []
        self._passed: list[Callable[[int], None]] = []
        self._dirty = asyncio.Event()
        self._closing = False
        self._refused = False
        self.subscriber: Callable[[Sequence[Event]], None] | None = None

    @property
    def full(self) -> bool:
        """True where the disk has no room for journal, events or suppressions: nothing new may be begun."""
        return self._refused or self._journal.full

    def make_room(self) -> bool:
        """Try again to get room on a full disk; True where there is some. May be called from any thread."""
        return self._journal.prepare() and not self.full

    # What waits for the next sync.

    def wake(self) -> None:
        """There is something for the next sync."""
        self._dirty.set()

    def note(self, entry: Event | Delivery) -> None:
        """An event, for the log and the subscriber."""
        self._bring_lines()
        self._events.append(entry)
        self._dirty.set()

    def suppress(self, entry: Suppression) -> None:
        """Put an address on the suppression list."""
        self._suppress.append(entry)
        self._dirty.set()

    def count_soft_bounce(self, key: str, address: str, reason: Reason, time: float) -> None:
        """One more soft bounce of an address, at a Unix time; nothing where they are not counted."""
        if self._soft_bounces is not None:
            self._soft.append(SoftBounce(key=key, address=address, run=self._run, reason=reason.label, time=time))
            self._dirty.set()

    def pass_on(
        self,
        lines: bytes,
        suppressions: Sequence[Suppression] = (),
        soft_bounces: Sequence[SoftBounce] = (),
        *,
        published: Callable[[int], None],
    ) -> None:
        """What follows from outcomes that a node has recorded; `published(offset in the event log)` when it is done."""
        self._suppress += suppressions
        self._soft += soft_bounces
        self._events.append(lines)
        self._passed.append(published)
        self._dirty.set()

    # Syncs.

    async def run(self) -> None:
        """Sync, publish, suppress: every 50 ms while there is something, until `close`. Raises StateError."""
        closing = False
        while not closing:
            await self._dirty.wait()
            if not self._closing:
                await asyncio.sleep(SYNC_SECONDS)
            # What is recorded while the sync runs, `close` included, needs another one.
            closing = self._closing
            await self.sync()

    def close(self) -> None:
        """`run` makes all recorded so far durable, and returns."""
        self._closing = True
        self._dirty.set()

    async def sync(self) -> None:
        """Once; what a full disk refuses is kept and tried again a second later, or raised while closing.

        The mark comes last: what follows from an outcome (its event, a suppression) is done again after a crash. It
        speaks for what was gathered here, and not for what came in since.
        """
        self._dirty.clear()
        closing = self._closing
        entries: list[Entry] = []
        try:
            self._journal.flush()
            position, passed = self._journal.position, len(self._passed)
            entries = await self._log_events()
            await self._suppress_all()
            assert self._event_log is not None
            self._journal.mark(self._run_number, self._event_log.offset, position)
            for published in self._passed[:passed]:
                published(self._event_log.offset)
            del self._passed[:passed]
            self._refused = False
        except DiskFull:
            if closing:
                raise
            self._wait_for_room()
        finally:
            if entries and self.subscriber is not None:
                self.subscriber(self._publication.events(entries))

    def publish(self, events: Sequence[Event]) -> None:
        """Hand durable events to the subscriber."""
        if events and self.subscriber is not None:
            self.subscriber(events)

    # Beneath.

    def _wait_for_room(self) -> None:
        """The disk is full: what was recorded is kept, and tried again by itself."""
        self._refused = True
        asyncio.get_running_loop().call_later(FULL_SECONDS, self._dirty.set)

    def _bring_lines(self) -> None:
        """What was written to `lines` goes before what comes now."""
        if self.lines:
            self._events.append(self.lines.take())

    async def _log_events(self) -> list[Entry]:
        self._bring_lines()
        events, self._events = self._events, []
        try:
            await asyncio.get_running_loop().run_in_executor(self._sync_thread, self._write, events)
        except DiskFull:
            self._events = events + self._events
            raise
        return events

    def _write(self, events: list[Entry]) -> None:
        try:
            self._journal.sync()
            # Before the mark that covers them: after a power loss the log must not lack what is called published.
            self._publication.write(events)
        except OSError as error:
            raise StateError(
                f"the event log cannot be written: {error}", hint="free the disk and send again"
            ) from error

    async def _suppress_all(self) -> None:
        entries, self._suppress = self._suppress, []
        soft, self._soft = self._soft, []
        if not entries and not soft:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._store_thread, self._change_list, entries, soft)
        except DiskFull:
            self._suppress = entries + self._suppress
            self._soft = soft + self._soft
            raise

    def _change_list(self, entries: list[Suppression], soft: list[SoftBounce]) -> None:
        assert self._suppressions is not None
        self._suppressions.add_many(entries)
        if soft and self._soft_bounces is not None:
            count_soft_bounces(self._suppressions, soft, self._soft_bounces)
