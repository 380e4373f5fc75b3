"""Write numbers in decimal, as `printf` would, which takes five to ten times as long.

Header only (no .pyx twin), so that every extension compiles it into itself.
"""

from libc.math cimport fabs, floor
from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf

cdef enum:
    DIGITS = 24          # room for any number
    TENTHS = 32          # and for what `tenths` writes


cdef inline int decimal(char *out, uint64_t value) noexcept nogil:
    """`%lu`; how many bytes."""
    cdef char backwards[DIGITS]
    cdef int count = 0, size = 0
    while True:
        backwards[count] = <char> (c"0" + value % 10)
        value //= 10
        count += 1
        if not value:
            break
    while count:
        count -= 1
        out[size] = backwards[count]
        size += 1
    return size


cdef inline int tenths(char *out, double value) noexcept nogil:
    """`%.1f` of 0 to 10^12; how many bytes."""
    cdef double scaled = value * 10
    cdef double whole = floor(scaled)
    cdef uint64_t rounded
    cdef int size
    # Ten times the value has been rounded itself: what is close to half of a tenth, or large, is not decided here.
    if not 0 <= scaled < 1e9 or fabs(scaled - whole - 0.5) < 1e-6:
        return snprintf(out, TENTHS, b"%.1f", value)
    rounded = <uint64_t> whole + (scaled - whole > 0.5)
    size = decimal(out, rounded // 10)
    out[size] = c"."
    out[size + 1] = <char> (c"0" + rounded % 10)
    return size + 2
