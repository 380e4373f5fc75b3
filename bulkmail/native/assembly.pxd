"""The assembler's program, for natives that run it over values of their own."""

from quoted cimport Writer

cdef enum Kind:
    COPY        # bytes as they are
    COPY_SLOT   # a value as it is
    BEGIN       # a quoted-printable part starts: column 0
    TEXT        # literal text, encoded at the current column
    ENCODED     # literal text encoded beforehand, from column 0
    SLOT        # a value, encoded at the current column
    END         # the part ends: trailing blank encoded, last line closed
    REPEAT      # what follows up to `skip` is done for each frame of a value

cdef struct Op:
    Kind kind
    bint escape             # SLOT: HTML-escape the value
    bint carriage_return    # ENCODED: the text ended with CR
    int column              # ENCODED: the column it ends at
    Py_ssize_t index        # slots: which value
    const char *data        # literals; slots: the default, or NULL
    Py_ssize_t size
    Py_ssize_t plain        # TEXT: how many bytes at its beginning stand for themselves
    Py_ssize_t skip         # REPEAT: the number of the op behind it
    Py_ssize_t bound        # REPEAT: the most that its own literals can become, once

cdef struct Value:
    const char *data        # UTF-8; NULL: none, or not looked at yet
    Py_ssize_t size

cdef struct Piece:
    const char *data
    Py_ssize_t size         # of a REPEAT: how often

cdef struct Pieces:
    Piece *items
    Py_ssize_t count, capacity
    Py_ssize_t limit        # the most bytes of all that is written

cdef class Assembler:
    cdef Op *ops
    cdef Py_ssize_t count, capacity
    cdef Py_ssize_t fixed       # bytes that every message has
    cdef Py_ssize_t bound       # the most that literals and line ends can become, defaults apart
    cdef Py_ssize_t defaults    # the most that the defaults can become
    cdef list kept
    cdef list repeating         # the REPEATs that are open, by number
    cdef bytearray pending
    cdef readonly Py_ssize_t most
    cdef bint at_start
    cdef bint repeats

    cdef int measure(self, Value *values, Py_ssize_t count, tuple given, Pieces *pieces, list kept) except -1
    cdef Py_ssize_t write(self, const Pieces *pieces, char *out) noexcept

    cdef int measure_ops(
        self,
        Py_ssize_t start,
        Py_ssize_t stop,
        Value *values,
        Py_ssize_t count,
        tuple given,
        Pieces *pieces,
        list kept,
    ) except -1
    cdef int measure_repeat(
        self, const Op *op, Value *values, Py_ssize_t count, tuple given, Pieces *pieces, list kept
    ) except -1
    cdef void run(self, Py_ssize_t start, Py_ssize_t stop, Writer *w, const Piece **next_piece) noexcept
    cdef Op *append(self, Kind kind) except NULL
    cdef Op *slot_op(self, Kind kind, bytes default) except NULL
    cdef Op *keep(self, Kind kind, bytes data) except NULL
    cdef Op *hold(self, Kind kind, bytes data) except NULL
    cdef Py_ssize_t checked(self, Py_ssize_t index) except -1
    cdef int flush(self) except -1
    cdef int keep_text(self, bytes text) except -1
    cdef int keep_encoded(self, bytes text) except -1
