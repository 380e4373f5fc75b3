"""SMTP replies: the native against its twin, on conversations split anywhere and on garbage."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkmail.errors import ProtocolError
from bulkmail.native.reply import ReplyParser, enhanced_code, parse_reply
from tests.oracles import reply as oracle

Parser = ReplyParser | oracle.ReplyParser
Replies = list[tuple[int, bytes]]

codes = st.integers(200, 599)
texts = st.binary(max_size=30).map(lambda text: text.replace(b"\n", b"").rstrip(b"\r"))
ends = st.sampled_from([b"\r\n", b"\n"])


@st.composite
def good_replies(draw: st.DrawFn) -> tuple[tuple[int, bytes], bytes]:
    """A reply as (code, text), and bytes that spell it."""
    code, lines = draw(codes), draw(st.lists(texts, min_size=1, max_size=5))
    raw = b"".join(b"%d-%b%b" % (code, line, draw(ends)) for line in lines[:-1])
    bare = not lines[-1] and draw(st.booleans())
    raw += b"%d%b%b%b" % (code, b"" if bare else b" ", lines[-1], draw(ends))
    return (code, b"\n".join(lines)), raw


FRAGMENTS = [
    b"250",
    b"250 ",
    b"250-",
    b"421-",
    b"ok",
    b"\r\n",
    b"\n",
    b"\r",
    b"-",
    b" ",
    b"2",
    b"9",
    b"\x00",
    b"550 5.1.1 x\r\n",
]
tangles = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join) | st.binary(max_size=20)


def chunks(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def run(parser: Parser, parts: Iterable[bytes]) -> list[Replies | None]:
    """What each feed gave; None where it raised."""
    results: list[Replies | None] = []
    for part in parts:
        try:
            results.append(parser.feed(part))
        except ProtocolError:
            results.append(None)
    return results


@given(st.lists(good_replies(), max_size=6), st.lists(st.integers(0, 400), max_size=8))
def test_replies_come_out_the_same_wherever_the_input_is_split(
    replies: list[tuple[tuple[int, bytes], bytes]], cuts: list[int]
) -> None:
    parser = ReplyParser()
    raw = b"".join(spelling for _, spelling in replies)
    got = [reply for part in chunks(raw, cuts) for reply in parser.feed(part)]
    assert got == [reply for reply, _ in replies]
    assert parser.pending == 0


@given(tangles, st.lists(st.integers(0, 100), max_size=6))
@example(b"250\r", [])
@example(b"250-a\r\n250\r\n421 x\r\n", [7, 9, 10])
def test_the_native_agrees_with_its_twin_after_every_chunk(data: bytes, cuts: list[int]) -> None:
    native, twin = ReplyParser(), oracle.ReplyParser()
    for part in chunks(data, cuts):
        assert run(native, [part]) == run(twin, [part])
        assert (native.failure is None) == (twin.failure is None)
        if native.failure is None:
            assert native.pending == twin.pending


@given(tangles, st.lists(st.integers(0, 100), max_size=6))
def test_garbage_fails_wherever_the_input_is_split_and_no_reply_before_it_is_lost(data: bytes, cuts: list[int]) -> None:
    whole, split = ReplyParser(), ReplyParser()
    expected = [reply for replies in run(whole, [data]) for reply in replies or []]
    got = [reply for replies in run(split, chunks(data, cuts)) for reply in replies or []]
    assert got == expected
    assert (whole.failure is None) == (split.failure is None)


@given(tangles | good_replies().map(lambda reply: reply[1]))
@example(b"250 \n")
@example(b"250\n")
@example(b"250 a\r\r\n")
def test_the_fast_path_takes_one_whole_line_and_nothing_else(data: bytes) -> None:
    assert parse_reply(data) == oracle.parse_reply(data)
    if (reply := parse_reply(data)) is not None:
        assert ReplyParser().feed(data) == [reply]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "b'HTTP/1.1 400 Bad Request' has no reply code"),
        (b"\r\n", "b'' has no reply code"),
        (b"25\r\n", "b'25' has no reply code"),
        (b"199 too low\r\n", "has no reply code"),
        (b"600 too high\r\n", "has no reply code"),
        (b"2x0 letter\r\n", "has no reply code"),
        (b"250_ok\r\n", "no space or hyphen after its code"),
        (b"2500\r\n", "no space or hyphen after its code"),
        (b"250-a\r\n251 b\r\n", "reply 250 goes on with a line of another code: b'251 b'"),
        (b"250 " + b"x" * 4093 + b"\r\n", "longer than 4096 bytes"),
        (b"250 " + b"x" * 5000, "longer than 4096 bytes"),
        (b"250-x\r\n" * 129, "reply 250 has more than 128 lines"),
        ((b"250-" + b"x" * 4000 + b"\r\n") * 17, "reply 250 is longer than 65536 bytes"),
        (b"\x16\x03\x01", "b'\\x16\\x03\\x01' has no reply code"),
    ],
)
def test_what_is_no_reply_is_refused_with_the_reason(data: bytes, message: str) -> None:
    parser = ReplyParser()
    with pytest.raises(ProtocolError) as caught:
        parser.feed(data)
    assert message in str(caught.value)
    assert parser.failure == str(caught.value)
    with pytest.raises(ProtocolError):
        parser.feed(b"250 too late\r\n")


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("cut", [1, 3, 4, 4095, 4096, 4097])
def test_the_largest_line_passes_wherever_it_is_split(end: bytes, cut: int) -> None:
    line = b"250 " + b"x" * 4092 + end
    parser = ReplyParser()
    assert [*parser.feed(line[:cut]), *parser.feed(line[cut:])] == [(250, b"x" * 4092)]


def test_the_largest_reply_passes() -> None:
    lines = [b"250-" + b"x" * 511 + b"\r\n"] * 127 + [b"250 " + b"x" * 512 + b"\r\n"]
    ((code, text),) = ReplyParser().feed(b"".join(lines))
    assert (code, len(text)) == (250, 65536)


def test_replies_before_garbage_are_returned_and_the_failure_is_known_at_once() -> None:
    parser = ReplyParser()
    assert parser.feed(b"250 queued\r\nsurprise\r\n") == [(250, b"queued")]
    assert parser.failure is not None
    with pytest.raises(ProtocolError, match="surprise"):
        parser.feed(b"")


def test_pending_counts_the_raw_bytes_of_an_incomplete_reply() -> None:
    parser = ReplyParser()
    assert parser.feed(b"220 ready\r\n250-one\r\n25") == [(220, b"ready")]
    assert parser.pending == len(b"250-one\r\n25")
    assert parser.feed(b"0 two\r\n") == [(250, b"one\ntwo")]
    assert parser.pending == 0


def test_a_large_reply_byte_by_byte_costs_what_it_costs_in_one_piece_in_memory() -> None:
    parser = ReplyParser()
    raw = (b"250-" + b"y" * 500 + b"\r\n") * 100 + b"250 end\r\n"
    got = [reply for at in range(len(raw)) for reply in parser.feed(raw[at : at + 1])]
    assert got == ReplyParser().feed(raw)


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        (b"5.1.1 no such user", 550, "5.1.1"),
        (b"2.0.0", 250, "2.0.0"),
        (b" 4.7.650 slow down", 421, "4.7.650"),
        (b"5.7.1: refused", 554, "5.7.1"),
        (b"5.1.1. Unknown", 550, "5.1.1"),
        (b"5.1.1\n5.1.1 more", 550, "5.1.1"),
        (b"5.1.1 permanent, in a temporary reply", 450, None),
        (b"3.0.0 no class", 354, None),
        (b"5.1.1.7 is listed", 550, None),
        (b"5.1.1b", 550, None),
        (b"5.1", 550, None),
        (b"5..1", 550, None),
        (b"5.1234.1", 550, None),
        (b"no such user 5.1.1", 550, None),
        (b"", 550, None),
    ],
)
def test_an_enhanced_code_is_taken_from_the_start_of_the_text_if_its_class_fits(
    text: bytes, code: int, expected: str | None
) -> None:
    assert enhanced_code(text, code) == expected


@given(
    st.lists(
        st.sampled_from([b"5", b"2", b".", b"1", b"12", b"5.1.1", b" ", b"\t", b"a", b"-", b"\n"]), max_size=8
    ).map(b"".join),
    st.sampled_from([250, 450, 550]),
)
def test_enhanced_codes_agree_with_the_twin(text: bytes, code: int) -> None:
    assert enhanced_code(text, code) == oracle.enhanced_code(text, code)


@pytest.mark.parametrize("wrong", [None, "250 ok", bytearray(b"250 ok\r\n")])
def test_only_bytes_are_taken(wrong: object) -> None:
    for function in (parse_reply, ReplyParser().feed):
        with pytest.raises(TypeError):
            function(wrong)  # type: ignore[arg-type]
