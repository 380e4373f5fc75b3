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
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy
from quoted cimport (
    TEXT_MARGIN, Writer, close_blank, hard_break, is_literal, pieces_room, plain_length, room, write_plain, write_text
)

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    PyObject *PyBytes_FromStringAndSize(const char *data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1


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


cdef Value *no_values(Py_ssize_t count) except NULL:
    cdef Value *values = <Value *> calloc(count + 1, sizeof(Value))
    if values == NULL:
        raise MemoryError
    return values


cdef int look_at(Value *value, object given, list kept) except -1:
    """Let `value` point into the text of what was given; nothing where that is None."""
    if given is None:
        return 0
    if not isinstance(given, str):
        given = str(given)
        kept.append(given)
    value.data = PyUnicode_AsUTF8AndSize(given, &value.size)
    return 0


cdef Py_ssize_t literal_room(const Op *op) noexcept:
    """The most bytes that a literal can become, text apart from what it adds once (`TEXT_MARGIN`)."""
    return pieces_room(op.plain, op.size - op.plain) if op.kind == TEXT else op.size


cdef class Assembler:
    """A program built once, by calling the methods in the order of the output, then run by `assemble` from any thread."""

    def __cinit__(self, Py_ssize_t most=1 << 40):
        self.ops = NULL
        self.most = most
        self.count = self.capacity = 0
        self.bound = 64
        self.fixed = self.defaults = 0
        self.kept = []
        self.repeating = []
        self.pending = bytearray()
        self.at_start = self.repeats = False

    def __dealloc__(self):
        free(self.ops)

    def copy(self, bytes data not None):
        self.flush()
        self.keep(COPY, data)

    def copy_slot(self, Py_ssize_t index, *, bytes default=None):
        self.flush()
        self.checked(index)
        self.slot_op(COPY_SLOT, default).index = index

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
        op = self.slot_op(SLOT, default)
        op.index = index
        op.escape = escape
        self.at_start = False

    def repeat(self, Py_ssize_t index):
        self.flush()
        self.checked(index)
        self.append(REPEAT).index = index
        self.repeating.append(self.count - 1)
        self.repeats = True
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

    @property
    def has_repeats(self):
        """Whether anything is repeated."""
        return self.repeats

    def assemble(self, list values not None):
        cdef tuple given = <tuple> PyList_AsTuple(values)
        cdef list kept = []
        cdef Value *looked_at = no_values(PyTuple_GET_SIZE(given))
        cdef Pieces pieces
        cdef PyObject *result = NULL
        cdef Py_ssize_t size
        cdef object finished
        pieces.items, pieces.count, pieces.capacity = NULL, 0, 0
        try:
            self.measure(looked_at, PyTuple_GET_SIZE(given), given, &pieces, kept)
            result = PyBytes_FromStringAndSize(NULL, pieces.limit)
            size = self.write(&pieces, PyBytes_AS_STRING(<object> result))
        finally:
            free(pieces.items)
            free(looked_at)
        _PyBytes_Resize(&result, size)
        finished = <object> result
        Py_DECREF(finished)
        return finished

    cdef int measure(
        self, Value *values, Py_ssize_t count, tuple given, Pieces *pieces, list kept
    ) except -1:
        """Gather what `write` will want, and the room it needs at the most.

        `values` are `count` long. Those without data are looked for in `given`, where that is not None; `kept` holds on
        to what they point into.
        """
        if self.pending or self.repeating:
            raise RuntimeError("the program is not finished: text without an end")
        pieces.count, pieces.limit = 0, self.bound
        return self.measure_ops(0, self.count, values, count, given, pieces, kept)

    cdef Py_ssize_t write(self, const Pieces *pieces, char *out) noexcept:
        """All of the program; the bytes written."""
        cdef Writer w
        cdef const Piece *piece = pieces.items
        w.out, w.position, w.column, w.carriage_return = out, 0, 0, False
        self.run(0, self.count, &w, &piece)
        return w.position

    cdef int measure_ops(
        self,
        Py_ssize_t start,
        Py_ssize_t stop,
        Value *values,
        Py_ssize_t count,
        tuple given,
        Pieces *pieces,
        list kept,
    ) except -1:
        cdef Value *value
        cdef Piece *piece
        cdef Op *op
        cdef Py_ssize_t number = start
        while number < stop:
            op = &self.ops[number]
            number += 1
            if op.kind == REPEAT:
                number = op.skip
                self.measure_repeat(op, values, count, given, pieces, kept)
                continue
            if op.kind != SLOT and op.kind != COPY_SLOT:
                continue
            if op.index >= count:
                raise IndexError(op.index)
            value = &values[op.index]
            if value.data == NULL and given is not None:
                look_at(value, <object> PyTuple_GET_ITEM(given, op.index), kept)
            piece = new_piece(pieces)
            if value.data != NULL:
                piece.data, piece.size = value.data, value.size
            elif op.data != NULL:
                piece.data, piece.size = op.data, op.size
            else:
                raise KeyError(op.index)
            pieces.limit += room(piece.size, op.escape) if op.kind == SLOT else piece.size
        return 0

    cdef int measure_repeat(
        self, const Op *op, Value *values, Py_ssize_t count, tuple given, Pieces *pieces, list kept
    ) except -1:
        cdef Py_ssize_t start = op - self.ops + 1
        cdef Py_ssize_t turn, place = pieces.count
        cdef Value *inner
        cdef tuple frame
        cdef list frames
        cdef object value
        if given is None or op.index >= count:
            raise IndexError(op.index)
        value = <object> PyTuple_GET_ITEM(given, op.index)
        new_piece(pieces).data = NULL
        if value is True or value is False:
            pieces.items[place].size = 1 if value is True else 0
            if value is True:
                pieces.limit += op.bound
                self.measure_ops(start, op.skip, values, count, given, pieces, kept)
            return 0
        frames = <list?> value
        pieces.items[place].size = len(frames)
        for turn in range(pieces.items[place].size):
            frame = <tuple> PyList_AsTuple(<list?> frames[turn])
            kept.append(frame)
            pieces.limit += op.bound
            if pieces.limit > self.most:
                raise OverflowError(self.most)
            inner = no_values(PyTuple_GET_SIZE(frame))
            try:
                self.measure_ops(start, op.skip, inner, PyTuple_GET_SIZE(frame), frame, pieces, kept)
            finally:
                free(inner)
        return 0

    cdef void run(self, Py_ssize_t start, Py_ssize_t stop, Writer *w, const Piece **next_piece) noexcept:
        cdef const Op *op
        cdef const Piece *piece
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
                write_plain(w, <const unsigned char *> op.data, op.plain)
                write_text(w, <const unsigned char *> op.data + op.plain, op.size - op.plain, False)
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
        op.index, op.data, op.size, op.plain, op.skip, op.bound = 0, NULL, 0, 0, 0, 0
        self.count += 1
        return op

    cdef Op *slot_op(self, Kind kind, bytes default) except NULL:
        cdef Op *op
        if default is None:
            return self.append(kind)
        op = self.hold(kind, default)
        if not self.repeating:
            self.defaults += room(op.size, False)
        return op

    cdef Op *keep(self, Kind kind, bytes data) except NULL:
        """An op of literal bytes."""
        cdef Op *op = self.hold(kind, data)
        if kind == TEXT:
            op.plain = plain_length(<const unsigned char *> op.data, op.size)
        if self.repeating:
            self.ops[<Py_ssize_t> self.repeating[-1]].bound += literal_room(op)
            return op
        self.bound += literal_room(op)
        if kind != TEXT:
            self.fixed += op.size
        return op

    cdef Op *hold(self, Kind kind, bytes data) except NULL:
        cdef Op *op = self.append(kind)
        self.kept.append(data)
        op.data = PyBytes_AS_STRING(data)
        op.size = PyBytes_GET_SIZE(data)
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
            self.keep_text(text[:head])
        self.at_start = False
        if head < size:
            self.keep_encoded(text[head:])
        return 0

    cdef int keep_text(self, bytes text) except -1:
        """An op for each run of bytes that stand for themselves, with those behind it that do not."""
        cdef const unsigned char *data = <const unsigned char *> PyBytes_AS_STRING(text)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
        cdef Py_ssize_t start = 0, end
        while start < size:
            end = start + plain_length(data + start, size - start)
            while end < size and not is_literal(data[end]):
                end += 1
            self.keep(TEXT, text[start:end])
            start = end
        if self.repeating:
            self.ops[<Py_ssize_t> self.repeating[-1]].bound += TEXT_MARGIN
        else:
            self.bound += TEXT_MARGIN
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
