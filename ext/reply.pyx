"""Find the replies in the bytes an SMTP server sends (RFC 5321 §4.2), and the enhanced code in a reply's text.

A reply that lies whole in one chunk is cut straight out of it; only what is incomplete is copied and kept.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memchr, memcpy

from bulkmail.errors import ProtocolError

cdef enum:
    LINE_BYTES = 4096    # without the line end; servers may send 512 (RFC 5321 §4.5.3.1.5), some send more
    REPLY_LINES = 128
    REPLY_BYTES = 65536
    KEPT_BYTES = 1024    # buffers above this are given back after use: thousands of connections share the memory
    SHOWN_BYTES = 60

cdef tuple CODES = tuple(range(600))


cdef int append(Buffer *buffer, const unsigned char *data, Py_ssize_t length) except -1:
    cdef Py_ssize_t capacity = buffer.capacity
    cdef void *grown
    if buffer.length + length > capacity:
        capacity = max(256, 2 * capacity, buffer.length + length)
        grown = PyMem_Realloc(buffer.data, capacity)
        if grown == NULL:
            raise MemoryError
        buffer.data = <unsigned char *>grown
        buffer.capacity = capacity
    if length:  # or data may still be NULL
        memcpy(buffer.data + buffer.length, data, length)
        buffer.length += length
    return 0


cdef void clear(Buffer *buffer) noexcept:
    buffer.length = 0
    if buffer.capacity > KEPT_BYTES:
        PyMem_Free(buffer.data)
        buffer.data = NULL
        buffer.capacity = 0


cdef inline int code_of(const unsigned char *line) noexcept nogil:
    """The code that three bytes spell; -1 if none, or none that a server may send (RFC 5321 §4.2: 2yz to 5yz)."""
    cdef unsigned int first = line[0] - <unsigned int>48
    cdef unsigned int second = line[1] - <unsigned int>48
    cdef unsigned int third = line[2] - <unsigned int>48
    if first - 2 > 3 or second > 9 or third > 9:
        return -1
    return 100 * first + 10 * second + third


def parse_reply(bytes data not None, /) -> tuple[int, bytes] | None:
    cdef const unsigned char *line = <const unsigned char *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
    cdef int code
    if length < 4 or memchr(line, b"\n", length) != line + length - 1:
        return None
    length -= 1
    if line[length - 1] == b"\r":
        length -= 1
    if length < 3 or length > LINE_BYTES or (length > 3 and line[3] != b" "):
        return None
    code = code_of(line)
    if code < 0:
        return None
    if length <= 4:
        return CODES[code], b""
    return CODES[code], PyBytes_FromStringAndSize(<const char *>line + 4, length - 4)


cdef class ReplyParser:
    def __dealloc__(self):
        PyMem_Free(self.line.data)
        PyMem_Free(self.text.data)

    @property
    def pending(self) -> int:
        return self.held + self.line.length

    cpdef list feed(self, bytes data):
        if data is None:
            raise TypeError("data is bytes, not None")
        cdef const unsigned char *at = <const unsigned char *>PyBytes_AS_STRING(data)
        cdef const unsigned char *end = at + PyBytes_GET_SIZE(data)
        cdef const unsigned char *stop
        cdef list replies = []
        while at < end and self.failure is None:
            stop = <const unsigned char *>memchr(at, b"\n", end - at)
            if stop == NULL:
                # One byte more than a line and its CR may have is enough to refuse it.
                append(&self.line, at, min(end - at, max(LINE_BYTES + 2 - self.line.length, 0)))
                self.failure = self.judge(self.line.data, self.line.length, False)
                break
            if self.line.length:
                append(&self.line, at, min(stop - at, LINE_BYTES + 2 - self.line.length))
                self.failure = self.take(self.line.data, self.line.length, replies)
                if self.failure is None:
                    clear(&self.line)
            else:
                self.failure = self.take(at, stop - at, replies)
            at = stop + 1
        if self.failure is not None and not replies:
            raise ProtocolError(self.failure)
        return replies

    cdef str judge(self, const unsigned char *line, Py_ssize_t length, bint whole):
        """What is wrong with a line (without LF and, if `whole`, without CR) as far as it is known; None if nothing."""
        cdef int code
        cdef Py_ssize_t i
        cdef bint cr = not whole and length > 0 and line[length - 1] == b"\r"
        if length < 3:
            for i in range(length):
                if line[i] < b"0" or line[i] > b"9" or (i == 0 and (line[0] < b"2" or line[0] > b"5")):
                    whole = True
            return f"reply line {shown(line, length)} has no reply code" if whole else None
        code = code_of(line)
        if code < 0:
            return f"reply line {shown(line, length)} has no reply code"
        if length > 3 and line[3] != b" " and line[3] != b"-" and not (cr and length == 4):
            return f"reply line {shown(line, length)} has no space or hyphen after its code"
        if self.code and code != self.code:
            return f"reply {self.code} goes on with a line of another code: {shown(line, length)}"
        if length - cr > LINE_BYTES:
            return f"reply line is longer than {LINE_BYTES} bytes: {shown(line, length)}"
        return None

    cdef str take(self, const unsigned char *line, Py_ssize_t length, list replies):
        """Adds a whole line (without LF) to its reply, and the reply to `replies` if that ends it; else as `judge`."""
        cdef const unsigned char *text
        cdef Py_ssize_t text_length
        cdef Py_ssize_t raw = length + 1
        cdef int code
        cdef str failure
        cdef bint last
        if length > 0 and line[length - 1] == b"\r":
            length -= 1
        failure = self.judge(line, length, True)
        if failure is not None:
            return failure
        code = code_of(line)
        last = length == 3 or line[3] == b" "
        text = line + min(length, 4)
        text_length = length - min(length, 4)
        if last and self.code == 0:
            replies.append((CODES[code], PyBytes_FromStringAndSize(<const char *>text, text_length)))
            return None
        if self.lines == REPLY_LINES:
            return f"reply {code} has more than {REPLY_LINES} lines"
        if self.text.length + text_length + (self.lines > 0) > REPLY_BYTES:
            return f"reply {code} is longer than {REPLY_BYTES} bytes"
        if self.lines:
            append(&self.text, b"\n", 1)
        append(&self.text, text, text_length)
        self.lines += 1
        self.code = code
        self.held += raw
        if last:
            replies.append((CODES[code], PyBytes_FromStringAndSize(<const char *>self.text.data, self.text.length)))
            clear(&self.text)
            self.held = self.lines = self.code = 0
        return None


cdef str shown(const unsigned char *line, Py_ssize_t length):
    return repr(PyBytes_FromStringAndSize(<const char *>line, min(length, SHOWN_BYTES)))


cdef inline Py_ssize_t digits(const unsigned char *text, Py_ssize_t at, Py_ssize_t end) noexcept nogil:
    """Where the digits that begin at `at` end."""
    while at < end and b"0" <= text[at] <= b"9":
        at += 1
    return at


cpdef enhanced_code(bytes text, int code):
    if text is None:
        raise TypeError("text is bytes, not None")
    cdef const unsigned char *source = <const unsigned char *>PyBytes_AS_STRING(text)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(text)
    cdef Py_ssize_t start = 0, at, number
    cdef int part
    while start < end and (source[start] == b" " or source[start] == b"\t"):
        start += 1
    if start == end or source[start] - 48 != code // 100 or source[start] not in (b"2", b"4", b"5"):
        return None
    at = start + 1
    for part in range(2):
        if at == end or source[at] != b".":
            return None
        number = at + 1
        at = digits(source, number, end)
        if not 1 <= at - number <= 3:
            return None
    # What goes on is something else: an IP address ("5.1.1.7 is listed"), a word ("5.1.1b").
    if at < end:
        if source[at] == b"." and digits(source, at + 1, end) > at + 1:
            return None
        if b"a" <= (source[at] | 0x20) <= b"z":
            return None
    return source[start:at].decode("ascii")
