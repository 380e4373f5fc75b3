"""Bounces, delays and automatic replies as many mail systems write them, in many tongues."""

import pytest

from bulkmail.feedback.report import Kind
from bulkmail.feedback.understand import understand
from bulkmail.policy.feedback import Class, judge_report
from tests.feedback import dialects
from tests.feedback.messages import TOKEN


@pytest.mark.parametrize("name", dialects.HARD)
def test_a_notice_that_nobody_is_there_is_hard_and_names_one(name: str) -> None:
    found = understand(dialects.HARD[name])
    assert found.kind is Kind.BOUNCE
    assert [one.address for one in found.recipients] == [dialects.ANNA]
    assert [one.klass for one in judge_report(found)] == [Class.HARD]


@pytest.mark.parametrize("name", dialects.NAMED)
def test_a_notice_for_another_reason_names_one_and_is_not_hard(name: str) -> None:
    found = understand(dialects.NAMED[name])
    assert found.kind is Kind.BOUNCE
    assert [one.address for one in found.recipients] == [dialects.ANNA]
    assert [one.klass for one in judge_report(found)] == [Class.SOFT]


@pytest.mark.parametrize("name", dialects.DELAYED)
def test_a_warning_is_no_bounce(name: str) -> None:
    assert understand(dialects.DELAYED[name]).kind is Kind.DELAYED


@pytest.mark.parametrize("name", dialects.HARMLESS)
def test_what_a_program_or_a_person_answers_has_no_effect(name: str) -> None:
    found = understand(dialects.HARMLESS[name])
    assert found.kind in (Kind.AUTOREPLY, Kind.NONE)


def test_the_token_of_a_quoted_message_is_found() -> None:
    quoting = [(name, data) for name, data in dialects.HARD.items() if b"Message-ID" in data]
    assert len(quoting) > 5
    for name, data in quoting:
        assert TOKEN in understand(data).tokens, name
