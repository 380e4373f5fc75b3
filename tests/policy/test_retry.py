"""When a deferred recipient comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.policy.retry import expired, next_due

SCHEDULE = (300.0, 1800.0, 7200.0)
DAY = 86400.0
START = 1_800_000_000.0


@pytest.mark.parametrize(("attempt", "delay"), [(1, 300), (2, 1800), (3, 7200), (4, 7200), (99, 7200)])
def test_the_schedule_is_followed_and_its_last_delay_repeats(attempt: int, delay: float) -> None:
    due = next_due(START, attempt, SCHEDULE, START, 30 * DAY)
    assert due is not None
    assert delay <= due - START <= delay * 17 / 16


@given(
    offsets=st.lists(st.floats(0, 15), min_size=2, max_size=50),
    attempt=st.integers(1, 3),
)
def test_recipients_of_one_chunk_come_back_in_few_pieces(offsets: list[float], attempt: int) -> None:
    due = {next_due(START + offset, attempt, SCHEDULE, START, 30 * DAY) for offset in offsets}
    assert len(due) <= 2


@given(now=st.floats(START, START + 5 * DAY), attempt=st.integers(1, 50), jitter=st.floats(0, 1))
def test_the_next_attempt_is_neither_early_nor_after_the_end(now: float, attempt: int, jitter: float) -> None:
    due = next_due(now, attempt, SCHEDULE, START, 2 * DAY, jitter)
    delay = SCHEDULE[min(attempt, 3) - 1]
    if due is None:
        assert now + delay > START + 2 * DAY
    else:
        assert now + delay <= due <= START + 2 * DAY
        assert due <= now + delay * (1 + 1 / 8) + max(1.0, delay / 16)


def test_jitter_moves_the_time_by_up_to_an_eighth() -> None:
    plain = next_due(START, 3, SCHEDULE, START, 30 * DAY)
    late = next_due(START, 3, SCHEDULE, START, 30 * DAY, 1.0)
    assert plain is not None
    assert late is not None
    assert 450 <= late - plain <= 1350


def test_the_last_attempt_is_at_the_end_at_the_latest() -> None:
    assert next_due(START + 0.5, 1, (60.0,), START, 61.0) == START + 61.0
    assert next_due(START + 1.5, 1, (60.0,), START, 61.0) is None


def test_a_recipient_expires_after_its_time_and_not_at_it() -> None:
    assert not expired(START + DAY, START, DAY)
    assert expired(START + DAY + 0.001, START, DAY)
