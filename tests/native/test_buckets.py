"""bulkmail.native.buckets against its specification; what it promises is in tests/policy/test_limits.py."""

from hypothesis import given
from hypothesis import strategies as st

from bulkmail.native.buckets import TokenBucket
from tests.oracles import buckets as oracle

rates = st.floats(1e-4, 1e7)
steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "many", "wait", "full", "rate"]), st.floats(0, 100), st.integers(-3, 1000), rates
    ),
    max_size=30,
)


@given(rate=rates, burst=st.none() | st.floats(0.1, 1e6), began=st.floats(0, 1e6), steps=steps)
def test_every_answer_is_the_oracles(
    rate: float, burst: float | None, began: float, steps: list[tuple[str, float, int, float]]
) -> None:
    mine, plain, now = TokenBucket(rate, burst, began), oracle.TokenBucket(rate, burst, began), began
    for what, seconds, wanted, other in steps:
        now += seconds
        if what == "take":
            assert mine.take(now) == plain.take(now)
        elif what == "many":
            assert mine.take_up_to(now, wanted) == plain.take_up_to(now, wanted)
        elif what == "wait":
            assert mine.wait_seconds(now) == plain.wait_seconds(now)
        elif what == "full":
            assert mine.is_full(now) == plain.is_full(now)
        else:
            mine.set_rate(other, now)
            plain.set_rate(other, now)
        assert mine.rate_per_second == plain.rate_per_second
