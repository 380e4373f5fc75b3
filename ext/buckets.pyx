"""A token bucket by the generic cell rate algorithm (ITU-T I.371): one number, when it will be full again.

Nothing is to be refilled, rates far below one a second lose nothing to rounding, and `wait_seconds` is exact.
"""

from libc.math cimport isnan, NAN

cdef double BURST_SECONDS = 0.1
cdef double CLOCK_SLACK_SECONDS = 1e-6  # what adding a short wait to a large clock reading may lose


cdef class TokenBucket:
    def __init__(self, double rate_per_second, burst=None, double now=0.0):
        self.own_burst = NAN if burst is None else burst
        self.full_at = now
        self.set_interval(rate_per_second)

    @property
    def rate_per_second(self):
        return 1.0 / self.interval

    cpdef bint take(self, double now):
        return self.take_up_to(now, 1) == 1

    cpdef long long take_up_to(self, double now, long long wanted):
        cdef double full_at = max(self.full_at, now)
        cdef double held = self.burst - (full_at - now - CLOCK_SLACK_SECONDS) / self.interval
        # Compared as they are: a whole number may be too small for what a bucket holds.
        cdef long long taken = 0 if held < 1 or wanted < 1 else wanted if held >= wanted else <long long>held
        self.full_at = full_at + taken * self.interval
        return taken

    cpdef double wait_seconds(self, double now):
        return max(0.0, self.full_at - now - (self.burst - 1.0) * self.interval)

    def is_full(self, double now):
        return self.full_at <= now

    def set_rate(self, double rate_per_second, double now):
        cdef double owed = max(0.0, self.full_at - now) / self.interval
        self.set_interval(rate_per_second)
        self.full_at = now + owed * self.interval

    cdef int set_interval(self, double rate_per_second) except -1:
        cdef double burst
        if not rate_per_second > 0:
            raise ValueError(f"a rate must be above 0 a second, not {rate_per_second}")
        burst = rate_per_second * BURST_SECONDS if isnan(self.own_burst) else self.own_burst
        self.interval = 1.0 / rate_per_second
        self.burst = max(1.0, burst)
        return 0
