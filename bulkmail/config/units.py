"""Numbers as people write them, with their unit: `15m`, `500/s`, `2MiB`.

Each function takes the text or a plain number (seconds, a second, bytes) and raises ValueError with a sentence that
says what is wanted. Zero and less are refused: no setting has a use for them.
"""

import math
import re

from bulkmail.model.units import ByteCount, PerSecond, Seconds, Share

SPAN_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
PERIOD_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
SIZE_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
SECONDS_PATTERN = rf"^{_NUMBER} ?({'|'.join(SPAN_SECONDS)})?$"
RATE_PATTERN = rf"^{_NUMBER}( ?/ ?({'|'.join(PERIOD_SECONDS)}))?$"
BYTES_PATTERN = rf"^{_NUMBER} ?({'|'.join(SIZE_BYTES)})?$"
SHARE_PATTERN = rf"^{_NUMBER} ?%$"

# What a timer, a bucket and a buffer can hold with room to spare; a larger figure is a slip of the keyboard.
_MOST_SECONDS = 10 * 365 * 86400
_MOST_PER_SECOND = 10**9
_MOST_BYTES = 2**40

_split = re.compile(rf"([+-]?)({_NUMBER}) ?(/? ?)([A-Za-z]*)").fullmatch


def parse_seconds(value: str | float) -> Seconds:
    """A span of time: a number of seconds, or a number with ms, s, m (min), h or d."""
    seconds = _parse(value, SPAN_SECONDS, "a span of time such as 90s, 15m, 2h or 1d", slash=False)
    if seconds > _MOST_SECONDS:
        raise ValueError("more than 10 years")
    return Seconds(seconds)


def parse_rate(value: str | float) -> PerSecond:
    """A rate: a number a second, or a number with /s, /m (/min), /h or /d."""
    rate = _parse(value, PERIOD_SECONDS, "a rate such as 500/s, 30/m or 2/h", slash=True)
    if rate > _MOST_PER_SECOND:
        raise ValueError("more than a thousand million a second")
    return PerSecond(rate)


def parse_share(value: str | float) -> Share:
    """A part: a percentage with its sign."""
    match = re.fullmatch(rf"({_NUMBER}) ?%", value.strip()) if isinstance(value, str) and len(value) <= 100 else None
    if match is None:
        raise ValueError("a percentage such as 1% is needed")
    share = float(match[1]) / 100
    if not 0 < share <= 1:
        raise ValueError("must be more than 0% and at most 100%")
    return Share(share)


def parse_bytes(value: str | float) -> ByteCount:
    """A size: a number of bytes, or a number with KiB, MiB, GiB (powers of 1024), KB, MB or GB (of 1000)."""
    size = _parse(value, SIZE_BYTES, "a size such as 512KiB, 2MiB or 10MB", slash=False)
    if size > _MOST_BYTES:
        raise ValueError("more than 1024 GiB")
    if size != int(size):
        raise ValueError("no whole number of bytes")
    return ByteCount(size)


def _parse(value: str | float, units: dict[str, float] | dict[str, int], wanted: str, *, slash: bool) -> float:
    if isinstance(value, bool):
        raise ValueError(f"{wanted} is needed")
    text = value if isinstance(value, str) else _plain(value)
    match = _split(text.strip()) if len(text) <= 100 else None
    if match is None:
        raise ValueError(f"{wanted} is needed")
    sign, number, separator, unit = match.groups()
    if (unit or separator) and ("/" in separator) != slash:
        raise ValueError(f"{wanted} is needed")
    if unit and unit not in units:
        nearest = next((known for known in units if known.lower() == unit.lower()), None)
        known = "known: " + ", ".join(f"/{name}" if slash else name for name in units)
        raise ValueError(f'unknown unit "{unit}" ({f"write {nearest}" if nearest else known})')
    if separator and not unit:
        raise ValueError(f"{wanted} is needed")
    amount = float(number) / units[unit] if slash and unit else float(number) * units[unit] if unit else float(number)
    if sign == "-" or amount <= 0:
        raise ValueError("must be more than zero")
    return amount


def _plain(value: float) -> str:
    """A number without exponent, so that one grammar reads text and numbers."""
    return f"{value:f}" if isinstance(value, float) and math.isfinite(value) else str(value)
