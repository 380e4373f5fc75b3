"""Write down what happened, in the tick in which it happened: chunk's column, journal, event, counts.

Rule: an outcome is in the journal before anything else may follow from it (what does, and when: `engine/syncs`).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from msgspec import Struct
from msgspec.structs import replace

from bulkmail.clock import Clock, Stamps, rfc3339
from bulkmail.engine.intents import Intents
from bulkmail.engine.publication import Delivery
from bulkmail.engine.statistics import Statistics
from bulkmail.engine.syncs import Syncs
from bulkmail.engine.work import FEW, ActiveChunk
from bulkmail.model.delivery import Disposition, Event, Reason, Reply, Stage
from bulkmail.native.deliveries import Deliveries
from bulkmail.native.message import Message
from bulkmail.store.journal import Journal
from bulkmail.store.outcomes import Outcome
from bulkmail.store.runs import Run


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
    """The one writer of a run's outcomes and events.

    `on_progress(active)` is called when few recipients of a chunk are outstanding, and when none is. With
    `sync_intents` no message is sent whole before its intent would outlive a power failure. `deliveries` is the short
    way of `intents` and `delivered`; whoever uses it tells `moved`.
    """

    def __init__(
        self,
        *,
        run: Run,
        journal: Journal,
        syncs: Syncs,
        statistics: Statistics,
        clock: Clock,
        sync_thread: Executor,
        sync_intents: bool = False,
    ) -> None:
        self.intents = Intents(journal, clock=clock, sync_thread=sync_thread, synced=sync_intents)
        self._run = run.id
        self._journal = journal
        self._note = syncs.note
        self._statistics = statistics
        self._clock = clock
        self._stamps = Stamps()
        self.deliveries = Deliveries(
            journal=journal,
            lines=syncs.lines,
            time=clock.time,
            stamp=rfc3339,
            few=FEW,
            on_first=syncs.wake,
            on_few=lambda active: self.on_progress(active),
            intents_wanted=self.intents.simple,
        )
        self.on_progress: Callable[[ActiveChunk], None] = lambda active: None

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
        self._note(
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
        self._note(
            Event(
                time=self._stamps.text(self._clock.time()),
                event="run",
                run=self._run,
                reason=reason,
                reply=explanation or None,
            )
        )

    def moved(self, counts: Sequence[tuple[int, int]], site: str) -> None:
        """So many were delivered by way of `deliveries`, by the disposition that they had before."""
        for before, recipients in counts:
            self._statistics.moved(Disposition(before), Disposition.DELIVERED, site, recipients)

    def _resolved(self, active: ActiveChunk) -> None:
        active.outstanding -= 1
        if active.outstanding == 0 or active.outstanding == FEW:
            self.on_progress(active)
