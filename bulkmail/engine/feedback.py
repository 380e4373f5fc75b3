"""Gives what came back its effect: finds the run and the recipient by our token, suppresses, writes the event.

Nothing has an effect that no token of ours vouches for: anybody can write a bounce. The one exception is a complaint on
one recipient that a known reporter signed (`policy.trust`), which has no run and so leaves no event. An effect is
durable when `apply` returns, and happens once however often the same message comes. The suppression goes first, so
that after a crash in between the message, read again, still finds its event missing.
"""

from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.config.rules import state_rules
from bulkmail.content.identity import Position
from bulkmail.dns import signatures
from bulkmail.dns.signatures import TextLookup
from bulkmail.engine.returns import Returns, key_of
from bulkmail.engine.softbounces import count_soft_bounces
from bulkmail.feedback.nature import sender_of
from bulkmail.feedback.report import Kind, Report, ReportedRecipient
from bulkmail.model.delivery import Disposition, Event, Reason
from bulkmail.policy.feedback import Class, Judgement, complains, is_soft_bounce, judge_report, reply_of
from bulkmail.policy.rules import RuleBook, rule_book
from bulkmail.policy.trust import may_vouch, speaks_for_one, vouches
from bulkmail.policy.verdict import NO_REPLY
from bulkmail.store.settings import FeedbackSettings
from bulkmail.store.suppressions import SoftBounce, Suppression
from bulkmail.store.view import RecipientOutcome

AGE_LIMIT_SECONDS = 30 * 86400.0


class Effect(StrEnum):
    """What a message did. `SUPPRESSED` and `RECORDED` have written an event, the others nothing."""

    SUPPRESSED = "suppressed"
    RECORDED = "recorded"
    REPEATED = "repeated"
    NONE = "none"


class Applied(Struct, frozen=True, kw_only=True):
    """What became of one report, and why; `recipient` and `run` are ours, by the token."""

    kind: Kind
    effect: Effect
    why: str
    recipient: str = ""
    run: str = ""
    klass: Class = Class.NONE
    reason: Reason = Reason.NONE
    rule: str = ""


