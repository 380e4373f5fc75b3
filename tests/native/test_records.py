"""Journal records in place: the bytes of struct and zlib, and never one outside the buffer."""

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.native.records import put_intent, put_outcome
from tests.oracles import records as oracle

U8, U16, U32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
TIMES = st.floats(allow_nan=False)


@given(U32, U16, U16, TIMES, st.integers(0, 40))
def test_an_intent_is_what_struct_and_zlib_make_of_it(
    chunk: int, index: int, attempt: int, time: float, at: int
) -> None:
    buffer = bytearray(b"#" * 65)
    put_intent(buffer, at, chunk, index, attempt, time)
    record = oracle.intent(chunk, index, attempt, time)
    assert bytes(buffer) == b"#" * at + record + b"#" * (65 - at - len(record))


@given(U32, U16, U16, TIMES, U8, U8, U8, U16, TIMES)
def test_an_outcome_is_what_struct_and_zlib_make_of_it(
    chunk: int, index: int, attempt: int, time: float, disposition: int, stage: int, reason: int, code: int, due: float
) -> None:
    buffer = mmap.mmap(-1, 4096)
    put_outcome(buffer, 4058, chunk, index, attempt, time, disposition, stage, reason, code, due)
    record = oracle.outcome(chunk, index, attempt, time, disposition, stage, reason, code, due)
    assert buffer[:] == bytes(4058) + record
    buffer.close()


@pytest.mark.parametrize("at", [-1, 1, 26, 2**62])
def test_a_record_that_does_not_fit_writes_nothing(at: int) -> None:
    buffer = bytearray(25)
    with pytest.raises(IndexError):
        put_intent(buffer, at, 1, 2, 3, 4.0)
    assert not any(buffer)


def test_numbers_beyond_their_field_and_foreign_buffers_are_refused() -> None:
    buffer = bytearray(64)
    for chunk, index, attempt in ((2**32, 0, 0), (0, 2**16, 0), (0, 0, 2**16), (-1, 0, 0)):
        with pytest.raises(OverflowError):
            put_intent(buffer, 0, chunk, index, attempt, 0.0)
    with pytest.raises(BufferError):
        put_intent(bytes(64), 0, 1, 2, 3, 4.0)  # type: ignore[arg-type]
    assert not any(buffer)
