"""What a report means: the reason and class of each recipient, by the same rules as replies in a session.

A recipient's answer is the reply that the report quotes. Where it quotes none, the status field stands for it, with
the report's own words as the text; where there is not even that, a failure is read as `550` and its words decide.
"""

from enum import StrEnum

from msgspec import Struct

from bulkmail.feedback.report import STANDARD, Action, Kind, Report, ReportedRecipient
from bulkmail.model.delivery import Disposition, Reason, Reply, Stage
from bulkmail.policy.disposition import judge
from bulkmail.policy.rules import RuleBook, deciding_phrase, first_rule
from bulkmail.policy.verdict import NO_REPLY, Verdict

__all__ = ["Class", "Explanation", "Judgement", "class_of", "complains", "explain_reply", "judge_report", "reply_of"]

# What an address is for good, not for now.
_HARD = frozenset((Reason.USER_UNKNOWN, Reason.MOVED, Reason.BAD_ADDRESS, Reason.DOMAIN_UNKNOWN, Reason.NULL_MX))
# What is about us or about what we sent.
_BLOCK = frozenset(
    (
        Reason.BLOCKED,
        Reason.RATE_LIMITED,
        Reason.TOO_MANY_CONNECTIONS,
        Reason.POLICY,
        Reason.AUTHENTICATION,
        Reason.CONTENT,
        Reason.RELAYING_DENIED,
        Reason.TLS,
    )
)
# What makes an address not worth trying again if it goes on.
_ABOUT_THE_ADDRESS = frozenset((*_HARD, Reason.MAILBOX_FULL, Reason.MAILBOX_INACTIVE, Reason.OTHER))
_SURE_AT_ANY_STAGE = "user-unknown-after-the-message"
_NO_FEEDBACK_OF_PEOPLE = frozenset(("auth-failure", "not-spam", "virus", "fraud", "dkim", "other"))


class Class(StrEnum):
    """What a bounce says of its address.

    `HARD`: nobody is there. `SOFT`: not now, or not known why. `BLOCK`: not from us, or not this. `NONE`: no bounce.
    """

    HARD = "hard"
    SOFT = "soft"
    BLOCK = "block"
    NONE = "none"


class Judgement(Struct, frozen=True, kw_only=True):
    """What a report means for one recipient. `suppress`: never mail the address again; `rule`: which entry decided."""

    address: str
    klass: Class
    reason: Reason
    rule: str
    suppress: bool = False
    reply: str = ""


def judge_report(report: Report, book: RuleBook | None = None) -> tuple[Judgement, ...]:
    """One judgement for each recipient that the report names; for all but bounces and complaints, of class `NONE`.

    A complaint suppresses, unless its type says that no person complained (RFC 6591, RFC 5965 §3.1 `not-spam`).
    """
    return tuple(_judge_recipient(report, recipient, book) for recipient in report.recipients)


def class_of(
    verdict: Verdict,
    stage: Stage = Stage.RCPT,
    enhanced: str | None = None,
    *,
    standard: bool = False,
    coded: bool = True,
) -> Class:
    """The class of an answer that a report quotes, given at `stage` with this enhanced code.

    Four things make a missing mailbox less than sure, unless the code says it too (`X.1.Z`, RFC 3463 §3.2): that it
    was told after DATA, where a relay may have had several recipients in one transaction; and, where it is not known
    to have been told at RCPT, a code `X.2.Z`, for a mailbox that is there but cannot be used, or any code or none in a
    `standard` report (RFC 3464), which has a field to say so and says something else; and that nothing of it is
    `coded`: words alone are a gateway's own, which says them of mailboxes too that do not take mail for now.
    """
    subject = (enhanced or "").split(".")[1:2]
    if verdict.disposition is Disposition.BOUNCED and verdict.reason is Reason.MAILBOX_INACTIVE:
        return Class.HARD if (enhanced or "")[1:] == ".1.1" else Class.SOFT
    if verdict.reason in _HARD and verdict.disposition is Disposition.BOUNCED and _certain(verdict):
        if verdict.rule == _SURE_AT_ANY_STAGE:
            return Class.HARD
        after_rcpt = stage in (Stage.DATA, Stage.MESSAGE)
        unsure = verdict.reason is Reason.USER_UNKNOWN and (standard or not coded)
        unplaced = stage is Stage.NONE and (subject == ["2"] or unsure)
        doubtful = subject != ["1"] and (after_rcpt or unplaced)
        return Class.SOFT if doubtful else Class.HARD
    return Class.BLOCK if verdict.reason in _BLOCK else Class.SOFT


