"""The one place where an answer becomes temporary or permanent, the recipient's fault or ours.

    answer = (stage, code, enhanced code, text)
    reason = the first entry of replies.toml that fits it
    effect = the first entry of effects.toml for (reason, stage, 4yz or 5yz), overridden by the reply's entry
    no reply: effect = the first [[failure]] of effects.toml for (reason, stage)

The stage tells whom a reply is about (RFC 5321 §4.3.2): before RCPT our source, at RCPT the address, after it the
content. A connection that ends while the message is being written is stage `DATA`; once its last byte may have left,
`MESSAGE`, and what became of it cannot be known (RFC 1047).
"""

from bulkmail.errors import InternalError
from bulkmail.model.delivery import Reason, Reply, Stage
from bulkmail.policy.rules import RuleBook, effect_of_failure, effect_of_reply, first_rule
from bulkmail.policy.verdict import NO_REPLY, LaneAction, Subject, Verdict

__all__ = ["LaneAction", "Subject", "Verdict", "judge"]


def judge(stage: Stage, reply: Reply | None, failure: Reason = Reason.NONE, book: RuleBook | None = None) -> Verdict:
    """Decide on a reply that is no success, or on a `failure` without one.

    With both, the reply decides (a 5yz before the connection died is still a 5yz). A reply of neither 4yz nor 5yz is
    one that nothing asked for: the failure `PROTOCOL`. Raises InternalError with neither. `book`: other rules than
    those of `replies.toml`.
    """
    if reply is not None and reply.code // 100 in (4, 5):
        return _judge_reply(stage, reply, book)
    if reply is not None:
        failure = Reason.PROTOCOL
    if failure is Reason.NONE:
        raise InternalError(f"nothing to judge at {stage.label}: neither a reply nor a failure")
    effect = effect_of_failure(stage, failure)
    return Verdict(
        subject=effect.subject,
        disposition=effect.outcome,
        reason=failure,
        rule=NO_REPLY,
        charged=effect.charged,
        suppress=effect.suppress,
        lane=effect.lane,
        pause_seconds=effect.pause_seconds,
    )


def _judge_reply(stage: Stage, reply: Reply, book: RuleBook | None) -> Verdict:
    found = first_rule(stage, reply, book)
    rule = found.rule
    effect = effect_of_reply(stage, reply.code, rule.treat or reply.code // 100, found.reason)
    charged = effect.charged or rule.subject in (Subject.RECIPIENT, Subject.MESSAGE)
    return Verdict(
        subject=effect.subject if rule.subject is None else rule.subject,
        disposition=effect.outcome,
        reason=found.reason,
        rule=rule.id,
        charged=charged if rule.charged is None else rule.charged,
        suppress=effect.suppress and rule.suppress,
        lane=effect.lane if rule.lane is None else rule.lane,
        pause_seconds=effect.pause_seconds if rule.pause_seconds is None else rule.pause_seconds,
    )
