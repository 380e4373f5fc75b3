"""Write the event-log lines of delivered messages: JSON, the same bytes as msgspec writes of the same `Event`.

Only what needs no thought is written here: printable ASCII without `"` and `\\`, replies of one line. For anything else
the caller is told so and goes the general way.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memcpy, memcmp

from digits cimport DIGITS, TENTHS, decimal, tenths

from bulkmail.native.reply cimport enhanced_code

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    bint PyUnicode_IS_ASCII(object text)

cdef enum:
    MOST_REPLY = 1000  # characters; a longer reply is cut by the general way
    ROOM = 1024


cdef class DeliveredLines:
    def __init__(self, str run not None):
        self.run = run

    def __dealloc__(self):
        PyMem_Free(self.buffer)

    def __len__(self):
        return self.size

    cdef int reserve(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t wanted = self.size + more
        cdef char *grown
        if wanted > self.room:
            wanted += wanted // 2
            grown = <char *>PyMem_Realloc(self.buffer, wanted)
            if grown == NULL:
                raise MemoryError()
            self.buffer, self.room = grown, wanted
        return 0

    cdef int copy(self, const char *data, Py_ssize_t length) except -1:
        self.reserve(length)
        memcpy(self.buffer + self.size, data, length)
        self.size += length
        return 0

    cdef int number(self, Py_ssize_t value) except -1:
        self.reserve(DIGITS)
        self.size += decimal(self.buffer + self.size, value)
        return 0

    cdef bint text(self, object value) except -1:
        """`value` in quotes, or null; False, with nothing said, where it needs escapes or is not ASCII."""
        cdef Py_ssize_t length
        cdef const char *data
        if value is None:
            self.copy(b"null", 4)
            return True
        if not PyUnicode_IS_ASCII(value):
            return False
        data = PyUnicode_AsUTF8AndSize(value, &length)
        if not is_plain(data, length):
            return False
        self.reserve(length + 2)
        self.buffer[self.size] = c'"'
        memcpy(self.buffer + self.size + 1, data, length)
        self.buffer[self.size + 1 + length] = c'"'
        self.size += length + 2
        return True

    cdef bint reply(self, int code, bytes raw) except -1:
        """`"enhanced":...,"reply":...`"""
        cdef const char *data = PyBytes_AS_STRING(raw)
        cdef Py_ssize_t length = PyBytes_GET_SIZE(raw), prefix
        cdef const char *enhanced_data = NULL
        if length > MOST_REPLY or not is_plain(data, length):
            return False
        enhanced = enhanced_code(raw, code)
        while length and data[0] == c" ":
            data += 1
            length -= 1
        while length and data[length - 1] == c" ":
            length -= 1
        prefix = 0
        if enhanced is not None:
            enhanced_data = PyUnicode_AsUTF8AndSize(enhanced, &prefix)
            if length >= prefix and memcmp(data, enhanced_data, prefix) == 0:
                data += prefix
                length -= prefix
                while length and data[0] == c" ":
                    data += 1
                    length -= 1
        self.copy(b',"enhanced":', 12)
        self.text(enhanced)
        self.copy(b',"reply":"', 10)
        self.number(code)
        if prefix:
            self.copy(b" ", 1)
            self.copy(enhanced_data, prefix)
        if length:
            self.copy(b" ", 1)
            self.copy(data, length)
        self.copy(b'"', 1)
        return True

    def add(
        self,
        str time not None,
        str recipient not None,
        int attempt,
        int code,
        bytes raw not None,
        str site,
        str host,
        str source,
        str tls,
        Py_ssize_t size_bytes,
        double milliseconds,
        str message_id not None,
    ):
        cdef Py_ssize_t before = self.size
        if (
            self.begin(time, recipient, attempt, code, raw)
            and self.passage_text(site, host, source, tls)
            and self.finish(size_bytes, milliseconds, message_id)
        ):
            return True
        self.size = before
        return False

    def passage(self, str site, str host, str source, str tls):
        cdef Py_ssize_t before = self.size
        cdef bytes passage = None
        if self.passage_text(site, host, source, tls):
            passage = PyBytes_FromStringAndSize(self.buffer + before, self.size - before)
        self.size = before
        return passage

    cdef bint line(
        self,
        str time,
        str recipient,
        int attempt,
        int code,
        bytes raw,
        bytes passage,
        Py_ssize_t size_bytes,
        double milliseconds,
        str message_id,
    ) except -1:
        """`add` with what `passage` has put into words before."""
        cdef Py_ssize_t before = self.size
        if self.begin(time, recipient, attempt, code, raw):
            self.copy(PyBytes_AS_STRING(passage), PyBytes_GET_SIZE(passage))
            if self.finish(size_bytes, milliseconds, message_id):
                return True
        self.size = before
        return False

    cdef bint begin(self, str time, str recipient, int attempt, int code, bytes raw) except -1:
        if attempt <= 0:
            return False
        self.copy(b'{"time":', 8)
        if not self.text(time):
            return False
        self.copy(b',"event":"attempt","run":', 25)
        if not self.text(self.run):
            return False
        self.copy(b',"recipient":', 13)
        if not self.text(recipient):
            return False
        self.copy(b',"attempt":', 11)
        self.number(attempt)
        self.copy(b',"disposition":"delivered","code":', 34)
        self.number(code)
        if not self.reply(code, raw):
            return False
        self.copy(b',"stage":"message","reason":null', 32)
        return True

    cdef bint passage_text(self, str site, str host, str source, str tls) except -1:
        self.copy(b',"site":', 8)
        if not self.text(site):
            return False
        self.copy(b',"host":', 8)
        if not self.text(host):
            return False
        self.copy(b',"source":', 10)
        if not self.text(source):
            return False
        self.copy(b',"tls":', 7)
        return self.text(tls)

    cdef bint finish(self, Py_ssize_t size_bytes, double milliseconds, str message_id) except -1:
        if not 0 <= milliseconds < 1e12:
            return False
        self.copy(b',"bytes":', 9)
        self.number(size_bytes)
        self.copy(b',"milliseconds":', 16)
        self.reserve(TENTHS)
        # One decimal, as the value was rounded to: the shortest that reads back the same.
        self.size += tenths(self.buffer + self.size, milliseconds)
        self.copy(b',"message_id":', 14)
        if not self.text(message_id):
            return False
        self.copy(b"}\n", 2)
        return True

    def take(self):
        cdef bytes lines = PyBytes_FromStringAndSize(self.buffer, self.size)
        self.size = 0
        return lines


cdef inline bint is_plain(const char *data, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t at
    cdef unsigned char byte
    for at in range(length):
        byte = data[at]
        if byte < 0x20 or byte > 0x7E or byte == c'"' or byte == c"\\":
            return False
    return True
