"""A header's value of free text: as it is, folded, or in encoded-words (RFC 5322 §2.2.3, RFC 2047).

Header only (no .pyx twin), so that every extension compiles it into itself. Byte for byte what
`bulkmail.content.headers.unstructured` makes.
"""

from libc.string cimport memcpy

cdef enum:
    LINE = 78               # RFC 5322 §2.1.1: SHOULD
    HARD_LIMIT = 998        # RFC 5322 §2.1.1: MUST
    ENCODED_LINE = 76       # RFC 2047 §2: a line with encoded-words
    ENCODED_WORD = 75
    AROUND = 12             # =?utf-8?q? and ?=

cdef extern from *:
    """
    static const char words_base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char words_hex[] = "0123456789ABCDEF";
    """
    const char *words_base64
    const char *words_hex


cdef inline bint stands_for_itself(unsigned char byte) noexcept nogil:
    """In the Q encoding, also within a phrase (RFC 2047 §5 (3))."""
    return (
        c"a" <= byte <= c"z" or c"A" <= byte <= c"Z" or c"0" <= byte <= c"9"
        or byte == c"!" or byte == c"*" or byte == c"+" or byte == c"-" or byte == c"/"
    )


cdef inline Py_ssize_t quoted_size(unsigned char byte) noexcept nogil:
    return 1 if stands_for_itself(byte) or byte == c" " else 3


cdef inline bint has_control(const unsigned char *text, Py_ssize_t size) noexcept nogil:
    """C0, DEL, C1, and the line and paragraph separators, in UTF-8."""
    cdef Py_ssize_t at
    for at in range(size):
        if text[at] < 0x20 or text[at] == 0x7F:
            return True
        if text[at] == 0xC2 and at + 1 < size and text[at + 1] < 0xA0:
            return True
        if text[at] == 0xE2 and at + 2 < size and text[at + 1] == 0x80 and 0xA8 <= text[at + 2] <= 0xA9:
            return True
    return False


cdef inline bint needs_encoding(const unsigned char *text, Py_ssize_t size) noexcept nogil:
    """Whether it is not ASCII, or would be taken for encoded."""
    cdef Py_ssize_t at
    for at in range(size):
        if text[at] >= 0x80 or (text[at] == c"=" and at + 1 < size and text[at + 1] == c"?"):
            return True
    return False


cdef inline Py_ssize_t header_room(Py_ssize_t size) noexcept nogil:
    """The most bytes that `header_value` makes of `size`.

    Three a byte and 15 around each word, which holds 16 bytes at the least but for the first and the last; lines that
    are folded add less.
    """
    return 4 * size + 64


cdef inline Py_ssize_t header_value(
    Py_ssize_t name, const unsigned char *text, Py_ssize_t size, char *out
) noexcept nogil:
    """Write the value of a header whose name has `name` bytes; how many, or -1 where the text has a control character."""
    cdef Py_ssize_t written
    if has_control(text, size):
        return -1
    while size and text[0] == c" ":
        text += 1
        size -= 1
    while size and text[size - 1] == c" ":
        size -= 1
    if not needs_encoding(text, size):
        written = folded(name, text, size, out)
        if written >= 0:
            return written
    return encoded_words(ENCODED_LINE - name - 2, text, size, out)


cdef inline Py_ssize_t folded(Py_ssize_t name, const unsigned char *text, Py_ssize_t size, char *out) noexcept nogil:
    """With line breaks before spaces, so that lines stay within 78 where the words allow it; -1 where one is too long."""
    cdef Py_ssize_t at = 0, end, written = 0, line = 0, length = name + 2
    while at < size:
        end = at
        while text[end] == c" ":
            end += 1
        while end < size and text[end] != c" ":
            end += 1
        if line and length + end - at > LINE:
            memcpy(out + written, b"\r\n", 2)
            written += 2
            line = length = 0
        memcpy(out + written, text + at, end - at)
        written += end - at
        line += end - at
        length += end - at
        if line + name + 2 > HARD_LIMIT:
            return -1
        at = end
    return written


cdef inline Py_ssize_t encoded_words(
    Py_ssize_t first, const unsigned char *text, Py_ssize_t size, char *out
) noexcept nogil:
    """Words of at most 75 characters, the first of `first`, each of whole characters."""
    cdef Py_ssize_t at, end, written = 0, total = 0, start = 0
    cdef Py_ssize_t room = (first if first < ENCODED_WORD else ENCODED_WORD) - AROUND
    cdef bint quoted
    for at in range(size):
        total += quoted_size(text[at])
    quoted = total <= (size + 2) // 3 * 4
    while start < size:
        if start:
            memcpy(out + written, b"\r\n ", 3)
            written += 3
        end = quoted_cut(text, start, size, room) if quoted else base64_cut(text, start, size, room)
        memcpy(out + written, b"=?utf-8?q?" if quoted else b"=?utf-8?b?", 10)
        written += 10
        if quoted:
            written += put_quoted(text + start, end - start, out + written)
        else:
            written += put_base64(text + start, end - start, out + written)
        memcpy(out + written, b"?=", 2)
        written += 2
        start, room = end, ENCODED_WORD - AROUND
    return written


cdef inline Py_ssize_t quoted_cut(
    const unsigned char *text, Py_ssize_t start, Py_ssize_t size, Py_ssize_t room
) noexcept nogil:
    """Where the longest run of whole characters ends that fits; behind one character at the least."""
    cdef Py_ssize_t end = start, at = start
    while at < size:
        room -= quoted_size(text[at])
        if room < 0 and end > start:
            return end
        at += 1
        if at == size or text[at] & 0xC0 != 0x80:
            end = at
    return end


cdef inline Py_ssize_t base64_cut(
    const unsigned char *text, Py_ssize_t start, Py_ssize_t size, Py_ssize_t room
) noexcept nogil:
    cdef Py_ssize_t end = start + (room // 4 * 3 if room > 0 else 0)
    if end >= size:
        return size
    while end > start and text[end] & 0xC0 == 0x80:
        end -= 1
    if end == start:
        end += 1
        while end < size and text[end] & 0xC0 == 0x80:
            end += 1
    return end


cdef inline Py_ssize_t put_quoted(const unsigned char *text, Py_ssize_t size, char *out) noexcept nogil:
    cdef Py_ssize_t at, written = 0
    for at in range(size):
        if stands_for_itself(text[at]):
            out[written] = <char> text[at]
            written += 1
        elif text[at] == c" ":
            out[written] = c"_"
            written += 1
        else:
            out[written] = c"="
            out[written + 1] = words_hex[text[at] >> 4]
            out[written + 2] = words_hex[text[at] & 15]
            written += 3
    return written


cdef inline Py_ssize_t put_base64(const unsigned char *text, Py_ssize_t size, char *out) noexcept nogil:
    cdef Py_ssize_t at, written = 0
    cdef unsigned int group
    for at in range(0, size, 3):
        group = text[at] << 16
        if at + 1 < size:
            group |= text[at + 1] << 8
        if at + 2 < size:
            group |= text[at + 2]
        out[written] = words_base64[group >> 18]
        out[written + 1] = words_base64[group >> 12 & 63]
        out[written + 2] = words_base64[group >> 6 & 63] if at + 1 < size else c"="
        out[written + 3] = words_base64[group & 63] if at + 2 < size else c"="
        written += 4
    return written
