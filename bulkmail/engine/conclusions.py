"""Decide what becomes of a recipient: bounced, deferred until when, expired, suppressed, or in doubt.

What the verdicts of policy mean here is final or due by the retry schedule; what they mean for the next delivery to the
same address goes on the suppression list.
"""

from collections.abc import Sequence

from bulkmail.address import comparison_key_of_wire
from bulkmail.clock import Clock
from bulkmail.engine.composer import ComposeFailure
from bulkmail.engine.exchange import Exchange
from bulkmail.engine.lane import Lane
from bulkmail.engine.recorder import NOTHING_SENT, Recorder, Transmission
from bulkmail.engine.router import Unroutable
from bulkmail.engine.syncs import Syncs
from bulkmail.engine.work import ActiveChunk
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Disposition, Reason, Reply, Stage
from bulkmail.native.message import Message
from bulkmail.policy.disposition import judge
from bulkmail.policy.feedback import is_soft_bounce
from bulkmail.policy.retry import expired, next_due
from bulkmail.policy.route import Site
from bulkmail.policy.rules import RuleBook
from bulkmail.policy.verdict import Verdict
from bulkmail.smtp.replies import parse_text
from bulkmail.store.outcomes import Outcome
from bulkmail.store.suppressions import Suppression, Suppressions

# Sites whose last complaint is kept, to be told to those who expire without an attempt.
MOST_COMPLAINTS = 10_000
_FAILED = (Disposition.BOUNCED, Disposition.EXPIRED)


