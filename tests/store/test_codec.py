import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.errors import StateError
from bulkmail.store import codec

lines = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=50)


@given(lines)
def test_lines_come_back_as_they_went_in(column: list[bytes]) -> None:
    content = codec.joined(column)
    assert codec.split(codec.unpack(codec.pack(content, len(column)), len(column), "it"), len(column), "it") == column


@given(st.lists(st.one_of(st.binary(max_size=30), st.integers(0, 20_000).map(lambda size: b"ab" * size)), max_size=6))
def test_many_are_packed_as_each_alone_is(contents: list[bytes]) -> None:
    packed = codec.pack_all([(content, number) for number, content in enumerate(contents)])
    assert packed == [codec.pack(content, number) for number, content in enumerate(contents)]
    frames = [codec.Packed(blob, number, "it") for number, blob in enumerate(packed)]
    assert codec.unpack_all(frames) == contents


def test_of_many_the_damaged_one_is_named() -> None:
    packed = codec.pack_all([(b"long" * 100, 1)] * 3)
    frames = [codec.Packed(blob, 1, f"chunk {number}") for number, blob in enumerate(packed)]
    wrong = bytearray(packed[1][:-4])
    wrong[14] ^= 0xFF
    frames[1] = codec.Packed(bytes(wrong) + struct.pack("<I", zlib.crc32(wrong)), 1, "chunk 1")
    with pytest.raises(StateError, match="chunk 1 is damaged: it cannot be decompressed"):
        codec.unpack_all(frames)


@pytest.mark.parametrize("length", [0, 399, 401, 1 << 40])
def test_a_length_that_is_not_that_of_the_content_is_damage(length: int) -> None:
    framed = bytearray(codec.pack(b"long" * 100, 1)[:-4])
    struct.pack_into("<I", framed, 6, length % (1 << 32))
    with pytest.raises(StateError, match="damaged"):
        codec.unpack(bytes(framed) + struct.pack("<I", zlib.crc32(framed)), 1, "it")


def test_threads_pack_beside_each_other() -> None:
    contents = [b"%d and more " % number * 2000 for number in range(8)]
    expected = [codec.pack(content, 1) for content in contents]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            assert list(pool.map(lambda content: codec.pack(content, 1), contents)) == expected


def test_repetitive_lines_are_stored_in_a_third_of_their_size() -> None:
    column = [b"recipient%d@example.org" % number for number in range(1000)]
    assert len(codec.pack(codec.joined(column), 1000)) < sum(map(len, column)) / 3


@pytest.mark.parametrize("column", [[], [b"a\nb"], [b"a", b"\n"]])
def test_a_column_without_lines_or_with_a_line_feed_in_one_is_refused(column: list[bytes]) -> None:
    with pytest.raises(ValueError, match="line"):
        codec.joined(column)


@pytest.mark.parametrize("content", [b"tiny", b"long" * 100])
def test_a_change_of_any_byte_is_noticed_and_named(content: bytes) -> None:
    blob = codec.pack(content, 3)
    for at in range(len(blob)):
        for damaged in (blob[:at], blob[:at] + bytes([blob[at] ^ 0x41]) + blob[at + 1 :]):
            with pytest.raises(StateError, match=r"^queue\.db: chunk 7 is damaged"):
                codec.unpack(damaged, 3, "queue.db: chunk 7")


def test_another_number_of_items_than_expected_is_damage() -> None:
    with pytest.raises(StateError, match="2 items where 3 are expected"):
        codec.unpack(codec.pack(b"a\nb", 2), 3, "it")
    with pytest.raises(StateError, match="2 lines where 3 are expected"):
        codec.split(codec.joined([b"a", b"b"]), 3, "it")


def test_a_later_format_is_refused_by_its_number() -> None:
    framed = struct.pack("<BBII", 2, 0, 1, 1) + b"x"
    with pytest.raises(StateError, match=r"format 2\.0 is unknown"):
        codec.unpack(framed + struct.pack("<I", zlib.crc32(framed)), 1, "it")
