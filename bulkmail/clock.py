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


class SteadyClock:
    """A clock whose `time` goes on from where it was by `monotonic`: what is due is due, however the machine is set.

    A step of a day would let every retry wait a day longer, or give up on recipients a day early.
    """

    def __init__(self, clock: Clock) -> None:
        self.monotonic = clock.monotonic
        self._offset = clock.time() - clock.monotonic()

    def time(self) -> float:
        return self.monotonic() + self._offset


def rfc3339(unix_seconds: float) -> str:
    """`2027-03-01T08:15:00.123Z` (RFC 3339 §5.6), milliseconds, UTC."""
    stamp = datetime.fromtimestamp(unix_seconds, UTC)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z"


class Stamps:
    """Times in RFC 3339, formatted once a millisecond; for one thread."""

    def __init__(self) -> None:
        self._milliseconds = -1
        self._text = ""

    def text(self, unix_seconds: float) -> str:
        """`rfc3339`."""
        milliseconds = int(unix_seconds * 1000)
        if self._milliseconds != milliseconds:
            self._milliseconds, self._text = milliseconds, rfc3339(unix_seconds)
        return self._text
