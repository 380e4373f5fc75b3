from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

from arena cimport Arena
from bulkmail.native.lanes cimport mb_key, sha256_job
from header cimport Split

cdef enum Trouble:
    NONE
    NO_MEMORY
    BAD_FIELD
    NEW_LAYOUT

cdef struct Piece:
    const char *data
    Py_ssize_t size

cdef struct Template:
    Piece folded[3]          # around the values of t= and bh=; the last ends with b=
    Piece canonical[3]

cdef struct Shape:           # what a Layout is to those who work without the interpreter
    Py_ssize_t count, signed
    Piece *names
    Py_ssize_t *lines
    Template *templates

cdef struct Item:
    const unsigned char *data
    Py_ssize_t size
    Split header
    Py_ssize_t body_size
    const Shape *shape
    uint8_t *body_hash
    char *text               # the signatures as header lines
    Py_ssize_t text_size

cdef struct Job:              # what a Batch is to those who have no interpreter
    PyObject *batch
    bint finished             # nothing is left for others to do
    Job *next

cdef struct Lot:              # one key's part of a batch
    mb_key *native            # NULL: signed by others
    size_t scratch
    Py_ssize_t wanted, made   # signatures to make natively, and that are there
    bint failed
    Py_ssize_t width
    uint8_t *digests
    uint8_t *signatures


cdef class Layout:
    cdef tuple kept
    cdef Py_ssize_t keys
    cdef Shape shape


cdef class Batch:
    cdef Arena arena
    cdef object held                   # what the pointers point into
    cdef Item *items
    cdef Lot *lots
    cdef const Shape **shapes
    cdef Py_ssize_t size, lot_count, shape_count
    cdef Piece now
    cdef Py_ssize_t culprit            # the message that is in trouble
    cdef bint written
    cdef int most                      # lanes to hash in
    cdef bint native
    cdef Trouble state
    cdef Job job
    cdef readonly double seconds       # of CPU time that the native work took
    cdef public object tag, error      # whoever asked for it, and what went wrong outside

    cdef Lot *lot_of(self, Py_ssize_t key) except NULL
    cdef int finish(self) except -1
    cdef int take_in(self, tuple layouts, tuple keys, list messages, bytes now) except -1
    cdef char *taken(self, size_t size) except NULL
    cdef Trouble look(self) noexcept nogil
    cdef Trouble make(self) noexcept nogil
    cdef const uint8_t *relaxed(self, const unsigned char *body, Py_ssize_t size, size_t *length) noexcept nogil
    cdef const uint8_t *to_sign(self, Item *item, Py_ssize_t key, size_t *length) noexcept nogil
    cdef char *put_template(self, char *out, const Piece *pieces, const Item *item) noexcept nogil
    cdef Trouble write(self) noexcept nogil
    cdef Trouble hash(self, const sha256_job *jobs, size_t count) noexcept nogil
    cdef tuple names(self)
    cdef bytes bad_field(self)


cdef void work_on(Batch batch) noexcept nogil
