"""Specification of bulkmail.native.buckets, in plain Python."""

BURST_SECONDS = 0.1
_CLOCK_SLACK_SECONDS = 1e-6


class TokenBucket:
    """Lets through `rate` a second and at most `burst` at once: in any `t` seconds, at most `burst + rate * t`.

    It keeps one number, when the bucket will be full again (the generic cell rate algorithm, ITU-T I.371): nothing is
    to be refilled, rates far below one a second lose nothing to rounding, and `wait_seconds` is exact.
    """

    __slots__ = ("_burst", "_full_at", "_interval", "_own_burst")

    def __init__(self, rate_per_second: float, burst: float | None = None, now: float = 0.0) -> None:
        """`burst` is at least 1; left out, what `BURST_SECONDS` of the rate are. `now` is monotonic seconds."""
        self._own_burst = burst
        self._full_at = now
        self._interval, self._burst = self._checked(rate_per_second)

    @property
    def rate_per_second(self) -> float:
        return 1.0 / self._interval

    def take(self, now: float) -> bool:
        """Take one if there is one."""
        return self.take_up_to(now, 1) == 1

    def take_up_to(self, now: float, wanted: int) -> int:
        """Take as many as there are, `wanted` at most; how many."""
        full_at = max(self._full_at, now)
        held = self._burst - (full_at - now - _CLOCK_SLACK_SECONDS) / self._interval
        taken = max(0, min(wanted, int(held)))
        self._full_at = full_at + taken * self._interval
        return taken

    def wait_seconds(self, now: float) -> float:
        """How long until `take` says yes; 0 for now."""
        return max(0.0, self._full_at - now - (self._burst - 1.0) * self._interval)

    def is_full(self, now: float) -> bool:
        """Whether a new bucket would be no different."""
        return self._full_at <= now

    def set_rate(self, rate_per_second: float, now: float) -> None:
        """Change the rate; what was taken beyond it stays to be made good, at the new rate."""
        owed = max(0.0, self._full_at - now) / self._interval
        self._interval, self._burst = self._checked(rate_per_second)
        self._full_at = now + owed * self._interval

    def _checked(self, rate_per_second: float) -> tuple[float, float]:
        if not rate_per_second > 0:
            raise ValueError(f"a rate must be above 0 a second, not {rate_per_second}")
        burst = rate_per_second * BURST_SECONDS if self._own_burst is None else self._own_burst
        return 1.0 / rate_per_second, max(1.0, burst)
