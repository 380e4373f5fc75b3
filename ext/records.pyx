"""Write the two journal records that every delivered message leaves, with length and CRC, straight into a segment.

    u32 length | u32 CRC-32 of the body | body
    intent   u8 1 | u16 attempt | u16 index | u32 chunk | f64 time
    outcome  u8 2 | u16 attempt | u16 index | u32 chunk | f64 time | u8 disposition | u8 stage | u8 reason | u16 code
             | f64 due

All little-endian, as `bulkmail.store.journal` reads them; an outcome with a text is written there. And the record of a
delivery in the column of its chunk, 32 bytes each (bulkmail.store.outcomes):

    u8 disposition | u8 stage | u8 reason | pad | u16 code | u16 attempt | f64 time | f64 due | f64 time of the first try
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.buffer cimport PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef enum:
    HEAD = 8
    INTENT = 17
    OUTCOME = 30
    INTENT_TAG = 1
    OUTCOME_TAG = 2
    COLUMN = 32
    FIRST = 24
    # The values of bulkmail.model.delivery, for deliveries.
    DELIVERED = 1
    MESSAGE = 10

cdef uint32_t TABLE[256]


cdef void fill_table() noexcept:
    cdef uint32_t value
    cdef int number, bit
    for number in range(256):
        value = number
        for bit in range(8):
            # The reversed polynomial of CRC-32 (ISO 3309), as zlib computes it.
            value = (value >> 1) ^ (0xEDB88320U if value & 1 else 0U)
        TABLE[number] = value


fill_table()


cdef inline uint32_t crc32(const uint8_t *data, int length) noexcept nogil:
    cdef uint32_t value = 0xFFFFFFFFU
    cdef int at
    for at in range(length):
        value = TABLE[(value ^ data[at]) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFFU


cdef inline void put(uint8_t *where, uint64_t value, int width) noexcept nogil:
    cdef int at
    for at in range(width):
        where[at] = (value >> (8 * at)) & 0xFF


cdef inline void put_double(uint8_t *where, double value) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    put(where, bits, 8)


cdef inline void put_common(uint8_t *body, int tag, int attempt, int index, uint32_t chunk, double time) noexcept nogil:
    body[0] = tag
    put(body + 1, attempt, 2)
    put(body + 3, index, 2)
    put(body + 5, chunk, 4)
    put_double(body + 9, time)


cdef int place(object buffer, Py_ssize_t at, const uint8_t *record, int length) except -1:
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    try:
        if at < 0 or at + length > view.len:
            raise IndexError(f"a record of {length} bytes at {at} of {view.len}")
        memcpy(<uint8_t *>view.buf + at, record, length)
    finally:
        PyBuffer_Release(&view)
    return 0


cpdef int put_intent(
    buffer, Py_ssize_t at, uint32_t chunk, uint16_t index, uint16_t attempt, double time
) except -1:
    cdef uint8_t record[HEAD + INTENT]
    put_common(record + HEAD, INTENT_TAG, attempt, index, chunk, time)
    put(record, INTENT, 4)
    put(record + 4, crc32(record + HEAD, INTENT), 4)
    return place(buffer, at, record, HEAD + INTENT)


cpdef int put_outcome(
    buffer,
    Py_ssize_t at,
    uint32_t chunk,
    uint16_t index,
    uint16_t attempt,
    double time,
    uint8_t disposition,
    uint8_t stage,
    uint8_t reason,
    uint16_t code,
    double due,
) except -1:
    cdef uint8_t record[HEAD + OUTCOME]
    cdef uint8_t *body = record + HEAD
    put_common(body, OUTCOME_TAG, attempt, index, chunk, time)
    body[17] = disposition
    body[18] = stage
    body[19] = reason
    put(body + 20, code, 2)
    put_double(body + 22, due)
    put(record, OUTCOME, 4)
    put(record + 4, crc32(body, OUTCOME), 4)
    return place(buffer, at, record, HEAD + OUTCOME)


cdef int mark_delivered(bytearray records, Py_ssize_t index, uint16_t attempt, uint16_t code, double time) except -1:
    """Set a delivery in a chunk's column; returns the disposition that was there."""
    if index < 0 or (index + 1) * COLUMN > PyByteArray_GET_SIZE(records):
        raise IndexError(f"recipient {index} of a chunk of {PyByteArray_GET_SIZE(records) // COLUMN}")
    cdef uint8_t *record = <uint8_t *>PyByteArray_AS_STRING(records) + index * COLUMN
    cdef int before = record[0], at
    cdef bint tried = False
    for at in range(FIRST, COLUMN):
        tried |= record[at] != 0
    memset(record, 0, FIRST)
    record[0] = DELIVERED
    record[1] = MESSAGE
    put(record + 4, code, 2)
    put(record + 6, attempt, 2)
    put_double(record + 8, time)
    if not tried:
        put_double(record + FIRST, time)
    return before


def put_delivered(bytearray records not None, Py_ssize_t index, uint16_t attempt, uint16_t code, double time):
    return mark_delivered(records, index, attempt, code, time)


cdef class RecordWriter:
    def __init__(self):
        self.last = {}
        self.unanswered = {}
        self.unmarked = []
        self.limit = self.intent_limit = -1

    def enter(self, buffer, dict last not None, long long base, long long size, long long kept):
        self.buffer, self.last = buffer, last
        self.base = self.position = base
        self.limit = base + size
        self.intent_limit = self.limit - kept

    cpdef bint intent(self, uint32_t chunk, uint16_t index, uint16_t attempt, double time) except -1:
        cdef long long end = self.position + HEAD + INTENT
        if end > self.intent_limit:
            return False
        put_intent(self.buffer, self.position - self.base, chunk, index, attempt, time)
        self.position = end
        self.last[chunk] = self.unanswered[<uint64_t>chunk << 16 | index] = end
        return True

    cpdef bint delivered(self, uint32_t chunk, uint16_t index, uint16_t attempt, uint16_t code, double time) except -1:
        cdef long long end = self.position + HEAD + OUTCOME
        if end > self.limit:
            return False
        put_outcome(
            self.buffer, self.position - self.base, chunk, index, attempt, time, DELIVERED, MESSAGE, 0, code, 0.0
        )
        self.position = end
        self.last[chunk] = end
        self.unmarked.append(end)
        self.unanswered.pop(<uint64_t>chunk << 16 | index, None)
        return True
