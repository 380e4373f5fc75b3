"""Canonical forms of header fields and bodies for DKIM (RFC 6376 §3.4).

A body with nothing to change is returned as the very same object.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from relaxed cimport (
    Field, count_left_out, end_of_field, ends_line, without_empty_end, write_field, write_reduced,
)

cdef enum:
    NOGIL_BYTES = 65536
    STACK_BYTES = 1024


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
            out = write_reduced(out, out + kept - left_out, source, kept)
    else:
        out = write_reduced(out, out + kept - left_out, source, kept)
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
        stop = end_of_field(at, end)
        fields.append(canonical_field(at, stop - at))
        at = stop
    return fields
