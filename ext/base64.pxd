"""Write base64, whole or in lines (RFC 4648 §4).

Header only (no .pyx twin), so that every extension compiles it into itself. Nobody checks the room here.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

cdef enum:
    COLUMNS = 72             # of base64 in a line


cdef inline char *put(char *out, const void *data, Py_ssize_t size) noexcept nogil:
    memcpy(out, data, size)
    return out + size



cdef inline char *put_base64(char *out, const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef const char *digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    cdef Py_ssize_t at = 0
    cdef unsigned int three
    while at < size:
        three = data[at] << 16
        if at + 1 < size:
            three |= data[at + 1] << 8
        if at + 2 < size:
            three |= data[at + 2]
        out[0], out[1] = digits[three >> 18], digits[three >> 12 & 63]
        out[2] = digits[three >> 6 & 63] if at + 1 < size else c"="
        out[3] = digits[three & 63] if at + 2 < size else c"="
        out += 4
        at += 3
    return out


cdef inline char *put_lines(char *out, const uint8_t *signature, Py_ssize_t size) noexcept nogil:
    """Base64, COLUMNS characters to a line."""
    cdef Py_ssize_t at = 0, some
    while at < size:
        if at:
            out = put(out, b"\r\n\t", 3)
        some = min(size - at, COLUMNS // 4 * 3)
        out = put_base64(out, signature + at, some)
        at += some
    return put(out, b"\r\n", 2)


cdef inline Py_ssize_t lines_size(Py_ssize_t signature) noexcept nogil:
    cdef Py_ssize_t base64 = (signature + 2) // 3 * 4
    return base64 + (base64 - 1) // COLUMNS * 3 + 2
