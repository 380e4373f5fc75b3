"""Tokens: the standard library's keyed BLAKE2b and base32 of them, whatever the key and the words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.native.tokens import Sealer
from tests.oracles import tokens as oracle

WORDS = st.integers(0, 2**64 - 1)
INDEXES = st.integers(0, 2**16 - 1)


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=16), WORDS, INDEXES)
def test_a_pair_is_the_standard_librarys(key: bytes, person: bytes, word: int, index: int) -> None:
    assert Sealer(key, person).pair(word, index) == oracle.Sealer(key, person).pair(word, index)


@given(st.lists(st.tuples(WORDS, INDEXES), min_size=2, max_size=5))
def test_one_pair_leaves_no_trace_in_the_next(words: list[tuple[int, int]]) -> None:
    sealer = Sealer(b"0123456789abcdef", b"bulkmail tokens")
    for word, index in words:
        assert sealer.pair(word, index) == oracle.Sealer(b"0123456789abcdef", b"bulkmail tokens").pair(word, index)


@pytest.mark.parametrize(("key", "person"), [(b"", b""), (b"k" * 65, b""), (b"k", b"p" * 17)])
def test_keys_and_persons_of_other_sizes_are_refused(key: bytes, person: bytes) -> None:
    with pytest.raises(ValueError, match="1 to 64 bytes"):
        Sealer(key, person)


@pytest.mark.parametrize(("word", "index"), [(-1, 0), (2**64, 0), (0, -1), (0, 2**16)])
def test_what_has_no_place_in_a_token_is_refused(word: int, index: int) -> None:
    with pytest.raises(OverflowError):
        Sealer(b"k", b"").pair(word, index)
