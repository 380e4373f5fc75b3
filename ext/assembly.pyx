"""Write one recipient's bytes from a fixed program of literals and slots, quoted-printable encoded on the way.

The encoder is a function of the text alone, whatever pieces it comes in. Its whole state is the output column and
whether the last byte read was CR, so literal text behind a slot has to be encoded again only up to its first line
break; all that follows starts at column 0 and is encoded once, when the program is built.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_AsTuple
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    PyObject *PyBytes_FromStringAndSize(const char *data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1

cdef enum:
    COLUMNS = 75    # of content; a soft line break adds its "=" (RFC 2045 §6.7 (5))

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
    const char *data        # literals; SLOT: the default, or NULL
    Py_ssize_t size
    Py_ssize_t skip         # REPEAT: the number of the op behind it
    Py_ssize_t bound        # REPEAT: the most that its own literals can become, once

cdef struct Piece:
    const char *data
    Py_ssize_t size

cdef struct Pieces:
    Piece *items            # of a REPEAT: how often, in `size`
    Py_ssize_t count, capacity
    Py_ssize_t limit        # the most bytes of all that is written

cdef struct Writer:
    char *out
    Py_ssize_t position
    int column
    bint carriage_return

cdef unsigned char LITERAL[256]     # stands for itself away from the edges of a line
cdef unsigned char SPECIAL[256]     # replaced by HTML escaping
cdef unsigned char WIDTH[256]       # columns that must be free before this byte
cdef const char *HEX = b"0123456789ABCDEF"


cdef void prepare_tables():
    cdef int byte
    for byte in range(256):
        LITERAL[byte] = (32 <= byte < 127 and byte != c"=") or byte == c"\t"
        SPECIAL[byte] = byte == c"&" or byte == c"<" or byte == c">" or byte == c'"' or byte == c"'"
        if LITERAL[byte]:
            WIDTH[byte] = 1
        elif 0xC0 <= byte < 0xE0:
            WIDTH[byte] = 6
        elif 0xE0 <= byte < 0xF0:
            WIDTH[byte] = 9
        elif 0xF0 <= byte < 0xF8:
            WIDTH[byte] = 12
        else:
            WIDTH[byte] = 3


prepare_tables()


cdef inline void put_triplet(Writer *w, unsigned char byte) noexcept nogil:
    w.out[w.position] = c"="
    w.out[w.position + 1] = HEX[byte >> 4]
    w.out[w.position + 2] = HEX[byte & 15]
    w.position += 3
    w.column += 3


cdef inline void soft_break(Writer *w) noexcept nogil:
    memcpy(w.out + w.position, b"=\r\n", 3)
    w.position += 3
    w.column = 0


cdef void close_blank(Writer *w) noexcept nogil:
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


cdef void write_byte(Writer *w, unsigned char byte) noexcept nogil:
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
    if w.column + WIDTH[byte] > COLUMNS:
        soft_break(w)
    if not LITERAL[byte] or (byte == c"." and w.column == 0):
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


cdef void write_text(Writer *w, const unsigned char *text, Py_ssize_t size, bint escape) noexcept nogil:
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
                while text < stop and LITERAL[text[0]] and not SPECIAL[text[0]]:
                    text += 1
            else:
                while text < stop and LITERAL[text[0]]:
                    text += 1
            if text > start:
                memcpy(w.out + w.position, start, text - start)
                w.position += text - start
                w.column += <int> (text - start)
                w.carriage_return = False
                if text == end:
                    return
        if escape and SPECIAL[text[0]]:
            write_entity(w, text[0])
        else:
            write_byte(w, text[0])
        text += 1


cdef inline Py_ssize_t room(Py_ssize_t size, bint escape) noexcept nogil:
    """The most bytes that `size` bytes of text can become.

    Three a byte (five escaped) and a soft break for every 64 columns at the least; what a piece adds once (a rewritten
    blank or "From", a line break) is in the constant.
    """
    return (6 if escape else 4) * size + 64


cdef Piece *new_piece(Pieces *pieces) except NULL:
    cdef Piece *grown
    if pieces.count == pieces.capacity:
        pieces.capacity = 32 if pieces.capacity == 0 else 2 * pieces.capacity
        grown = <Piece *> realloc(pieces.items, sizeof(Piece) * pieces.capacity)
        if grown == NULL:
            raise MemoryError
        pieces.items = grown
    pieces.count += 1
    return &pieces.items[pieces.count - 1]


cdef class Assembler:
    """A program built once, by calling the methods in the order of the output, then run by `assemble` from any thread."""

    cdef Op *ops
    cdef Py_ssize_t count, capacity
    cdef Py_ssize_t fixed       # bytes that every message has
    cdef Py_ssize_t bound       # the most that literals and line ends can become, defaults apart
    cdef Py_ssize_t defaults    # the most that the defaults can become
    cdef list kept
    cdef list repeating         # the REPEATs that are open, by number
    cdef bytearray pending
    cdef readonly Py_ssize_t most   # bytes that may be set aside for one message
    cdef bint at_start

    def __cinit__(self, Py_ssize_t most=1 << 40):
        self.ops = NULL
        self.most = most
        self.count = self.capacity = 0
        self.bound = 64
        self.fixed = self.defaults = 0
        self.kept = []
        self.repeating = []
        self.pending = bytearray()
        self.at_start = False

    def __dealloc__(self):
        free(self.ops)

    def copy(self, bytes data not None):
        self.flush()
        self.keep(COPY, data)

    def copy_slot(self, Py_ssize_t index):
        self.flush()
        self.checked(index)
        self.append(COPY_SLOT).index = index

    def begin(self):
        self.flush()
        self.append(BEGIN)
        self.at_start = True

    def text(self, bytes data not None):
        self.pending += data

    def slot(self, Py_ssize_t index, *, bint escape=False, bytes default=None):
        cdef Op *op
        self.flush()
        self.checked(index)
        if default is None:
            op = self.append(SLOT)
        else:
            op = self.keep(SLOT, default)
        op.index = index
        op.escape = escape
        self.at_start = False

    def repeat(self, Py_ssize_t index):
        self.flush()
        self.checked(index)
        self.append(REPEAT).index = index
        self.repeating.append(self.count - 1)
        self.at_start = False

    def end_repeat(self):
        if not self.repeating:
            raise RuntimeError("no repeat is open")
        self.flush()
        self.ops[<Py_ssize_t> self.repeating.pop()].skip = self.count
        self.at_start = False

    def end(self):
        if self.repeating:
            raise RuntimeError("a repeat is open")
        self.flush()
        self.append(END)
        self.bound += 16

    @property
    def static_size(self):
        """The most bytes that all but the values can become."""
        return self.bound + self.defaults

    @property
    def fixed_size(self):
        """How many bytes every message has at least."""
        return self.fixed

    def assemble(self, list values not None):
        cdef tuple held = <tuple> PyList_AsTuple(values)
        cdef list kept = []
        cdef Pieces pieces
        cdef Piece *piece
        cdef Writer w
        cdef PyObject *result = NULL
        cdef object finished
        if self.pending or self.repeating:
            raise RuntimeError("the program is not finished: text without an end")
        pieces.items, pieces.count, pieces.capacity, pieces.limit = NULL, 0, 0, self.bound
        try:
            self.measure(0, self.count, held, &pieces, kept)
            result = PyBytes_FromStringAndSize(NULL, pieces.limit)
            w.out, w.position, w.column, w.carriage_return = PyBytes_AS_STRING(<object> result), 0, 0, False
            piece = pieces.items
            self.run(0, self.count, &w, &piece)
        finally:
            free(pieces.items)
        _PyBytes_Resize(&result, w.position)
        finished = <object> result
        Py_DECREF(finished)
        return finished

    cdef int measure(self, Py_ssize_t start, Py_ssize_t stop, tuple held, Pieces *pieces, list kept) except -1:
        """Gather the values in the order in which `run` will want them; `kept` holds on to what they point into."""
        cdef Piece *piece
        cdef Op *op
        cdef Py_ssize_t number = start
        cdef Py_ssize_t turn
        cdef object value
        cdef tuple frame
        cdef list frames
        while number < stop:
            op = &self.ops[number]
            number += 1
            if op.kind != SLOT and op.kind != COPY_SLOT and op.kind != REPEAT:
                continue
            if op.index >= PyTuple_GET_SIZE(held):
                raise IndexError(op.index)
            value = <object> PyTuple_GET_ITEM(held, op.index)
            piece = new_piece(pieces)
            if op.kind == REPEAT:
                number = op.skip
                piece.data = NULL
                if value is True or value is False:
                    piece.size = 1 if value is True else 0
                    if value is True:
                        pieces.limit += op.bound
                        self.measure(op - self.ops + 1, op.skip, held, pieces, kept)
                    continue
                frames = <list?> value
                piece.size = len(frames)
                for turn in range(len(frames)):
                    frame = <tuple> PyList_AsTuple(<list?> frames[turn])
                    kept.append(frame)
                    pieces.limit += op.bound
                    if pieces.limit > self.most:
                        raise OverflowError(self.most)
                    self.measure(op - self.ops + 1, op.skip, frame, pieces, kept)
                continue
            if value is None:
                if op.kind == COPY_SLOT or op.data == NULL:
                    raise KeyError(op.index)
                piece.data, piece.size = op.data, op.size
            else:
                if not isinstance(value, str):
                    value = str(value)
                    kept.append(value)
                piece.data = PyUnicode_AsUTF8AndSize(value, &piece.size)
            pieces.limit += room(piece.size, op.escape)
        return 0

    cdef void run(self, Py_ssize_t start, Py_ssize_t stop, Writer *w, Piece **next_piece) noexcept:
        cdef Op *op
        cdef Piece *piece
        cdef Py_ssize_t number = start
        cdef Py_ssize_t turn
        cdef bint escape
        while number < stop:
            op = &self.ops[number]
            number += 1
            if op.kind == SLOT:
                piece = next_piece[0]
                next_piece[0] += 1
                # A default is literal text: whoever built the program has escaped it.
                escape = op.escape and piece.data != op.data
                write_text(w, <const unsigned char *> piece.data, piece.size, escape)
            elif op.kind == TEXT:
                write_text(w, <const unsigned char *> op.data, op.size, False)
            elif op.kind == ENCODED:
                memcpy(w.out + w.position, op.data, op.size)
                w.position += op.size
                w.column = op.column
                w.carriage_return = op.carriage_return
            elif op.kind == COPY:
                memcpy(w.out + w.position, op.data, op.size)
                w.position += op.size
            elif op.kind == COPY_SLOT:
                piece = next_piece[0]
                next_piece[0] += 1
                memcpy(w.out + w.position, piece.data, piece.size)
                w.position += piece.size
            elif op.kind == REPEAT:
                turn = next_piece[0].size
                next_piece[0] += 1
                while turn > 0:
                    self.run(number, op.skip, w, next_piece)
                    turn -= 1
                number = op.skip
            elif op.kind == BEGIN:
                w.column = 0
                w.carriage_return = False
            else:
                close_blank(w)
                if w.column:
                    hard_break(w)

    cdef Op *append(self, Kind kind) except NULL:
        cdef Op *grown
        cdef Op *op
        if self.count == self.capacity:
            self.capacity = 16 if self.capacity == 0 else 2 * self.capacity
            grown = <Op *> realloc(self.ops, sizeof(Op) * self.capacity)
            if grown == NULL:
                raise MemoryError
            self.ops = grown
        op = &self.ops[self.count]
        op.kind, op.escape, op.carriage_return, op.column = kind, False, False, 0
        op.index, op.data, op.size, op.skip, op.bound = 0, NULL, 0, 0, 0
        self.count += 1
        return op

    cdef Op *keep(self, Kind kind, bytes data) except NULL:
        cdef Op *op = self.append(kind)
        self.kept.append(data)
        op.data = PyBytes_AS_STRING(data)
        op.size = PyBytes_GET_SIZE(data)
        if self.repeating:
            if kind != SLOT:
                self.ops[<Py_ssize_t> self.repeating[-1]].bound += room(op.size, False)
        elif kind == TEXT:
            self.bound += room(op.size, False)
        elif kind == SLOT:
            self.defaults += room(op.size, False)
        else:
            self.bound += op.size
            self.fixed += op.size
        return op

    cdef Py_ssize_t checked(self, Py_ssize_t index) except -1:
        if index < 0:
            raise IndexError(index)
        return index

    cdef int flush(self) except -1:
        """Turn the text gathered so far into one op, or two: up to its first line break, and the rest encoded."""
        cdef bytes text = bytes(self.pending)
        cdef Py_ssize_t size = len(text)
        cdef Py_ssize_t head = 0
        if size == 0:
            return 0
        self.pending.clear()
        if not self.at_start:
            while head < size and text[head] != c"\n" and text[head] != c"\r":
                head += 1
            head += 2 if text[head:head + 2] == b"\r\n" else 1
            self.keep(TEXT, text[:head])
        self.at_start = False
        if head < size:
            self.keep_encoded(text[head:])
        return 0

    cdef int keep_encoded(self, bytes text) except -1:
        cdef Writer w
        cdef Op *op
        cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
        w.out, w.position, w.column, w.carriage_return = <char *> malloc(room(size, False)), 0, 0, False
        if w.out == NULL:
            raise MemoryError
        try:
            write_text(&w, <const unsigned char *> PyBytes_AS_STRING(text), size, False)
            op = self.keep(ENCODED, w.out[:w.position])
        finally:
            free(w.out)
        op.column = w.column
        op.carriage_return = w.carriage_return
        return 0
