import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.errors import StateError
from bulkmail.model.delivery import Disposition, Reason, Stage
from bulkmail.store.outcomes import TEXT_BYTES, Outcome, OutcomeColumn, clip

SIZE = 5
outcomes = st.builds(
    Outcome,
    disposition=st.sampled_from(Disposition),
    attempt=st.integers(0, 65535),
    reason=st.sampled_from(Reason),
    stage=st.sampled_from(Stage),
    code=st.integers(0, 599),
    time=st.floats(0, 4e9),
    due=st.floats(0, 4e9),
    text=st.text(max_size=20),
)


def kept(outcome: Outcome) -> Outcome:
    text = "" if outcome.disposition == Disposition.DELIVERED else clip(outcome.text)
    return Outcome(
        outcome.disposition,
        outcome.attempt,
        outcome.reason,
        outcome.stage,
        outcome.code,
        outcome.time,
        outcome.due,
        text,
    )


@given(st.lists(st.tuples(st.integers(0, SIZE - 1), outcomes), max_size=20))
def test_a_column_says_what_was_set_last_also_after_it_was_stored(changes: list[tuple[int, Outcome]]) -> None:
    column, last = OutcomeColumn(SIZE), {}
    for index, outcome in changes:
        column.set(index, outcome)
        last[index] = kept(outcome)
    stored = OutcomeColumn.decode(SIZE, *column.encode(), "it")
    for index in range(SIZE):
        expected = last.get(index, Outcome(Disposition.OPEN))
        assert column.get(index) == stored.get(index) == expected
        assert column.attempt(index) == expected.attempt
    assert column.changes == len(changes)
    assert column.counts() == stored.counts()
    assert sum(column.counts().values()) == SIZE


def test_a_new_column_is_open_and_due() -> None:
    column = OutcomeColumn(3)
    assert column.ready(0.0) == [0, 1, 2]
    assert column.next_due() == 0.0
    assert column.counts()[Disposition.OPEN] == 3


def test_ready_are_those_not_final_whose_time_has_come() -> None:
    column = OutcomeColumn(4)
    column.set(0, Outcome(Disposition.DELIVERED, 1, time=10.0))
    column.set(1, Outcome(Disposition.DEFERRED, 1, time=10.0, due=20.0))
    column.set(2, Outcome(Disposition.OPEN, 1, time=10.0, due=30.0))
    column.set(3, Outcome(Disposition.IN_DOUBT, 1, time=10.0))
    assert [column.ready(now) for now in (19.9, 20.0, 30.0)] == [[], [1], [1, 2]]
    assert column.next_due() == 20.0


def test_a_column_of_final_outcomes_is_never_due() -> None:
    column = OutcomeColumn(1)
    column.set(0, Outcome(Disposition.BOUNCED, 1))
    assert column.next_due() is None


def test_the_first_attempt_keeps_its_time() -> None:
    column = OutcomeColumn(1)
    column.set(0, Outcome(Disposition.OPEN, 0, time=1.0))
    assert column.first_tried(0) == 0.0 and not column.any_tried()
    for attempt, time in ((1, 5.0), (2, 9.0)):
        column.set(0, Outcome(Disposition.DEFERRED, attempt, time=time))
    assert column.first_tried(0) == 5.0 and column.any_tried()


def test_a_copy_does_not_follow_the_original() -> None:
    column = OutcomeColumn(1)
    copy = column.copy()
    column.set(0, Outcome(Disposition.BOUNCED, 1, text="no"))
    assert copy.get(0) == Outcome(Disposition.OPEN)


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_outside_the_chunk_is_refused(index: int) -> None:
    column = OutcomeColumn(3)
    with pytest.raises(IndexError, match="chunk of 3"):
        column.set(index, Outcome(Disposition.DELIVERED))


@given(st.text(alphabet=st.characters(codec=None), max_size=700))
def test_a_text_is_clipped_to_whole_characters_that_utf8_can_hold(text: str) -> None:
    clipped = clip(text).encode()
    assert len(clipped) <= TEXT_BYTES
    assert text.encode("utf-8", "replace").startswith(clipped)
    assert len(clipped) > TEXT_BYTES - 4 or clipped == text.encode("utf-8", "replace")


def test_a_damaged_column_is_named() -> None:
    with pytest.raises(StateError, match=r"^chunk 4 is damaged"):
        OutcomeColumn.decode(2, OutcomeColumn(3).encode()[0], None, "chunk 4")


def test_a_reason_of_a_later_version_reads_as_other() -> None:
    from bulkmail.store.outcomes import outcome_of

    outcome = outcome_of(3, 1, 250, 200, 550, 0.0, 0.0, "")
    assert (outcome.reason, outcome.stage) == (Reason.OTHER, Stage.NONE)
