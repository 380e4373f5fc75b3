"""Line ends and dots: the native against its twin, at every place of a 64-byte block."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkmail.native import stuffing
from tests.oracles import stuffing as oracle

PIECES = [b"\r", b"\n", b"\r\n", b".", b"..", b"\r\n.", b"a", b"word ", b"\x00", b"\xff", b"x" * 61, b"y" * 64]
bodies = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join) | st.binary(max_size=300)


@given(bodies)
@example(b"\r\n.")
@example(b"x" * 63 + b"\r" + b"\n" + b".")
def test_the_native_agrees_with_its_twin(body: bytes) -> None:
    assert stuffing.normalize(body) == oracle.normalize(body)
    assert stuffing.stuff(body) == oracle.stuff(body)


@pytest.mark.parametrize("event", [b"\r", b"\n", b"\r\n", b"\r\n.", b"\r.", b"\n.", b"\n\r", b"\r\r\n", b"."])
def test_an_event_is_seen_at_every_distance_from_a_block_edge(event: bytes) -> None:
    for before in range(140):
        for after in (0, 1, 70, 200):
            body = b"a" * before + event + b"b" * after
            assert stuffing.normalize(body) == oracle.normalize(body)
            assert stuffing.stuff(body) == oracle.stuff(body)


@given(bodies)
def test_what_smtp_lines_already_are_is_returned_as_the_same_object(body: bytes) -> None:
    lines = stuffing.normalize(body)
    assert stuffing.normalize(lines) is lines
    undotted = lines.replace(b".", b"") + b"\r\n"
    assert stuffing.stuff(undotted) is undotted


@given(bodies)
def test_no_bare_line_end_and_no_lone_dot_line_is_left(body: bytes) -> None:
    lines = stuffing.stuff(body)
    assert not lines or lines.endswith(b"\r\n")
    for line in lines.split(b"\r\n"):
        assert b"\r" not in line
        assert b"\n" not in line
        assert line != b"."


def test_empty_data_stays_empty() -> None:
    assert stuffing.stuff(b"") == b""
    assert stuffing.normalize(b"") == b""


@pytest.mark.parametrize("size", [65535, 65536, 65537, 200_000])
@pytest.mark.parametrize("unit", [b"\n", b"\r", b".\n", b"plain text\r\n", b".\r\n", b"a\r\r\n.b\n"])
def test_large_data_is_the_same_without_the_gil(unit: bytes, size: int) -> None:
    body = (unit * (size // len(unit) + 1))[:size]
    assert stuffing.normalize(body) == oracle.normalize(body)
    assert stuffing.stuff(body) == oracle.stuff(body)


@pytest.mark.parametrize("wrong", [None, "text", bytearray(b"x"), memoryview(b"x")])
def test_only_bytes_are_taken(wrong: object) -> None:
    with pytest.raises(TypeError):
        stuffing.stuff(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        stuffing.normalize(wrong)  # type: ignore[arg-type]
