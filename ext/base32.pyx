"""Base32 in small letters (RFC 4648 §6), without padding: what a recipient's tokens are written in."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 most)
    void *PyUnicode_DATA(object text)

cdef const char *LETTERS = b"abcdefghijklmnopqrstuvwxyz234567"


def encode(bytes data not None):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef const uint8_t *source = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef uint8_t *out
    cdef uint64_t group
    cdef Py_ssize_t at
    cdef int place
    if size % 5:
        raise ValueError(f"{size} bytes are no whole number of groups of 5")
    text = PyUnicode_New(size // 5 * 8, 127)
    out = <uint8_t *>PyUnicode_DATA(text)
    for at in range(0, size, 5):
        group = 0
        for place in range(5):
            group = group << 8 | source[at + place]
        for place in range(8):
            out[place] = LETTERS[(group >> (35 - 5 * place)) & 31]
        out += 8
    return text
