"""Canonical forms of header fields and bodies for DKIM (RFC 6376 §3.4).

The body is looked at 64 bytes at a time through bit masks: counted first (nothing to change returns the very same
object), then written, blocks without a change copied whole.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset

from scan cimport scan_count, scan_equal

cdef enum:
    BLOCK = 64
    NOGIL_BYTES = 65536
    STACK_BYTES = 1024


cdef struct Cursor:
    # The bytes before the block: was the last white space, a CR; were the last two white space (bit 1: the last).
    uint64_t after_space
    uint64_t after_cr
    uint64_t two_spaces


cdef struct Marks:
    uint64_t space       # SP or HTAB
    uint64_t tab
    uint64_t repeated    # white space after white space: left out
    uint64_t trailing    # the LF of a line that ends with white space


cdef inline Marks mark(const unsigned char *block, Cursor *cursor) noexcept nogil:
    cdef Marks marks
    cdef uint64_t cr = scan_equal(block, b"\r")
    cdef uint64_t lf = scan_equal(block, b"\n")
    marks.tab = scan_equal(block, b"\t")
    marks.space = scan_equal(block, b" ") | marks.tab
    marks.repeated = marks.space & (marks.space << 1 | cursor.after_space)
    marks.trailing = lf & (cr << 1 | cursor.after_cr) & (marks.space << 2 | cursor.two_spaces)
    cursor.after_space = marks.space >> 63
    cursor.after_cr = cr >> 63
    cursor.two_spaces = marks.space >> 62
    return marks


cdef Py_ssize_t count_left_out(const unsigned char *data, Py_ssize_t length, bint *tabs) noexcept nogil:
    """How many bytes reduction leaves out; `tabs` becomes true where a kept byte changes."""
    cdef Cursor cursor = Cursor(0, 0, 0)
    cdef Marks marks
    cdef unsigned char last[BLOCK]
    cdef uint64_t tab = 0
    cdef Py_ssize_t total = 0, at = 0
    while at + BLOCK <= length:
        marks = mark(data + at, &cursor)
        tab |= marks.tab
        if marks.repeated | marks.trailing:
            total += scan_count(marks.repeated) + scan_count(marks.trailing)
        at += BLOCK
    memset(last, 0, BLOCK)
    memcpy(last, data + at, length - at)
    marks = mark(last, &cursor)
    tabs[0] = (tab | marks.tab) != 0
    return total + scan_count(marks.repeated) + scan_count(marks.trailing)


cdef inline unsigned char *reduce(
    unsigned char *out, const unsigned char *block, Py_ssize_t length, Marks marks
) noexcept nogil:
    """Copy `length` bytes, white space reduced. What is written too far ahead is overwritten by the next byte."""
    cdef Py_ssize_t i
    for i in range(length):
        if marks.trailing >> i & 1:
            out -= 1
            out[-1] = b"\r"
        out[0] = b" " if marks.space >> i & 1 else block[i]
        out += 1 - (marks.repeated >> i & 1)
    return out


cdef unsigned char *write_reduced(
    unsigned char *out, const unsigned char *data, Py_ssize_t length
) noexcept nogil:
    cdef Cursor cursor = Cursor(0, 0, 0)
    cdef Marks marks
    cdef unsigned char last[BLOCK]
    cdef Py_ssize_t at = 0
    while at + BLOCK <= length:
        marks = mark(data + at, &cursor)
        if marks.repeated | marks.trailing | marks.tab:
            out = reduce(out, data + at, BLOCK, marks)
        else:
            memcpy(out, data + at, BLOCK)
            out += BLOCK
        at += BLOCK
    memset(last, 0, BLOCK)
    memcpy(last, data + at, length - at)
    marks = mark(last, &cursor)
    return reduce(out, last, length - at, marks)


cdef inline bint ends_line(const unsigned char *data, Py_ssize_t length) noexcept nogil:
    return length >= 2 and data[length - 2] == b"\r" and data[length - 1] == b"\n"


cdef Py_ssize_t without_empty_end(const unsigned char *data, Py_ssize_t length, bint spaces) noexcept nogil:
    """Length without the line ends (and, if `spaces`, the white space) that close the data."""
    while True:
        while spaces and length > 0 and (data[length - 1] == b" " or data[length - 1] == b"\t"):
            length -= 1
        if not ends_line(data, length):
            return length
        length -= 2


def relaxed_body(bytes data not None, /) -> bytes:
    cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
    cdef const unsigned char *source = <const unsigned char *>PyBytes_AS_STRING(data)
    cdef unsigned char *out
    cdef Py_ssize_t kept, left_out
    cdef bint tabs = False
    if length > NOGIL_BYTES:
        with nogil:
            kept = without_empty_end(source, length, True)
            left_out = count_left_out(source, kept, &tabs)
    else:
        kept = without_empty_end(source, length, True)
        left_out = count_left_out(source, kept, &tabs)
    if kept == 0:
        return b""
    if left_out == 0 and not tabs and kept + 2 == length and ends_line(source, length):
        return data
    cdef bytes result = PyBytes_FromStringAndSize(NULL, kept - left_out + 2)
    out = <unsigned char *>PyBytes_AS_STRING(result)
    if length > NOGIL_BYTES:
        with nogil:
            out = write_reduced(out, source, kept)
    else:
        out = write_reduced(out, source, kept)
    out[0] = b"\r"
    out[1] = b"\n"
    return result


def simple_body(bytes data not None, /) -> bytes:
    cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
    cdef const unsigned char *source = <const unsigned char *>PyBytes_AS_STRING(data)
    cdef unsigned char *out
    cdef Py_ssize_t kept = without_empty_end(source, length, False)
    if kept + 2 == length and ends_line(source, length):
        return data
    cdef bytes result = PyBytes_FromStringAndSize(NULL, kept + 2)
    out = <unsigned char *>PyBytes_AS_STRING(result)
    memcpy(out, source, kept)
    out[kept] = b"\r"
    out[kept + 1] = b"\n"
    return result


cdef struct Field:
    Py_ssize_t name      # length of the canonical name, -1: the field has none
    Py_ssize_t length    # length of the canonical line


cdef Field write_field(unsigned char *out, const unsigned char *line, Py_ssize_t length) noexcept nogil:
    """The canonical form of one field, at most `length` + 2 bytes, written to `out` (RFC 6376 §3.4.2)."""
    cdef Field field = Field(-1, 0)
    cdef Py_ssize_t i = 0, o = 0
    cdef bint space = False
    cdef unsigned char byte
    if length > 0 and (line[0] == b" " or line[0] == b"\t"):
        return field
    while i < length:
        byte = line[i]
        i += 1
        if byte == b"\n" or (byte == b"\r" and i < length and line[i] == b"\n"):
            continue
        if byte == b" " or byte == b"\t":
            space = True
            continue
        if byte == b":" and field.name < 0:
            if o == 0:
                return field
            field.name = o
            space = False
            out[o] = b":"
            o += 1
            continue
        if space and o != field.name + 1:
            out[o] = b" "
            o += 1
        space = False
        if field.name < 0 and b"A" <= byte <= b"Z":
            byte |= 0x20
        out[o] = byte
        o += 1
    out[o] = b"\r"
    out[o + 1] = b"\n"
    field.length = o + 2
    return field


cdef bytes shown(const unsigned char *line, Py_ssize_t length):
    return PyBytes_FromStringAndSize(<const char *>line, min(length, 60))


cdef tuple canonical_field(const unsigned char *line, Py_ssize_t length):
    """(name, canonical line) of one field; ValueError where there is no name before a colon."""
    cdef unsigned char stack[STACK_BYTES]
    cdef unsigned char *out = stack
    cdef Field field
    if length + 2 > STACK_BYTES:
        out = <unsigned char *>malloc(length + 2)
        if out == NULL:
            raise MemoryError
    try:
        field = write_field(out, line, length)
        if field.name < 0:
            raise ValueError(f"header field {shown(line, length)!r} does not begin with a name and a colon")
        return (
            PyBytes_FromStringAndSize(<char *>out, field.name),
            PyBytes_FromStringAndSize(<char *>out, field.length),
        )
    finally:
        if out != stack:
            free(out)


def relaxed_header(bytes line not None, /) -> bytes:
    cdef Py_ssize_t length = PyBytes_GET_SIZE(line)
    cdef bytes canonical = canonical_field(<const unsigned char *>PyBytes_AS_STRING(line), length)[1]
    return line if canonical == line else canonical


def relaxed_headers(bytes block not None, /) -> list:
    cdef const unsigned char *at = <const unsigned char *>PyBytes_AS_STRING(block)
    cdef const unsigned char *end = at + PyBytes_GET_SIZE(block)
    cdef const unsigned char *stop
    cdef list fields = []
    while at < end:
        if at[0] == b"\n" or (at[0] == b"\r" and at + 1 < end and at[1] == b"\n"):
            break
        stop = at
        while True:
            stop = <const unsigned char *>memchr(stop, b"\n", end - stop)
            if stop == NULL:
                stop = end
                break
            stop += 1
            if stop == end or (stop[0] != b" " and stop[0] != b"\t"):
                break
        fields.append(canonical_field(at, stop - at))
        at = stop
    return fields
