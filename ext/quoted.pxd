"""The quoted-printable encoder (RFC 2045 §6.7): text in any pieces, its whole state an output column and a last CR.

Header only (no .pyx twin), so that every extension compiles it into itself. Nobody checks the room here: whoever
writes sets aside what `room` and `pieces_room` say.
"""

from libc.string cimport memcmp, memcpy

cdef enum:
    COLUMNS = 75    # of content; a soft line break adds its "=" (RFC 2045 §6.7 (5))
    TEXT_MARGIN = 32

cdef struct Writer:
    char *out
    Py_ssize_t position
    int column
    bint carriage_return


cdef inline bint is_literal(unsigned char byte) noexcept nogil:
    """Stands for itself away from the edges of a line."""
    return (32 <= byte < 127 and byte != c"=") or byte == c"\t"


cdef inline bint is_special(unsigned char byte) noexcept nogil:
    """Replaced by HTML escaping."""
    return byte == c"&" or byte == c"<" or byte == c">" or byte == c'"' or byte == c"'"


cdef inline int width(unsigned char byte) noexcept nogil:
    """Columns that must be free before this byte: for the first of a character, what all of it takes."""
    if is_literal(byte):
        return 1
    if 0xC0 <= byte < 0xE0:
        return 6
    if 0xE0 <= byte < 0xF0:
        return 9
    if 0xF0 <= byte < 0xF8:
        return 12
    return 3


cdef inline char hex_digit(int value) noexcept nogil:
    return <char> (value + (c"0" if value < 10 else c"A" - 10))


cdef inline void put_triplet(Writer *w, unsigned char byte) noexcept nogil:
    w.out[w.position] = c"="
    w.out[w.position + 1] = hex_digit(byte >> 4)
    w.out[w.position + 2] = hex_digit(byte & 15)
    w.position += 3
    w.column += 3


cdef inline void soft_break(Writer *w) noexcept nogil:
    memcpy(w.out + w.position, b"=\r\n", 3)
    w.position += 3
    w.column = 0


cdef inline void close_blank(Writer *w) noexcept nogil:
    """A space or tab that turned out to end its line is written over in its encoded form."""
    cdef unsigned char last
    if w.column == 0:
        return
    last = <unsigned char> w.out[w.position - 1]
    if last != c" " and last != c"\t":
        return
    w.position -= 1
    w.column -= 1
    if w.column + 3 > COLUMNS:
        soft_break(w)
    put_triplet(w, last)


cdef inline void hard_break(Writer *w) noexcept nogil:
    close_blank(w)
    memcpy(w.out + w.position, b"\r\n", 2)
    w.position += 2
    w.column = 0


cdef inline void write_byte(Writer *w, unsigned char byte) noexcept nogil:
    if byte == c"\n":
        if not w.carriage_return:
            hard_break(w)
        w.carriage_return = False
        return
    if byte == c"\r":
        hard_break(w)
        w.carriage_return = True
        return
    w.carriage_return = False
    if w.column + width(byte) > COLUMNS:
        soft_break(w)
    if not is_literal(byte) or (byte == c"." and w.column == 0):
        put_triplet(w, byte)
        return
    if byte == c" " and w.column == 4 and memcmp(w.out + w.position - 4, b"From", 4) == 0:
        memcpy(w.out + w.position - 4, b"=46rom", 6)
        w.position += 2
        w.column = 6
    w.out[w.position] = <char> byte
    w.position += 1
    w.column += 1


cdef inline void write_entity(Writer *w, unsigned char byte) noexcept nogil:
    cdef const char *entity
    if byte == c"&":
        entity = b"&amp;"
    elif byte == c"<":
        entity = b"&lt;"
    elif byte == c">":
        entity = b"&gt;"
    elif byte == c'"':
        entity = b"&#34;"
    else:
        entity = b"&#39;"
    while entity[0] != 0:
        write_byte(w, <unsigned char> entity[0])
        entity += 1


cdef inline void write_text(Writer *w, const unsigned char *text, Py_ssize_t size, bint escape) noexcept nogil:
    cdef const unsigned char *end = text + size
    cdef const unsigned char *start
    cdef const unsigned char *stop
    while text < end:
        # Away from the first columns, where "." and "From " count, runs of literal bytes are copied whole.
        if w.column > 4:
            start = text
            stop = text + (COLUMNS - w.column)
            if stop > end:
                stop = end
            if escape:
                while text < stop and is_literal(text[0]) and not is_special(text[0]):
                    text += 1
            else:
                while text < stop and is_literal(text[0]):
                    text += 1
            if text > start:
                memcpy(w.out + w.position, start, text - start)
                w.position += text - start
                w.column += <int> (text - start)
                w.carriage_return = False
                if text == end:
                    return
        if escape and is_special(text[0]):
            write_entity(w, text[0])
        else:
            write_byte(w, text[0])
        text += 1


cdef inline Py_ssize_t plain_length(const unsigned char *text, Py_ssize_t size) noexcept nogil:
    """How many bytes at the beginning stand for themselves."""
    cdef Py_ssize_t length = 0
    while length < size and is_literal(text[length]):
        length += 1
    return length


cdef inline void write_plain(Writer *w, const unsigned char *text, Py_ssize_t size) noexcept nogil:
    """`write_text` of bytes that all stand for themselves."""
    cdef Py_ssize_t run
    while size > 0:
        run = COLUMNS - w.column
        if run == 0:
            soft_break(w)
        elif w.column == 0 and text[0] != c"." and text[0] != c"F" or w.column > 4:
            if run > size:
                run = size
            memcpy(w.out + w.position, text, run)
            w.position += run
            w.column += <int> run
            w.carriage_return = False
            text += run
            size -= run
        else:
            write_byte(w, text[0])
            text += 1
            size -= 1


cdef inline Py_ssize_t room(Py_ssize_t size, bint escape) noexcept nogil:
    """The most bytes that `size` bytes of text can become.

    Three a byte (five escaped) and a soft break for every 64 columns at the least; what a piece adds once (a rewritten
    blank or "From", a line break) is in the constant.
    """
    return (6 if escape else 4) * size + 64


cdef inline Py_ssize_t pieces_room(Py_ssize_t plain, Py_ssize_t other) noexcept nogil:
    """The same for a piece of a text up to its first line break, of which so many bytes stand for themselves.

    Three for each of the others; a soft break, and "." or "From" behind it rewritten, for every 64 columns at the least.
    What a text adds once however many its pieces (the break it begins with, its own line break, a blank before that) is
    TEXT_MARGIN.
    """
    cdef Py_ssize_t columns = plain + 3 * other
    return columns + 5 * (columns // 64 + 1)
