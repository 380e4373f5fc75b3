"""Split the header of a message into fields, each in its relaxed form, without the interpreter (RFC 6376 §3.4.2).

Header only (no .pyx twin), so that every extension compiles it into itself.
"""

from libc.string cimport memcpy

from arena cimport Arena, take
from relaxed cimport Field, end_of_field, write_field

cdef enum:
    FIELDS = 64              # of one header, to begin with

cdef struct Line:
    const unsigned char *raw
    Py_ssize_t size
    const unsigned char *data    # canonical
    Field field

cdef struct Split:
    Line *lines              # NULL: there is no memory
    Py_ssize_t count
    Py_ssize_t bad           # the line that is no field, or -1
    const unsigned char *body


cdef inline Split split_header(Arena *arena, const unsigned char *data, Py_ssize_t size) noexcept nogil:
    """The canonical lines of a header, up to its first empty line or the end."""
    cdef Split made
    cdef const unsigned char *at = data
    cdef const unsigned char *end = at + size
    cdef const unsigned char *stop
    cdef unsigned char *out
    cdef Py_ssize_t room = FIELDS, number
    cdef Line *lines = <Line *> take(arena, room * sizeof(Line))
    cdef Line *more
    made.lines, made.count, made.bad, made.body = NULL, 0, -1, NULL
    if lines == NULL:
        return made
    while at < end and at[0] != b"\n" and not (at[0] == b"\r" and at + 1 < end and at[1] == b"\n"):
        stop = end_of_field(at, end)
        if made.count == room:
            more = <Line *> take(arena, 2 * room * sizeof(Line))
            if more == NULL:
                return made
            memcpy(more, lines, room * sizeof(Line))
            lines, room = more, 2 * room
        lines[made.count].raw, lines[made.count].size = at, stop - at
        made.count += 1
        at = stop
    out = <unsigned char *> take(arena, at - data + 2 * made.count)
    if out == NULL:
        return made
    for number in range(made.count):
        lines[number].data = out
        lines[number].field = write_field(out, lines[number].raw, lines[number].size)
        if lines[number].field.name < 0:
            made.lines, made.bad = lines, number
            return made
        out += lines[number].field.length
    if at < end:
        at += 1 if at[0] == b"\n" else 2
    made.lines, made.body = lines, at
    return made
