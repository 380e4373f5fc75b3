"""The two clocks, passed in wherever time matters, so that a test or a simulation can hold the hands."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """`monotonic` orders and measures (float seconds); `time` stamps (float Unix seconds, UTC)."""

    def monotonic(self) -> float: ...

    def time(self) -> float: ...


class SystemClock:
    """The machine's own clocks."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)


def rfc3339(unix_seconds: float) -> str:
    """`2027-03-01T08:15:00.123Z` (RFC 3339 §5.6), milliseconds, UTC."""
    stamp = datetime.fromtimestamp(unix_seconds, UTC)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z"
