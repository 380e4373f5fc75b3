"""Write down what happened: journal in the same tick, events and suppressions after the sync.

Rules: an outcome is in the journal before anything else may follow from it; an event is published only after
`fdatasync`; a sync that failed is never retried, the run stops (a second fsync would lie about the lost pages).
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from msgspec import Struct
from msgspec.structs import replace

from bulkmail.clock import Clock, Stamps, rfc3339
from bulkmail.engine.intents import Intents
from bulkmail.engine.publication import Delivery, Entry, Publication
from bulkmail.engine.softbounces import count_soft_bounces
from bulkmail.engine.statistics import Statistics
from bulkmail.engine.work import FEW, ActiveChunk
from bulkmail.errors import DiskFull, StateError
from bulkmail.events.log import EventLog
from bulkmail.model.campaign import SoftBounces
from bulkmail.model.delivery import Disposition, Event, Reason, Reply, Stage
from bulkmail.native.deliveries import Deliveries
from bulkmail.native.lines import DeliveredLines
from bulkmail.native.message import Message
from bulkmail.store.journal import Journal
from bulkmail.store.outcomes import Outcome
from bulkmail.store.runs import Run
from bulkmail.store.suppressions import SoftBounce, Suppression, Suppressions

SYNC_SECONDS = 0.05
# How often a full disk is tried again.
FULL_SECONDS = 1.0


class Transmission(Struct, frozen=True, kw_only=True):
    """The message of an attempt, and the connection that it was meant for; empty where it never came so far."""

    host: str | None = None
    source: str | None = None
    tls: str | None = None
    size_bytes: int | None = None
    milliseconds: float | None = None
    message_id: str | None = None


NOTHING_SENT = Transmission()


class Recorder:
    """The one writer of a run's journal and events.

    `on_progress(active)` is called when few recipients of a chunk are outstanding, and when none is; `subscriber`,
    where set, gets every published event. With `sync_intents` no message is sent whole before its intent would outlive
    a power failure. `deliveries` is the short way of `intents` and `delivered`; whoever uses it tells `moved`.
    """

    def __init__(
        self,
        *,
        run: Run,
        journal: Journal,
        event_log: EventLog | None,
        suppressions: Suppressions | None,
        statistics: Statistics,
        clock: Clock,
        sync_thread: Executor,
        store_thread: Executor,
        soft_bounces: SoftBounces | None = None,
        sync_intents: bool = False,
    ) -> None:
        self.intents = Intents(journal, clock=clock, sync_thread=sync_thread, synced=sync_intents)
        self._soft_bounces = soft_bounces
        self._run = run.id
        self._run_number = run.number
        self._journal = journal
        self._event_log = event_log
        self._publication = Publication(run.id, event_log)
        self._suppressions = suppressions
        self._statistics = statistics
        self._clock = clock
        self._sync_thread = sync_thread
        self._store_thread = store_thread
        self._events: list[Entry] = []
        self._lines = DeliveredLines(run.id)
        self._suppress: list[Suppression] = []
        self._soft: list[SoftBounce] = []
        self._passed: list[Callable[[int], None]] = []
        self._dirty = asyncio.Event()
        self._stamps = Stamps()
        self.deliveries = Deliveries(
            journal=journal,
            lines=self._lines,
            time=clock.time,
            stamp=rfc3339,
            few=FEW,
            on_first=self._dirty.set,
            on_few=lambda active: self.on_progress(active),
            intents_wanted=self.intents.simple,
        )
        self._closing = False
        self._refused = False
        self.on_progress: Callable[[ActiveChunk], None] = lambda active: None
        self.subscriber: Callable[[Sequence[Event]], None] | None = None

    @property
    def full(self) -> bool:
        """True where the disk has no room for journal, events or suppressions: nothing new may be begun."""
        return self._refused or self._journal.full

    def make_room(self) -> bool:
        """Try again to get room on a full disk; True where there is some. May be called from any thread."""
        return self._journal.prepare() and not self.full

    def answered(self, message: Message) -> None:
        """The attempt came to nothing that concerns the recipient, who is still to be tried and not in doubt."""
        self._journal.answered(message.chunk.chunk.number, message.index)

    def conclude(
        self,
        active: ActiveChunk,
        index: int,
        disposition: Disposition,
        *,
        attempt: int,
        stage: Stage = Stage.NONE,
        reason: Reason = Reason.NONE,
        reply: Reply | None = None,
        explanation: str = "",
        due: float = 0.0,
        event: str = "attempt",
        site: str | None = None,
        sent: Transmission = NOTHING_SENT,
    ) -> None:
        """Record the outcome of one recipient; `due` is when a deferred one is tried again (Unix seconds)."""
        now = self._clock.time()
        text = str(reply) if reply is not None else explanation
        outcome = Outcome(
            disposition=disposition,
            attempt=attempt,
            reason=reason,
            stage=stage,
            code=reply.code if reply is not None else 0,
            time=now,
            due=due,
            text="" if disposition is Disposition.DELIVERED else text,
        )
        chunk = active.chunk
        before = chunk.outcomes.disposition(index)
        # The column first: a fold begun after this record has it then.
        chunk.outcomes.set(index, outcome)
        self._journal.outcome(chunk.number, index, outcome)
        # What the DNS decided was decided at no site.
        self._statistics.moved(before, disposition, site if site is not None and stage is not Stage.DNS else "")
        self._note(
            Event(
                time=self._stamps.text(now),
                event=event,
                run=self._run,
                recipient=chunk.addresses[index],
                attempt=attempt or None,
                disposition=disposition.label,
                code=reply.code if reply is not None else None,
                enhanced=reply.enhanced if reply is not None else None,
                reply=text or None,
                stage=stage.label if stage else None,
                reason=reason.label if reason else None,
                site=site,
                host=sent.host,
                source=sent.source,
                tls=sent.tls,
                bytes=sent.size_bytes,
                milliseconds=sent.milliseconds,
                message_id=sent.message_id,
            )
        )
        self._resolved(active)

    def delivered(
        self,
        message: Message,
        code: int,
        text: bytes,
        *,
        site: str,
        host: str,
        source: str | None,
        tls: str | None,
        milliseconds: float,
    ) -> None:
        """`conclude` of a message that the receiver took, by its reply as the parser gave it."""
        now = self._clock.time()
        active, index, attempt = message.chunk, message.index, message.attempt
        chunk = active.chunk
        before = chunk.outcomes.disposition(index)
        chunk.outcomes.set_delivered(index, attempt, code, now)
        self._journal.delivered(chunk.number, index, attempt, code, now)
        self._statistics.moved(before, Disposition.DELIVERED, site)
        self._note(
            Delivery(
                now,
                message.address,
                attempt,
                code,
                text,
                site,
                host,
                source,
                tls,
                message.size_bytes,
                milliseconds,
                message.message_id,
            )
        )
        self._resolved(active)

    def park(self, active: ActiveChunk, index: int, due: float) -> None:
        """Hand a recipient back without an attempt: its lane has no use for it before `due` (Unix seconds).

        From now on its time to expire runs. Not journalled: losing this costs an early try, nothing else.
        """
        outcomes = active.chunk.outcomes
        now = self._clock.time()
        outcomes.set(index, replace(outcomes.get(index), time=now, due=due))
        outcomes.set_first_tried(index, now)
        self._resolved(active)

    def heard(self, active: ActiveChunk, index: int, outcome: Outcome, site: str) -> None:
        """A node has concluded a recipient: its journal has the outcome already, and the event is passed on by it."""
        outcomes = active.chunk.outcomes
        before = outcomes.disposition(index)
        outcomes.set(index, outcome)
        self._statistics.moved(before, outcome.disposition, site if outcome.stage is not Stage.DNS else "")
        self._resolved(active)

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

    def note(self, event: Event) -> None:
        """An event that is no recipient's outcome."""
        self._note(event)

    def lane_event(
        self,
        *,
        reason: Reason,
        stage: Stage,
        reply: Reply | None,
        explanation: str,
        site: str,
        source: str | None = None,
        host: str | None = None,
    ) -> None:
        """A lane was slowed, paused or given less at once; `explanation` says for how long and why."""
        text = "; ".join(part for part in (str(reply) if reply is not None else "", explanation) if part)
        self.note(
            Event(
                time=self._stamps.text(self._clock.time()),
                event="lane",
                run=self._run,
                code=reply.code if reply is not None else None,
                enhanced=reply.enhanced if reply is not None else None,
                reply=text,
                stage=stage.label,
                reason=reason.label,
                site=site,
                host=host,
                source=source,
            )
        )

    def run_event(self, reason: str, explanation: str = "") -> None:
        """The run began, was resumed, paused, stopped or finished."""
        self.note(
            Event(
                time=self._stamps.text(self._clock.time()),
                event="run",
                run=self._run,
                reason=reason,
                reply=explanation or None,
            )
        )

    def suppress(self, entry: Suppression) -> None:
        """Put an address on the suppression list with the next sync."""
        self._suppress.append(entry)
        self._dirty.set()

    def count_soft_bounce(self, key: str, address: str, reason: Reason) -> None:
        """One more soft bounce of an address, with the next sync; nothing where they are not counted."""
        if self._soft_bounces is not None:
            self._soft.append(
                SoftBounce(key=key, address=address, run=self._run, reason=reason.label, time=self._clock.time())
            )
            self._dirty.set()

    async def run_syncs(self) -> None:
        """Sync, publish, suppress: every 50 ms while there is something, until `close`. Raises StateError."""
        closing = False
        while not closing:
            await self._dirty.wait()
            if not self._closing:
                await asyncio.sleep(SYNC_SECONDS)
            # What is recorded while the sync runs, `close` included, needs another one.
            closing = self._closing
            await self._sync()

    def close(self) -> None:
        """`run_syncs` makes all recorded so far durable, and returns."""
        self._closing = True
        self._dirty.set()

    async def _sync(self) -> None:
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

    def _wait_for_room(self) -> None:
        """The disk is full: what was recorded is kept, and tried again by itself."""
        self._refused = True
        asyncio.get_running_loop().call_later(FULL_SECONDS, self._dirty.set)

    async def _log_events(self) -> list[Entry]:
        self._bring_lines()
        events, self._events = self._events, []
        try:
            await asyncio.get_running_loop().run_in_executor(self._sync_thread, self._write, events)
        except DiskFull:
            self._events = events + self._events
            raise
        return events

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

    def publish(self, events: Sequence[Event]) -> None:
        """Hand durable events to the subscriber."""
        if events and self.subscriber is not None:
            self.subscriber(events)

    def moved(self, counts: Sequence[tuple[int, int]], site: str) -> None:
        """So many were delivered by way of `deliveries`, by the disposition that they had before."""
        for before, recipients in counts:
            self._statistics.moved(Disposition(before), Disposition.DELIVERED, site, recipients)

    def _note(self, entry: Event | Delivery) -> None:
        self._bring_lines()
        self._events.append(entry)
        self._dirty.set()

    def _bring_lines(self) -> None:
        """What `deliveries` has written goes before what comes now."""
        if self._lines:
            self._events.append(self._lines.take())

    def _write(self, events: list[Entry]) -> None:
        try:
            self._journal.sync()
            # Before the mark that covers them: after a power loss the log must not lack what is called published.
            self._publication.write(events)
        except OSError as error:
            raise StateError(
                f"the event log cannot be written: {error}", hint="free the disk and send again"
            ) from error

    def _resolved(self, active: ActiveChunk) -> None:
        active.outstanding -= 1
        if active.outstanding == 0 or active.outstanding == FEW:
            self.on_progress(active)