class Conclusions:
    """One run's conclusions, each of one recipient and on record when the call returns.

    `syncs` takes what goes on the suppression list; `suppressions` are those known so far.
    """

    def __init__(
        self,
        campaign: Campaign,
        recorder: Recorder,
        syncs: Syncs,
        suppressions: Suppressions,
        *,
        clock: Clock,
        rules: RuleBook | None = None,
    ) -> None:
        self._rules = rules
        self._retry = [float(seconds) for seconds in campaign.delivery.retry]
        self._expire_seconds = float(campaign.delivery.expire)
        self._in_doubt = campaign.delivery.in_doubt
        self._campaign = campaign.campaign
        self._recorder = recorder
        self._syncs = syncs
        self.suppressions = suppressions
        self._clock = clock
        self._complaints: dict[str, str] = {}

    # Messages.

    def refused(
        self,
        message: Message,
        verdict: Verdict,
        *,
        stage: Stage,
        reply: Reply | None,
        explanation: str,
        site: str,
        sent: Transmission,
    ) -> None:
        """An attempt failed, and the recipient is charged with it."""
        disposition, due = self._disposition(message.chunk, message.index, message.attempt, verdict)
        self._recorder.conclude(
            message.chunk,
            message.index,
            disposition,
            attempt=message.attempt,
            stage=stage,
            reason=verdict.reason,
            reply=reply,
            explanation=explanation,
            due=due,
            site=site,
            sent=sent,
        )
        self._note_for_list(message.chunk, message.index, disposition, verdict, reply, explanation)

    def doubt(
        self,
        active: ActiveChunk,
        index: int,
        attempt: int,
        explanation: str,
        *,
        site: str,
        sent: Transmission = NOTHING_SENT,
    ) -> None:
        """The message was written whole and no reply came (RFC 1047): the campaign says what that counts as."""
        due = 0.0
        if self._in_doubt == "hold":
            disposition = Disposition.IN_DOUBT
        elif self._in_doubt == "assume_delivered":
            disposition = Disposition.DELIVERED
        else:
            verdict = judge(Stage.MESSAGE, None, Reason.CONNECTION_LOST)
            disposition, due = self._disposition(active, index, attempt, verdict)
        self._recorder.conclude(
            active,
            index,
            disposition,
            attempt=attempt,
            stage=Stage.MESSAGE,
            reason=Reason.CONNECTION_LOST,
            explanation=explanation,
            due=due,
            event="in_doubt",
            site=site,
            sent=sent,
        )

    def compose_failed(self, exchange: Exchange, failure: ComposeFailure) -> None:
        """A row that could not be rendered: final, and not the recipient's fault."""
        self._recorder.conclude(
            failure.active,
            failure.index,
            Disposition.BOUNCED,
            attempt=failure.active.chunk.outcomes.get(failure.index).attempt + 1,
            stage=Stage.COMPOSE,
            reason=Reason.CONTENT,
            explanation=failure.explanation,
            site=exchange.lane.site.name,
        )

    # Recipients without a message.

    def unroutable(
        self,
        active: ActiveChunk,
        indexes: Sequence[int],
        problem: Unroutable,
        domain: str,
        *,
        stage: Stage = Stage.DNS,
    ) -> None:
        """The domain has no way in: for good (bounced), or for now (deferred)."""
        verdict = judge(stage, None, problem.reason)
        for index in indexes:
            attempt = active.chunk.outcomes.get(index).attempt + 1
            disposition, due = self._disposition(active, index, attempt, verdict)
            self._recorder.conclude(
                active,
                index,
                disposition,
                attempt=attempt,
                stage=stage,
                reason=Reason.EXPIRED if disposition is Disposition.EXPIRED else verdict.reason,
                explanation=problem.explanation,
                due=due,
                site=domain,
            )
            self._note_for_list(active, index, disposition, verdict, None, problem.explanation)

    def suppressed(self, lane: Lane, active: ActiveChunk, index: int) -> bool:
        """Look once more before the wire; a suppressed recipient is concluded here."""
        chunk = active.chunk
        key = comparison_key_of_wire(chunk.addresses[index])
        if not self.suppressions.contains(key, chunk.list_name):
            return False
        self._recorder.conclude(
            active,
            index,
            Disposition.SUPPRESSED,
            attempt=chunk.outcomes.get(index).attempt,
            reason=Reason.SUPPRESSED,
            explanation="on the suppression list since the run began",
            event="suppressed",
            site=lane.site.name,
        )
        return True

    def expired(self, active: ActiveChunk, index: int, site: Site) -> bool:
        """Give up on a recipient that was first tried too long ago; it is concluded here."""
        first = active.chunk.outcomes.first_tried(index)
        if not first or not expired(self._clock.time(), first, self._expire_seconds):
            return False
        outcome = active.chunk.outcomes.get(index)
        self._recorder.conclude(
            active,
            index,
            Disposition.EXPIRED,
            attempt=outcome.attempt,
            stage=outcome.stage,
            reason=Reason.EXPIRED,
            explanation=outcome.text or self._why_closed(site),
            site=site.name,
        )
        return True

    # Sites.

    def complained(self, site: str, what: str) -> None:
        """What we were told at a site, for those who expire without an attempt."""
        if site not in self._complaints and len(self._complaints) >= MOST_COMPLAINTS:
            self._complaints.clear()
        self._complaints[site] = what

    def complaint(self, site: str) -> str:
        """The last that was told at a site."""
        return self._complaints.get(site, "")

    # Nodes.

    def adopt(self, active: ActiveChunk, index: int, outcome: Outcome, site: str) -> None:
        """Conclude a recipient as a node had it when it died, before it could say so."""
        reply = None
        if outcome.code:
            text = outcome.text.removeprefix(f"{outcome.code} ")
            reply = parse_text(outcome.code, text.encode("utf-8", "surrogateescape"))
        self._recorder.conclude(
            active,
            index,
            outcome.disposition,
            attempt=outcome.attempt,
            stage=outcome.stage,
            reason=outcome.reason,
            reply=reply,
            explanation=outcome.text,
            due=outcome.due,
            event="in_doubt" if outcome.stage is Stage.MESSAGE and reply is None else "attempt",
            site=site,
        )
        if outcome.disposition in _FAILED:
            verdict = judge(outcome.stage, reply, Reason.NONE if reply else outcome.reason, self._rules)
            self._note_for_list(active, index, outcome.disposition, verdict, reply, outcome.text)

    # Beneath.

    def _why_closed(self, site: Site) -> str:
        """What kept everybody out, for a recipient to whom it never came."""
        complaint = self._complaints.get(site.name)
        return "its lane was closed all the time" + (f": {complaint}" if complaint else "")

    def _disposition(
        self, active: ActiveChunk, index: int, attempt: int, verdict: Verdict
    ) -> tuple[Disposition, float]:
        if verdict.disposition is Disposition.BOUNCED:
            return Disposition.BOUNCED, 0.0
        now = self._clock.time()
        first = active.chunk.outcomes.first_tried(index) or now
        due = next_due(now, attempt, self._retry, first, self._expire_seconds, active.jitter)
        if due is None:
            return Disposition.EXPIRED, 0.0
        return Disposition.DEFERRED, due

    def _note_for_list(
        self,
        active: ActiveChunk,
        index: int,
        disposition: Disposition,
        verdict: Verdict,
        reply: Reply | None,
        explanation: str,
    ) -> None:
        """What the end of a delivery means for the next one to the same address."""
        address = active.chunk.addresses[index]
        if not verdict.suppress:
            if disposition in _FAILED and is_soft_bounce(verdict.reason, suppress=False):
                key = comparison_key_of_wire(address)
                self._syncs.count_soft_bounce(key, address, verdict.reason, self._clock.time())
            return
        self._syncs.suppress(
            Suppression(
                key=comparison_key_of_wire(address),
                address=address,
                reason=verdict.reason.label,
                source=f"{self._campaign}: {reply or explanation}"[:300],
                time=self._clock.time(),
            )
        )
