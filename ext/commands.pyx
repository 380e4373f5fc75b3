"""Write SMTP's command lines, and let nothing into them that does not belong there.

A caller's text is refused, never escaped: a control character in an address would be a command of its own.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

from digits cimport DIGITS, decimal

cdef enum:
    # RFC 5321 §4.5.3.1.3: a path has 256 octets, its brackets among them.
    MAX_PATH = 254
    # What the parameters of MAIL or RCPT may add to that: ORCPT has 500 (RFC 3461 §4.2) and is the longest.
    MAX_PARAMETERS = 640
    # RFC 5321 §4.5.3.1.4 has 512 octets; each extension adds its own, and RFC 4954 §4 lets an AUTH line have 12288.
    MAX_LINE = 12288


cdef bint is_clean(bytes text, bint utf8, bint bracketed):
    """No control character, not even one of Unicode's, nor anything that ends a path that stands in brackets."""
    cdef const unsigned char *p = text
    cdef Py_ssize_t i, n = len(text)
    cdef unsigned char byte
    cdef bint foreign = False
    for i in range(n):
        byte = p[i]
        if byte < 0x20 or byte == 0x7F or (bracketed and (byte == 0x3C or byte == 0x3E)):
            return False
        if byte >= 0x80:
            if not utf8:
                return False
            foreign = True
            # What some reader may take for the end of a line: U+0080 to U+009F, U+2028 and U+2029.
            if byte == 0xC2 and i + 1 < n and p[i + 1] < 0xA0:
                return False
            if byte == 0xE2 and i + 2 < n and p[i + 1] == 0x80 and (p[i + 2] == 0xA8 or p[i + 2] == 0xA9):
                return False
    # RFC 3629 §10: a reader that is lenient with what is no UTF-8 may find a line feed in it (C0 8A).
    return not foreign or is_utf8(text)


cdef bint is_utf8(bytes text):
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


cpdef bytes command_line(bytes text, bint utf8=False):
    """`text` with its CRLF: the one place where command lines are made.

    ValueError where a control character is in it, 8-bit text without SMTPUTF8 (RFC 6531 §3.4), or too much of it.
    """
    if len(text) + 2 > MAX_LINE or not is_clean(text, utf8, False):
        raise ValueError("a control character or 8-bit text in an SMTP command, or too long a one")
    return text + b"\r\n"


cdef bytes size_parameter(Py_ssize_t size):
    cdef char text[6 + DIGITS]
    memcpy(text, b" SIZE=", 6)
    return PyBytes_FromStringAndSize(text, 6 + decimal(text + 6, size))


cdef bytes path_line(bytes start, bytes path, bytes parameters, bint utf8):
    """`MAIL FROM:<path> parameters` or `RCPT TO:<path> parameters`."""
    cdef bytes line
    cdef char *out
    if len(path) > MAX_PATH or not is_clean(path, utf8, True):
        raise ValueError("a control character, bracket or 8-bit character in an envelope address, or too long a one")
    if len(parameters) > MAX_PARAMETERS or (parameters and parameters[0] != 0x20):
        raise ValueError("the parameters of an SMTP command are too long, or no parameters")
    if not is_clean(parameters, utf8, False):
        raise ValueError("a control character or 8-bit text in the parameters of an SMTP command")
    line = PyBytes_FromStringAndSize(NULL, len(start) + len(path) + len(parameters) + 4)
    out = PyBytes_AS_STRING(line)
    out = copy(out, start)
    out[0] = c"<"
    out = copy(out + 1, path)
    out[0] = c">"
    out = copy(out + 1, parameters)
    out[0], out[1] = c"\r", c"\n"
    return line


cdef inline char *copy(char *out, bytes text):
    memcpy(out, PyBytes_AS_STRING(text), len(text))
    return out + len(text)
