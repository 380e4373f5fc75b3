"""DKIM's canonical forms: the native against its twin and against dkimpy, an implementation of others."""

import string

import pytest
from dkim.canonicalization import Relaxed, Simple
from hypothesis import example, given
from hypothesis import strategies as st

from bulkmail.native import canonical
from tests.oracles import canonical as oracle

PIECES = [b"\r\n", b"\r", b"\n", b" ", b"\t", b"  ", b"a", b"word ", b" \r\n", b"\xff", b"x" * 61, b"y" * 64]
bodies = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join) | st.binary(max_size=300)
names = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=20).map(str.encode)
values = st.lists(
    st.sampled_from([b" ", b"\t", b"\r\n ", b"\r\n\t", b":", b"word", b"A", b"\xc3\xa9", b"z" * 70]), max_size=12
).map(b"".join)
headers = st.tuples(names, st.sampled_from([b"", b" ", b"\t "]), values).map(
    lambda part: part[0] + part[1] + b":" + part[2]
)
tangles = st.lists(st.sampled_from([b"Name", b"B", b":", b" ", b"\t", b"\r\n", b"\n", b"\r", b"q" * 700]), max_size=12)


def on_the_wire(body: bytes) -> bytes:
    return body if body.endswith(b"\r\n") else body + b"\r\n"


@given(bodies)
@example(b"")
@example(b" ")
@example(b"a \t\r\n\t\r\n \r\n")
@example(b"a\tb\r\n")
@example(b"a  b" + b"c" * 60 + b" " * 500 + b"d")
@example(b"x" * 62 + b" \r" + b"\n" + b"y")
@example(b"x" * 61 + b"\t  \r\n" + b"y")
def test_bodies_agree_with_the_twin_and_with_dkimpy(body: bytes) -> None:
    assert canonical.relaxed_body(body) == oracle.relaxed_body(body) == Relaxed.canonicalize_body(on_the_wire(body))
    assert canonical.simple_body(body) == oracle.simple_body(body) == Simple.canonicalize_body(body)


@pytest.mark.parametrize(
    "event", [b" ", b"\t", b"  ", b" \r\n", b"\t \r\n", b" \r", b" \n", b"\r\n", b" \r\n ", b"\r\n\r\n"]
)
def test_an_event_is_seen_at_every_distance_from_a_block_edge(event: bytes) -> None:
    for before in range(140):
        for after in (b"", b"b", b"b\r\n", b"b" * 70, b"b" * 130 + b"\r\n"):
            body = b"a" * before + event + after
            assert canonical.relaxed_body(body) == oracle.relaxed_body(body)
            assert canonical.simple_body(body) == oracle.simple_body(body)


@given(bodies)
def test_a_canonical_body_is_returned_as_the_same_object(body: bytes) -> None:
    for form in (canonical.relaxed_body, canonical.simple_body):
        result = form(body)
        assert form(result) is result


@pytest.mark.parametrize(
    ("body", "relaxed", "simple"),
    [
        (b"", b"", b"\r\n"),
        (b"\r\n\r\n", b"", b"\r\n"),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n", b" C \r\nD \t E\r\n"),
    ],
)
def test_the_examples_of_the_rfc_come_out(body: bytes, relaxed: bytes, simple: bytes) -> None:
    """RFC 6376 §3.4.5, and the empty bodies of §3.4.3 and §3.4.4."""
    assert canonical.relaxed_body(body) == relaxed
    assert canonical.simple_body(body) == simple


@pytest.mark.parametrize("size", [65535, 65536, 65537, 200_000])
@pytest.mark.parametrize("unit", [b" ", b"\t", b" \r\n", b"a  b\t\r\n", b"plain text\r\n", b"\r\n"])
def test_large_bodies_are_the_same_without_the_gil(unit: bytes, size: int) -> None:
    body = (unit * (size // len(unit) + 1))[:size]
    assert canonical.relaxed_body(body) == oracle.relaxed_body(body)
    assert canonical.relaxed_body(body + b"end") == oracle.relaxed_body(body + b"end")
    assert canonical.simple_body(body) == oracle.simple_body(body)


@given(headers, st.sampled_from([b"", b"\r\n", b"\n"]))
@example(b"A: X", b"\r\n")
@example(b"B : Y\t\r\n\tZ  ", b"\r\n")
def test_header_fields_agree_with_the_twin_and_with_dkimpy(field: bytes, end: bytes) -> None:
    name, _, value = (field + end).partition(b":")
    ((dkimpy_name, dkimpy_value),) = Relaxed.canonicalize_headers([(name, value)])
    assert canonical.relaxed_header(field + end) == dkimpy_name + b":" + dkimpy_value
    assert canonical.relaxed_header(field + end) == oracle.relaxed_header(field + end)


@given(tangles.map(b"".join))
def test_the_twin_agrees_on_what_is_no_field_too(field: bytes) -> None:
    try:
        expected = oracle.relaxed_header(field)
    except ValueError:
        with pytest.raises(ValueError, match="does not begin with a name and a colon"):
            canonical.relaxed_header(field)
    else:
        assert canonical.relaxed_header(field) == expected


@given(headers)
def test_a_canonical_field_is_returned_as_the_same_object(field: bytes) -> None:
    result = canonical.relaxed_header(field)
    assert canonical.relaxed_header(result) is result


@given(st.lists(headers, max_size=8), st.sampled_from([b"", b"\r\n", b"\r\nbody: no header\r\n"]))
def test_a_header_block_is_split_into_its_fields(fields: list[bytes], rest: bytes) -> None:
    block = b"".join(field + b"\r\n" for field in fields)
    expected = [(line.partition(b":")[0], line) for line in map(canonical.relaxed_header, fields)]
    assert canonical.relaxed_headers(block + rest) == expected == oracle.relaxed_headers(block + rest)


@given(tangles.map(b"".join))
def test_any_block_splits_as_the_twin_splits_it(block: bytes) -> None:
    try:
        expected = oracle.relaxed_headers(block)
    except ValueError:
        with pytest.raises(ValueError, match="does not begin with a name and a colon"):
            canonical.relaxed_headers(block)
    else:
        assert canonical.relaxed_headers(block) == expected


@pytest.mark.parametrize("length", [1021, 1022, 1023, 1024, 5000])
def test_a_field_longer_than_the_stack_buffer_is_whole(length: int) -> None:
    field = b"X:" + b"v" * (length - 2)
    assert canonical.relaxed_header(field) == b"x:" + b"v" * (length - 2) + b"\r\n"


def test_a_field_without_a_name_is_shown() -> None:
    with pytest.raises(ValueError, match="b'no colon here'"):
        canonical.relaxed_header(b"no colon here")


@pytest.mark.parametrize("wrong", [None, "text", bytearray(b"x")])
def test_only_bytes_are_taken(wrong: object) -> None:
    for function in (
        canonical.relaxed_body,
        canonical.simple_body,
        canonical.relaxed_header,
        canonical.relaxed_headers,
    ):
        with pytest.raises(TypeError):
            function(wrong)  # type: ignore[arg-type]