def is_soft_bounce(reason: Reason, *, suppress: bool) -> bool:
    """Whether a failure counts against its address, though one alone does not stop its mail."""
    return not suppress and reason in _ABOUT_THE_ADDRESS


def complains(report: Report) -> bool:
    """Whether a person complained, so that the address must not be mailed again."""
    return report.kind is Kind.COMPLAINT and report.feedback_type not in _NO_FEEDBACK_OF_PEOPLE


def _judge_recipient(report: Report, recipient: ReportedRecipient, book: RuleBook | None) -> Judgement:
    if report.kind is Kind.COMPLAINT:
        return Judgement(address=recipient.address, klass=Class.NONE, reason=Reason.COMPLAINT,
                         rule=f"feedback-type {report.feedback_type}", suppress=complains(report))  # fmt: skip
    if report.kind is not Kind.BOUNCE or recipient.action is not Action.FAILED:
        reason = Reason.AUTO_REPLY if report.kind is Kind.AUTOREPLY else Reason.NONE
        return Judgement(address=recipient.address, klass=Class.NONE, reason=reason, rule=NO_REPLY)
    reply = reply_of(recipient)
    # A bounce does not always say which command was answered; most often it was RCPT.
    verdict = judge(recipient.stage or Stage.RCPT, reply, book=book)
    coded = bool(recipient.code or recipient.enhanced or recipient.status)
    klass = class_of(verdict, recipient.stage, reply.enhanced, standard=report.source == STANDARD, coded=coded)
    return Judgement(
        address=recipient.address,
        klass=klass,
        reason=verdict.reason,
        rule=verdict.rule,
        suppress=klass is Class.HARD and verdict.suppress,
        reply=str(reply),
    )


def reply_of(recipient: ReportedRecipient) -> Reply:
    """The reply that the report quotes, or the one that its status and words amount to."""
    enhanced = recipient.enhanced or recipient.status
    code = recipient.code
    if not code:
        code = 450 if enhanced.startswith("4.") else 550
    if recipient.enhanced and recipient.enhanced[:1] != str(code)[:1] and recipient.status[:1] == str(code)[:1]:
        enhanced = recipient.status
    return Reply(code=code, enhanced=enhanced or None, text=recipient.diagnostic)


def _certain(verdict: Verdict) -> bool:
    """`domain_unknown` and `null_mx` suppress nobody, but are no less sure for it."""
    return verdict.suppress or verdict.reason in (Reason.DOMAIN_UNKNOWN, Reason.NULL_MX)


class Explanation(Struct, frozen=True, kw_only=True):
    """Which entry of `replies.toml` decided on a reply, what of the reply it went by, and what follows.

    `counts`: the end of a delivery by this reply is a soft bounce of its address.
    """

    rule: str
    because: str
    reason: str
    klass: str
    disposition: str
    suppress: bool
    counts: bool
    subject: str
    lane: str


def explain_reply(stage: Stage, reply: Reply, book: RuleBook | None = None) -> Explanation:
    """`judge`, with its reasons; `reply` is a 4yz or 5yz."""
    verdict = judge(stage, reply, book=book)
    found = first_rule(stage, reply, book)
    phrase = deciding_phrase(found, reply)
    conditions = [
        f"it says {phrase!r}" if phrase else "",
        f"its code is {reply.code}" if found.rule.codes else "",
        f"its enhanced code is {reply.enhanced}" if found.rule.enhanced and reply.enhanced else "",
        "it has no enhanced code that agrees with its code" if found.rule.enhanced and not reply.enhanced else "",
        f"it answers {stage.label}" if found.rule.stages else "",
        f"it is a {reply.code // 100}yz" if found.rule.classes else "",
    ]
    return Explanation(
        rule=verdict.rule,
        because=", ".join(filter(None, conditions)) or "no other rule fits",
        reason=verdict.reason.label,
        klass=class_of(verdict, stage, reply.enhanced).value,
        disposition=verdict.disposition.label,
        suppress=verdict.suppress,
        counts=is_soft_bounce(verdict.reason, suppress=verdict.suppress),
        subject=verdict.subject.value,
        lane=verdict.lane.value,
    )
