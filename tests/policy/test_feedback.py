from pathlib import Path

import pytest
from msgspec import structs

from bulkmail.feedback.understand import understand
from bulkmail.model.delivery import Reason, Reply, Stage
from bulkmail.policy.disposition import judge
from bulkmail.policy.feedback import Class, complains, explain_reply, is_soft_bounce, judge_report
from tests.feedback import messages
from tests.feedback.messages import report, status


def judged(text: str, *, code: str = "5.0.0", notice: str = "It failed.") -> tuple[Class, Reason, bool]:
    (one,) = judge_report(understand(report(status(code=code, text=text), notice=notice)))
    return one.klass, one.reason, one.suppress


@pytest.mark.parametrize(
    ("text", "klass", "reason", "suppress"),
    [
        ("550 5.1.1 user unknown", Class.HARD, Reason.USER_UNKNOWN, True),
        ("550 unrouteable mail domain", Class.HARD, Reason.DOMAIN_UNKNOWN, False),
        ("552 5.2.2 mailbox full", Class.SOFT, Reason.MAILBOX_FULL, False),
        ("550 5.2.1 mailbox disabled", Class.SOFT, Reason.MAILBOX_INACTIVE, False),
        ("554 5.7.1 blocked using list.example", Class.BLOCK, Reason.BLOCKED, False),
        ("550 5.7.26 unauthenticated mail", Class.BLOCK, Reason.AUTHENTICATION, False),
        ("550 5.0.0 something else", Class.SOFT, Reason.OTHER, False),
        ("Name service error: Host not found, try again", Class.SOFT, Reason.DNS, False),
    ],
)
def test_a_bounce_is_judged_by_what_it_quotes(text: str, klass: Class, reason: Reason, suppress: bool) -> None:
    assert judged(text) == (klass, reason, suppress)


def test_a_bounce_and_a_reply_in_a_session_have_the_same_reason_by_the_same_rule() -> None:
    for text in ("5.1.1 user unknown", "5.2.2 over quota", "5.7.1 listed by list.example", "5.3.4 too large"):
        (one,) = judge_report(understand(report(status(text=f"550 {text}", code=text.split()[0]))))
        verdict = judge(Stage.RCPT, Reply(code=550, enhanced=text.split()[0], text=text.partition(" ")[2]))
        assert (one.reason, one.rule) == (verdict.reason, verdict.rule)


def test_who_is_unknown_only_after_data_is_not_surely_unknown() -> None:
    notice = "<anna@house.example>: host mx said: 550 unknown user\n    (in reply to end of DATA command)"
    assert judged("550 unknown user", notice=notice)[0] is Class.SOFT
    assert judged("550 5.1.1 unknown user", notice=notice)[0] is Class.HARD


def test_a_report_whose_fields_speak_of_no_address_is_not_sure_of_one() -> None:
    at_rcpt = "<anna@house.example>: host mx said: 550 unknown user (in reply to RCPT TO command)"
    assert judged("550 unknown user")[0] is Class.SOFT
    assert judged("550 unknown user", code="5.3.0")[0] is Class.SOFT
    assert judged("550 unknown user", code="5.1.1")[0] is Class.HARD
    assert judged("550 unknown user", notice=at_rcpt)[0] is Class.HARD


@pytest.mark.parametrize("name", ["warning", "vacation", "person", "newsletter", "receipt"])
def test_nothing_follows_from_what_is_no_bounce(name: str) -> None:
    assert all(one.klass is Class.NONE and not one.suppress for one in judge_report(understand(messages.ALL[name])))


def test_words_without_any_code_are_soft_and_count() -> None:
    report = understand(messages.NOTES)
    (one,) = judge_report(report)
    assert (one.klass, one.reason, one.suppress) == (Class.SOFT, Reason.USER_UNKNOWN, False)
    assert is_soft_bounce(one.reason, suppress=one.suppress)
    coded = structs.replace(report.recipients[0], code=550)
    (one,) = judge_report(structs.replace(report, recipients=(coded,)))
    assert (one.klass, one.suppress) == (Class.HARD, True)


def test_only_what_a_person_says_is_a_complaint_to_act_on() -> None:
    assert complains(understand(messages.COMPLAINT))
    for kind in (b"auth-failure", b"not-spam"):
        assert not complains(understand(messages.COMPLAINT.replace(b"Type: abuse", b"Type: " + kind)))


def test_an_explanation_names_the_rule_and_the_words_it_went_by() -> None:
    found = explain_reply(Stage.RCPT, Reply(code=550, enhanced="5.7.1", text="blocked using zen.spamhaus.org"))
    assert (found.rule, found.klass, found.suppress) == ("block-list", "block", False)
    assert "spamhaus" in found.because


def test_an_explanation_says_whether_the_answer_counts_against_its_address() -> None:
    assert explain_reply(Stage.RCPT, Reply(code=552, enhanced="5.2.2", text="mailbox full")).counts
    assert not explain_reply(Stage.RCPT, Reply(code=550, enhanced="5.1.1", text="user unknown")).counts
    assert not explain_reply(Stage.RCPT, Reply(code=550, enhanced="5.7.1", text="blocked using a list")).counts


def test_the_documentation_names_every_reason() -> None:
    text = (Path(__file__).parents[2] / "docs" / "feedback.md").read_text()
    assert [reason.label for reason in Reason if reason and f"`{reason.label}`" not in text] == []
