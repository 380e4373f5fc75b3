"""Base32 in small letters: as the standard library writes it, for whole groups alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.native.base32 import encode
from tests.oracles import base32 as oracle


@given(st.lists(st.binary(min_size=5, max_size=5), max_size=8).map(b"".join))
def test_it_is_the_base32_of_the_standard_library(data: bytes) -> None:
    assert encode(data) == oracle.encode(data)


@pytest.mark.parametrize("size", [1, 4, 6, 19])
def test_a_group_that_is_not_whole_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes"):
        encode(bytes(size))
