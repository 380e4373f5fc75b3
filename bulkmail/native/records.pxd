from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef class RecordWriter:
    cdef object buffer
    cdef readonly long long base
    cdef public long long position
    cdef public long long limit
    cdef public long long intent_limit
    cdef readonly dict last
    cdef readonly dict unanswered
    cdef public list unmarked

    cpdef bint intent(self, uint32_t chunk, uint16_t index, uint16_t attempt, double time) except -1
    cpdef bint delivered(self, uint32_t chunk, uint16_t index, uint16_t attempt, uint16_t code, double time) except -1


cpdef int put_intent(
    buffer, Py_ssize_t at, uint32_t chunk, uint16_t index, uint16_t attempt, double time
) except -1


cpdef int put_outcome(
    buffer, Py_ssize_t at, uint32_t chunk, uint16_t index, uint16_t attempt, double time, uint8_t disposition,
    uint8_t stage, uint8_t reason, uint16_t code, double due,
) except -1


cdef int mark_delivered(
    bytearray records, Py_ssize_t index, uint16_t attempt, uint16_t code, double time
) except -1
