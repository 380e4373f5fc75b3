import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.errors import StateError
from bulkmail.store import codec

lines = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=50)


@given(lines)
def test_lines_come_back_as_they_went_in(column: list[bytes]) -> None:
    assert codec.unpack_lines(codec.pack_lines(column), len(column), "it") == column


def test_repetitive_lines_are_stored_in_a_third_of_their_size() -> None:
    column = [b"recipient%d@example.org" % number for number in range(1000)]
    assert len(codec.pack_lines(column)) < sum(map(len, column)) / 3


@pytest.mark.parametrize("column", [[], [b"a\nb"], [b"a", b"\n"]])
def test_a_column_without_lines_or_with_a_line_feed_in_one_is_refused(column: list[bytes]) -> None:
    with pytest.raises(ValueError, match="line"):
        codec.pack_lines(column)


@pytest.mark.parametrize("content", [b"tiny", b"long" * 100])
def test_a_change_of_any_byte_is_noticed_and_named(content: bytes) -> None:
    blob = codec.pack(content, 3)
    for at in range(len(blob)):
        for damaged in (blob[:at], blob[:at] + bytes([blob[at] ^ 0x41]) + blob[at + 1 :]):
            with pytest.raises(StateError, match=r"^queue\.db: chunk 7 is damaged"):
                codec.unpack(damaged, 3, "queue.db: chunk 7")


def test_another_number_of_items_than_expected_is_damage() -> None:
    with pytest.raises(StateError, match="2 items where 3 are expected"):
        codec.unpack_lines(codec.pack_lines([b"a", b"b"]), 3, "it")


def test_a_later_format_is_refused_by_its_number() -> None:
    import struct
    import zlib

    framed = struct.pack("<BBII", 2, 0, 1, 1) + b"x"
    with pytest.raises(StateError, match=r"format 2\.0 is unknown"):
        codec.unpack(framed + struct.pack("<I", zlib.crc32(framed)), 1, "it")
