cdef class TokenBucket:
    cdef double burst
    cdef double full_at
    cdef double interval
    cdef double own_burst

    cpdef bint take(self, double now)
    cpdef long long take_up_to(self, double now, long long wanted)
    cpdef double wait_seconds(self, double now)
    cdef int set_interval(self, double rate_per_second) except -1
