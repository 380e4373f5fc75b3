"""Spans, rates and sizes as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.config.units import (
    BYTES_PATTERN,
    RATE_PATTERN,
    SECONDS_PATTERN,
    parse_bytes,
    parse_rate,
    parse_seconds,
)
from bulkmail.model.units import ByteCount, PerSecond, Seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("15m", 900),
        ("15min", 900),
        ("15 m", 900),
        ("90s", 90),
        ("2h", 7200),
        ("1d", 86400),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("0.5", 0.5),
        ("90", 90),
        (90, 90),
        (0.25, 0.25),
    ],
)
def test_a_span_is_read_in_seconds(value: str | float, seconds: float) -> None:
    assert parse_seconds(value) == seconds
    assert type(parse_seconds(value)) is Seconds


@pytest.mark.parametrize(
    ("value", "rate"),
    [("500/s", 500), ("30/m", 0.5), ("30/min", 0.5), ("2/h", 2 / 3600), ("1/d", 1 / 86400), ("100", 100), (2.5, 2.5)],
)
def test_a_rate_is_read_a_second(value: str | float, rate: float) -> None:
    assert parse_rate(value) == rate
    assert type(parse_rate(value)) is PerSecond


@pytest.mark.parametrize(
    ("value", "size"),
    [("2MiB", 2097152), ("10MB", 10_000_000), ("512KiB", 524288), ("1.5KiB", 1536), ("7 B", 7), ("9", 9), (9, 9)],
)
def test_a_size_is_read_in_bytes(value: str | float, size: int) -> None:
    assert parse_bytes(value) == size
    assert type(parse_bytes(value)) is ByteCount


SPAN = "a span of time such as 90s, 15m, 2h or 1d is needed"
RATE = "a rate such as 500/s, 30/m or 2/h is needed"
SIZE = "a size such as 512KiB, 2MiB or 10MB is needed"


@pytest.mark.parametrize(
    ("parse", "value", "sentence"),
    [
        (parse_seconds, "", SPAN),
        (parse_seconds, "soon", SPAN),
        (parse_seconds, "1:30", SPAN),
        (parse_seconds, "1h30m", SPAN),
        (parse_seconds, "5/s", SPAN),
        (parse_seconds, "1e3", SPAN),
        (parse_seconds, "٣s", SPAN),
        (parse_seconds, True, SPAN),
        (parse_seconds, math.inf, SPAN),
        (parse_seconds, math.nan, SPAN),
        (parse_seconds, "5w", 'unknown unit "w" (known: ms, s, m, min, h, d)'),
        (parse_seconds, "5M", 'unknown unit "M" (write m)'),
        (parse_seconds, "0s", "must be more than zero"),
        (parse_seconds, "-5m", "must be more than zero"),
        (parse_seconds, -1, "must be more than zero"),
        (parse_seconds, 0, "must be more than zero"),
        (parse_seconds, "3651d", "more than 10 years"),
        (parse_seconds, "9" * 200, SPAN),
        (parse_seconds, 10**400, SPAN),
        (parse_rate, "5/", RATE),
        (parse_rate, "5s", RATE),
        (parse_rate, "5 per second", RATE),
        (parse_rate, "5/week", 'unknown unit "week" (known: /s, /m, /min, /h, /d)'),
        (parse_rate, "0/s", "must be more than zero"),
        (parse_rate, "-1", "must be more than zero"),
        (parse_rate, 2e9, "more than a thousand million a second"),
        (parse_bytes, "2MIB", 'unknown unit "MIB" (write MiB)'),
        (parse_bytes, "2M", 'unknown unit "M" (known: B, KB, MB, GB, KiB, MiB, GiB)'),
        (parse_bytes, "2/s", SIZE),
        (parse_bytes, "0.5", "no whole number of bytes"),
        (parse_bytes, "0", "must be more than zero"),
        (parse_bytes, "2000GiB", "more than 1024 GiB"),
    ],
)
def test_what_is_no_quantity_gets_its_reason(parse, value: str | float, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(value)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("parse", [parse_seconds, parse_rate, parse_bytes])
@given(value=st.one_of(st.text(max_size=20), st.floats(), st.integers(), st.from_regex(r"[0-9./a-zA-Z]{1,8}")))
def test_any_value_is_a_finite_positive_quantity_or_a_value_error(parse, value: str | float) -> None:
    try:
        result = parse(value)
    except ValueError:
        return
    assert 0 < result < math.inf


@pytest.mark.parametrize(
    ("parse", "pattern"), [(parse_seconds, SECONDS_PATTERN), (parse_rate, RATE_PATTERN), (parse_bytes, BYTES_PATTERN)]
)
@given(data=st.data())
def test_the_published_pattern_lets_nothing_pass_that_is_written_wrongly(parse, pattern: str, data) -> None:
    text = data.draw(st.from_regex(pattern, fullmatch=True))
    try:
        parse(text)
    except ValueError as error:
        assert "needed" not in str(error) or len(text) > 100
        assert "unknown unit" not in str(error)
