"""Lines of delivered messages: the bytes of the general way, or a no."""

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from bulkmail.native.lines import DeliveredLines
from tests.oracles.lines import delivered_line

PLAIN = {
    "time": "2027-03-01T08:15:00.123Z",
    "recipient": "ada@example.org",
    "attempt": 1,
    "code": 250,
    "raw": b"2.0.0 Ok: queued as 4F2A",
    "site": "mx.example.org",
    "host": "mx.example.org",
    "source": None,
    "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384",
    "size_bytes": 10_240,
    "milliseconds": 2.9,
    "message_id": "<abc@garden.example>",
}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.text('ab "\\\n\x7f\x1fé', max_size=6)
REPLIES = st.binary(max_size=20) | st.builds(
    lambda enhanced, gap, rest: enhanced + gap + rest,
    st.sampled_from([b"2.0.0", b"2.1.5", b"4.2.0", b"2.0.0.1", b" 2.0.0", b""]),
    st.sampled_from([b"", b" ", b"  ", b"\t", b"\n"]),
    st.text("abc 2.0<>:", max_size=12).map(str.encode),
)


def gathered(run: str = "spring-1", **values: Any) -> bytes | None:
    lines = DeliveredLines(run)
    return lines.take() if lines.add(**values) else None


def test_a_plain_delivery_is_written_here() -> None:
    assert gathered(**PLAIN) == delivered_line("spring-1", **PLAIN)  # type: ignore[arg-type]


@given(
    TEXTS,
    st.fixed_dictionaries(
        {
            "time": st.just(PLAIN["time"]),
            "recipient": TEXTS,
            "attempt": st.integers(1, 65_535),
            "code": st.integers(200, 299),
            "raw": REPLIES,
            "site": st.none() | TEXTS,
            "host": st.none() | TEXTS,
            "source": st.none() | TEXTS,
            "tls": st.none() | TEXTS,
            "size_bytes": st.integers(0, 2**40),
            "milliseconds": st.floats(0, 1e9).map(lambda value: round(value, 1)),
            "message_id": TEXTS,
        }
    ),
)
def test_what_is_written_is_what_the_general_way_writes(run: str, values: dict[str, Any]) -> None:
    made = gathered(run, **values)
    assert made is None or made == delivered_line(run, **values)


@given(st.text("abcXYZ09 .:;<>=#-_/", max_size=40).map(str.encode), st.sampled_from([b"2.0.0 ", b"2.6.0  ", b""]))
def test_ordinary_replies_need_no_other_way(text: bytes, enhanced: bytes) -> None:
    values: dict[str, Any] = PLAIN | {"raw": enhanced + text}
    assert gathered(**values) == delivered_line("spring-1", **values)


def test_a_refused_line_leaves_the_others_whole() -> None:
    lines = DeliveredLines("spring-1")
    plain: dict[str, Any] = PLAIN
    assert lines.add(**plain) and len(lines) > 0
    for change in (
        {"raw": b"two\nlines"},
        {"raw": b"x" * 1001},
        {"raw": "grün".encode()},
        {"recipient": "jürgen@example.org"},
        {"host": 'a"b'},
        {"message_id": "<a\\b>"},
        {"attempt": 0},
        {"milliseconds": -0.1},
    ):
        assert not lines.add(**{**plain, **change}), change
    assert lines.add(**plain)
    assert lines.take() == 2 * delivered_line("spring-1", **plain)
    assert len(lines) == 0 and lines.take() == b""


@given(st.floats(0, 1e6) | st.integers(0, 10**7).map(lambda twentieths: twentieths / 20) | st.floats(0, 9.9e11))
@example(0.25).via("half of a tenth, which is rounded to the even one")
@example(0.35).via("not half of a tenth, though ten times it is")
@example(99.95)
@example(1e8)
def test_milliseconds_are_rounded_as_everybody_rounds_them(milliseconds: float) -> None:
    line = gathered(**PLAIN | {"milliseconds": milliseconds})
    assert line is not None and f'"milliseconds":{milliseconds:.1f},'.encode() in line
