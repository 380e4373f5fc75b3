"""The seals, for natives that write tokens where they need them."""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

cdef enum:
    TOKEN = 32      # letters

cdef class Sealer:
    cdef uint64_t keyed[8]      # the hash's state behind the block with the key

    cdef void write(self, uint64_t word, uint16_t index, uint8_t *returning, uint8_t *link) noexcept nogil