class FeedbackDesk:
    """Applies reports to a state directory, beside a run that is sent. `texts` looks up keys of DKIM."""

    def __init__(
        self, directory: Path, clock: Clock, *, returns: Returns | None = None, texts: TextLookup | None = None
    ) -> None:
        self._texts = texts
        self._general = state_rules(directory)
        self._returns = returns or Returns(directory, clock)
        self._clock = clock
        self._books: dict[FeedbackSettings, RuleBook] = {}

    def __enter__(self) -> "FeedbackDesk":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._returns.close()

    def apply(self, report: Report, data: bytes = b"") -> Applied:
        """Give the report its effect, durably; within `Returns.together`, at the end of that.

        `data` is the message that it was read from: without a token of ours, a complaint may bear a signature.
        """
        with self._returns.together():
            return self._apply(report, data)

    def _apply(self, report: Report, data: bytes) -> Applied:
        if report.kind not in (Kind.BOUNCE, Kind.COMPLAINT):
            return Applied(kind=report.kind, effect=Effect.NONE, why=_NO_EFFECT[report.kind])
        position = self._position(report)
        if position is None:
            vouched = self._vouched(report, data)
            if vouched is not None:
                return vouched
            why = "no token in it is ours" if report.tokens else "no token leads to a recipient"
            return Applied(kind=report.kind, effect=Effect.NONE, why=why)
        outcome = self._returns.outcome(position)
        if outcome is None:
            return Applied(kind=report.kind, effect=Effect.NONE, why="its token is of a run that is no longer here")
        why_not = self._implausible(outcome)
        if why_not:
            return Applied(kind=report.kind, effect=Effect.NONE, why=why_not, recipient=outcome.address)
        settings = self._returns.settings(self._returns.run(outcome.run).campaign)
        judged = _about(report, outcome.address, self._book(settings))
        if judged is None:
            return Applied(
                kind=report.kind, effect=Effect.NONE, why="it is about other recipients", recipient=outcome.address
            )
        return self._carry_out(report, outcome, settings, *judged)

    def _carry_out(
        self,
        report: Report,
        outcome: RecipientOutcome,
        settings: FeedbackSettings,
        judgement: Judgement,
        recipient: ReportedRecipient | None,
    ) -> Applied:
        run = self._returns.run(outcome.run)
        what = "complaint" if report.kind is Kind.COMPLAINT else "bounce"
        suppressed = judgement.suppress and self._suppress(outcome.address, judgement, f"{what}, run {run.id}")
        repeated = self._returns.noted(run.id, (what, outcome.address, judgement.reason.label))
        if not repeated:
            self._returns.note(self._event(what, run.id, outcome, judgement, recipient))
            suppressed = self._count_soft_bounce(run.id, outcome.address, settings, judgement) or suppressed
        effect = Effect.SUPPRESSED if suppressed else Effect.REPEATED if repeated else Effect.RECORDED
        if effect is Effect.REPEATED:
            why = "it was taken in before"
        elif suppressed or judgement.suppress:
            why = "gets no more mail" if suppressed else "was suppressed already"
        else:
            why = "no reason to mail the address no more"
        return Applied(
            kind=report.kind,
            effect=effect,
            why=why,
            recipient=outcome.address,
            run=run.id,
            klass=judgement.klass,
            reason=judgement.reason,
            rule=judgement.rule,
        )

    def _event(
        self,
        what: str,
        run: str,
        outcome: RecipientOutcome,
        judgement: Judgement,
        recipient: ReportedRecipient | None,
    ) -> Event:
        reply = reply_of(recipient) if recipient is not None and what == "bounce" else None
        return Event(
            time=self._returns.stamp(),
            event=what,
            run=run,
            recipient=outcome.address,
            attempt=outcome.attempts,
            disposition=Disposition.BOUNCED.label if what == "bounce" else None,
            code=reply.code if reply is not None else None,
            enhanced=reply.enhanced if reply is not None else None,
            reply=reply.text if reply is not None else None,
            stage=recipient.stage.label if recipient is not None and recipient.stage else None,
            reason=judgement.reason.label,
            host=(recipient.remote_host or None) if recipient is not None else None,
        )

    def _suppress(self, address: str, judgement: Judgement, source: str) -> bool:
        key = key_of(address)
        if key is None:
            return False
        return self._returns.suppressions.add(
            Suppression(key=key, address=address, reason=judgement.reason.label, source=source, time=self._clock.time())
        )

    def _count_soft_bounce(self, run: str, address: str, settings: FeedbackSettings, judgement: Judgement) -> bool:
        """Whether this one was one too many."""
        policy, key = settings.feedback.soft_bounces, key_of(address)
        if policy is None or key is None or judgement.klass not in (Class.SOFT, Class.HARD):
            return False
        if not is_soft_bounce(judgement.reason, suppress=judgement.suppress):
            return False
        bounce = SoftBounce(key=key, address=address, run=run, reason=judgement.reason.label, time=self._clock.time())
        return bool(count_soft_bounces(self._returns.suppressions, [bounce], policy))

    def _book(self, settings: FeedbackSettings) -> RuleBook:
        book = self._books.get(settings)
        if book is None:
            book = self._books[settings] = rule_book().after((*settings.rules, *self._general))
        return book

    def _vouched(self, report: Report, data: bytes) -> Applied | None:
        """A complaint without a token of ours, on one recipient, signed by one who is known to report them."""
        address, sender = speaks_for_one(report), sender_of(data)
        if address is None or not may_vouch(sender, self._returns.trusted_reporters()):
            return None
        domain = signatures.signed_by(
            data, wanted=lambda name: vouches(name, sender), texts=self._texts or signatures.system_texts
        )
        if domain is None:
            return None
        rule = f"signed by {domain}"
        judgement = Judgement(address=address, klass=Class.NONE, reason=Reason.COMPLAINT, rule=rule, suppress=True)
        new = self._suppress(address, judgement, f"complaint of {sender}, signed by {domain}")
        return Applied(
            kind=report.kind,
            effect=Effect.SUPPRESSED if new else Effect.REPEATED,
            why="gets no more mail" if new else "was suppressed already",
            recipient=address,
            reason=Reason.COMPLAINT,
            rule=rule,
        )

    def _position(self, report: Report) -> Position | None:
        """Where the first token that is ours leads."""
        opened = (self._returns.opened(token) for token in report.tokens)
        return next((found.position for found in opened if found is not None), None)

    def _implausible(self, outcome: RecipientOutcome) -> str:
        if not outcome.attempts:
            return "its recipient has not been sent anything"
        if self._clock.time() - outcome.time > AGE_LIMIT_SECONDS:
            return f"its mail was sent more than {AGE_LIMIT_SECONDS / 86400:.0f} days ago"
        return ""


_NO_EFFECT = {
    Kind.DELAYED: "delivery goes on",
    Kind.AUTOREPLY: "an automatic reply",
    Kind.DELIVERED: "a confirmation of delivery",
    Kind.NONE: "no bounce and no complaint",
}


def _about(report: Report, address: str, book: RuleBook) -> tuple[Judgement, ReportedRecipient | None] | None:
    """What the report says of the address that was mailed; None where it speaks of others alone.

    A report on one recipient is about ours under whatever name, since mail may have been forwarded.
    """
    if report.kind is Kind.COMPLAINT:
        return Judgement(
            address=address,
            klass=Class.NONE,
            reason=Reason.COMPLAINT,
            rule=f"feedback-type {report.feedback_type}",
            suppress=complains(report),
        ), None
    judged = list(zip(judge_report(report, book), report.recipients, strict=True))
    if not judged:
        return Judgement(address=address, klass=Class.SOFT, reason=Reason.OTHER, rule=NO_REPLY), None
    if len(judged) > 1:
        name = address.lower()
        judged = [each for each in judged if name in (each[1].address.lower(), each[1].final.lower())]
    if not judged or judged[0][0].klass is Class.NONE:
        return None
    return judged[0]
