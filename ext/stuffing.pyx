"""Turn message bytes into SMTP lines: CRLF line ends (RFC 5321 §2.3.8) and doubled leading dots (RFC 5321 §4.5.2).

Both passes look at 64 bytes at a time through bit masks. The first counts the bytes to insert: none means that the very
same object is returned. The second copies blocks that need nothing whole, and the others byte by byte without branches.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from scan cimport scan_count, scan_equal, scan_first

cdef enum:
    BLOCK = 64
    FEW = 12             # pieces of a block that are copied faster than its bytes one by one
    NOGIL_BYTES = 65536


cdef struct Cursor:
    # What the byte before the block was, as bit 0.
    uint64_t after_cr
    uint64_t after_eol


cdef struct Marks:
    # Bit i: something goes before byte i of the block.
    uint64_t lf          # the LF that a bare CR lacks
    uint64_t cr          # the CR that a bare LF lacks
    uint64_t dot         # a second dot


cdef inline Marks mark(const unsigned char *block, Cursor *cursor, uint64_t dots) noexcept nogil:
    """What to insert into one block; moves the cursor behind it. `dots` is all ones to stuff, zero not to."""
    cdef Marks marks
    cdef uint64_t cr = scan_equal(block, b"\r")
    cdef uint64_t lf = scan_equal(block, b"\n")
    cdef uint64_t after_cr = cr << 1 | cursor.after_cr
    cdef uint64_t after_eol = (cr | lf) << 1 | cursor.after_eol
    marks.lf = after_cr & ~lf
    marks.cr = lf & ~after_cr
    marks.dot = scan_equal(block, b".") & after_eol & dots
    cursor.after_cr = cr >> 63
    cursor.after_eol = (cr | lf) >> 63
    return marks


cdef inline void pad(unsigned char *block, const unsigned char *data, Py_ssize_t length) noexcept nogil:
    """The last, short block, filled up with a byte that means nothing: a CR before it is seen as bare."""
    memset(block, 0, BLOCK)
    memcpy(block, data, length)


cdef Py_ssize_t count_insertions(const unsigned char *data, Py_ssize_t length, uint64_t dots) noexcept nogil:
    cdef Cursor cursor = Cursor(0, 1)
    cdef Marks marks
    cdef unsigned char last[BLOCK]
    cdef Py_ssize_t total = 0, at = 0
    while at + BLOCK <= length:
        marks = mark(data + at, &cursor, dots)
        if marks.lf | marks.cr | marks.dot:
            total += scan_count(marks.lf) + scan_count(marks.cr) + scan_count(marks.dot)
        at += BLOCK
    pad(last, data + at, length - at)
    marks = mark(last, &cursor, dots)
    return total + scan_count(marks.lf) + scan_count(marks.cr) + scan_count(marks.dot)


cdef inline unsigned char *insert_at(unsigned char *out, Marks marks, Py_ssize_t i) noexcept nogil:
    """What goes before byte i. Written without branches: the byte itself overwrites what was not wanted."""
    out[0] = b"\n"
    out += marks.lf >> i & 1
    out[0] = b"\r"
    out += marks.cr >> i & 1
    out[0] = b"."
    return out + (marks.dot >> i & 1)


cdef inline unsigned char *insert_few(unsigned char *out, const unsigned char *block, Marks marks) noexcept nogil:
    """Copy a block in pieces. Each copy is of 64 bytes, so another block must follow this one."""
    cdef uint64_t places = marks.lf | marks.cr | marks.dot
    cdef Py_ssize_t done = 0, place
    while places:
        place = scan_first(places)
        places &= places - 1
        memcpy(out, block + done, BLOCK)
        out = insert_at(out + place - done, marks, place)
        done = place
    memcpy(out, block + done, BLOCK)
    return out + BLOCK - done


cdef inline unsigned char *insert_many(
    unsigned char *out, const unsigned char *block, Py_ssize_t length, Marks marks
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(length):
        out = insert_at(out, marks, i)
        out[0] = block[i]
        out += 1
    return out


cdef unsigned char *write_lines(
    unsigned char *out, const unsigned char *data, Py_ssize_t length, uint64_t dots
) noexcept nogil:
    cdef Cursor cursor = Cursor(0, 1)
    cdef Marks marks
    cdef uint64_t places
    cdef unsigned char last[BLOCK]
    cdef Py_ssize_t at = 0
    while at + BLOCK <= length:
        marks = mark(data + at, &cursor, dots)
        places = marks.lf | marks.cr | marks.dot
        if places == 0:
            memcpy(out, data + at, BLOCK)
            out += BLOCK
        elif scan_count(places) <= FEW and at + 2 * BLOCK <= length:
            out = insert_few(out, data + at, marks)
        else:
            out = insert_many(out, data + at, BLOCK, marks)
        at += BLOCK
    pad(last, data + at, length - at)
    marks = mark(last, &cursor, dots)
    out = insert_many(out, last, length - at, marks)
    if marks.lf >> (length - at) & 1:
        out[0] = b"\n"
        out += 1
    return out


cdef bytes rewrite(bytes data, uint64_t dots, bint close_line):
    cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
    cdef const unsigned char *source = <const unsigned char *>PyBytes_AS_STRING(data)
    cdef unsigned char *out
    cdef Py_ssize_t extra
    cdef bint open_line = close_line and length > 0 and source[length - 1] not in (b"\r", b"\n")
    if length > NOGIL_BYTES:
        with nogil:
            extra = count_insertions(source, length, dots)
    else:
        extra = count_insertions(source, length, dots)
    if extra == 0 and not open_line:
        return data
    cdef bytes result = PyBytes_FromStringAndSize(NULL, length + extra + 2 * open_line)
    out = <unsigned char *>PyBytes_AS_STRING(result)
    if length > NOGIL_BYTES:
        with nogil:
            out = write_lines(out, source, length, dots)
    else:
        out = write_lines(out, source, length, dots)
    if open_line:
        out[0] = b"\r"
        out[1] = b"\n"
    return result


def normalize(bytes data not None, /) -> bytes:
    return rewrite(data, 0, False)


cpdef bytes stuff(bytes data):
    if data is None:
        raise TypeError("data is bytes, not None")
    return rewrite(data, ~<uint64_t>0, True)
