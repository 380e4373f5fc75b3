"""Sign batches of messages with the interpreter left alone: canonical forms, hashes, signatures, header lines.

What belongs to a set of header names is a Layout, made once. A Batch is memory that is used over and over; the work on
one batch is one call without the GIL. Signatures that are not made here are put in between `run` and `signed`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset
from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec

from arena cimport BLOCKS_KEPT, give_back, take
from base64 cimport lines_size, put, put_base64, put_lines
from bulkmail.native.lanes cimport (
    LaneKey, MB_LANES, SHA256_BYTES, SHA256_LANES, hash_slowly, mb_sign, sha256_job, sha256_lanes, sha256_many_jobs,
)
from header cimport Line, Split, split_header
from relaxed cimport count_left_out, ends_line, relaxed_same, without_empty_end, write_reduced


cdef class Layout:
    """What follows from the names of a header's lines: which are signed, in which order, and each key's template."""

    def __cinit__(self, tuple names not None, tuple lines not None, tuple templates not None):
        cdef Py_ssize_t number, part
        self.kept = (names, templates)
        self.keys = len(templates)
        self.shape.count, self.shape.signed = len(names), len(lines)
        self.shape.names = <Piece *> calloc(self.shape.count + 1, sizeof(Piece))
        self.shape.lines = <Py_ssize_t *> calloc(self.shape.signed + 1, sizeof(Py_ssize_t))
        self.shape.templates = <Template *> calloc(self.keys + 1, sizeof(Template))
        if self.shape.names == NULL or self.shape.lines == NULL or self.shape.templates == NULL:
            raise MemoryError
        for number in range(self.shape.count):
            self.shape.names[number] = piece_of(names[number])
        for number in range(self.shape.signed):
            self.shape.lines[number] = lines[number]
            if not 0 <= self.shape.lines[number] < self.shape.count:
                raise IndexError(self.shape.lines[number])
        for number in range(self.keys):
            folded, canonical = templates[number]
            for part in range(3):
                self.shape.templates[number].folded[part] = piece_of(folded[part])
                self.shape.templates[number].canonical[part] = piece_of(canonical[part])

    def __dealloc__(self):
        free(self.shape.names)
        free(self.shape.lines)
        free(self.shape.templates)


cdef bint fits(const Shape *shape, const Line *lines, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t number
    if count != shape.count:
        return False
    for number in range(count):
        if lines[number].field.name != shape.names[number].size:
            return False
        if memcmp(lines[number].data, shape.names[number].data, shape.names[number].size):
            return False
    return True


cdef inline Piece piece_of(bytes text):
    cdef Piece piece
    piece.data, piece.size = PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)
    return piece


cdef class Batch:
    """Memory for signing many messages, to be used over and over; by one thread at a time."""

    def __cinit__(self, int lanes=SHA256_LANES):
        self.size = self.lot_count = 0
        self.job.batch = <PyObject *> self
        self.most = lanes
        self.native = sha256_lanes(lanes, 1) > 0

    def __dealloc__(self):
        give_back(&self.arena, 0)

    def load(self, tuple layouts not None, tuple keys not None, list messages not None, bytes now not None):
        self.take_in(layouts, keys, messages, now)

    def work(self):
        with nogil:
            work_on(self)

    def trouble(self):
        """None, or the names of a header that no layout fits; raises what else went wrong."""
        if self.state == NO_MEMORY:
            raise MemoryError
        if self.state == BAD_FIELD:
            raise ValueError(f"header field {self.bad_field()!r} does not begin with a name and a colon")
        return self.names() if self.state == NEW_LAYOUT else None

    def digests(self, Py_ssize_t key):
        """Those that still want a signature."""
        cdef Lot *lot = self.lot_of(key)
        return [
            PyBytes_FromStringAndSize(<char *> lot.digests + number * SHA256_BYTES, SHA256_BYTES)
            for number in range(lot.made, self.size)
        ]

    def failed(self, Py_ssize_t key):
        return self.lot_of(key).failed

    def put(self, Py_ssize_t key, list signatures not None):
        """The signatures over `digests`, in order."""
        cdef Lot *lot = self.lot_of(key)
        cdef bytes signature
        if len(signatures) != self.size - lot.made:
            raise ValueError("not one signature a digest")
        for signature in signatures:
            if lot.signatures == NULL:
                lot.width = len(signature)
                lot.signatures = <uint8_t *> self.taken(self.size * lot.width)
            if len(signature) != lot.width:
                raise ValueError("signatures of different lengths")
            memcpy(lot.signatures + lot.made * lot.width, PyBytes_AS_STRING(signature), lot.width)
            lot.made += 1

    def lines(self):
        """Of each message, its signatures as header lines."""
        cdef Py_ssize_t number
        self.finish()
        return [
            PyBytes_FromStringAndSize(self.items[number].text, self.items[number].text_size)
            for number in range(self.size)
        ]

    def release(self):
        """Let go of the messages; what most batches need of the memory is kept."""
        self.held = self.tag = self.error = None
        self.size = self.lot_count = 0
        give_back(&self.arena, BLOCKS_KEPT)

    cdef Lot *lot_of(self, Py_ssize_t key) except NULL:
        if not 0 <= key < self.lot_count:
            raise IndexError(key)
        return &self.lots[key]

    cdef int finish(self) except -1:
        cdef Py_ssize_t number
        cdef Trouble trouble = NONE
        for number in range(self.lot_count):
            if self.lots[number].made != self.size:
                raise RuntimeError("not all is signed")
        if not self.written:
            with nogil:
                trouble = self.write()
        if trouble != NONE:
            raise MemoryError
        return 0

    cdef int take_in(self, tuple layouts, tuple keys, list messages, bytes now) except -1:
        cdef Py_ssize_t number, spare
        cdef Layout layout
        cdef LaneKey key
        cdef bytes message
        cdef Item *item
        cdef Lot *lot
        give_back(&self.arena, BLOCKS_KEPT)
        self.held = (layouts, keys, list(messages), now)
        self.now = piece_of(now)
        self.size, self.lot_count, self.shape_count = len(messages), len(keys), len(layouts)
        self.written = False
        self.seconds = 0.0
        self.state = NO_MEMORY
        self.error = None
        self.items = <Item *> self.taken((self.size + 1) * sizeof(Item))
        self.lots = <Lot *> self.taken((self.lot_count + 1) * sizeof(Lot))
        self.shapes = <const Shape **> self.taken((self.shape_count + 1) * sizeof(void *))
        for number in range(self.shape_count):
            layout = layouts[number]
            if layout.keys != self.lot_count:
                raise ValueError("a layout for other keys")
            self.shapes[number] = &layout.shape
        for number in range(self.lot_count):
            lot = &self.lots[number]
            memset(lot, 0, sizeof(Lot))
            if keys[number] is None:
                continue
            key = keys[number]
            spare = self.size % MB_LANES
            lot.native, lot.scratch, lot.width = &key.key, key.scratch, key.key.width
            lot.wanted = self.size if spare >= key.fewest else self.size - spare
        for number in range(self.size):
            message = messages[number]
            item = &self.items[number]
            memset(item, 0, sizeof(Item))
            item.data, item.size = <unsigned char *> PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message)
        return 0

    cdef char *taken(self, size_t size) except NULL:
        cdef char *taken = take(&self.arena, size)
        if taken == NULL:
            raise MemoryError
        return taken

    cdef Trouble look(self) noexcept nogil:
        """Canonical headers, and the layout of each message."""
        cdef Py_ssize_t number, other
        cdef Item *item
        cdef Trouble trouble
        for number in range(self.size):
            item = &self.items[number]
            item.header = split_header(&self.arena, item.data, item.size)
            trouble = NO_MEMORY if item.header.lines == NULL else NONE if item.header.bad < 0 else BAD_FIELD
            if trouble == NONE:
                item.body_size = item.data + item.size - item.header.body
                for other in range(self.shape_count):
                    if fits(self.shapes[other], item.header.lines, item.header.count):
                        item.shape = self.shapes[other]
                        # Most messages have the layout of the one before.
                        self.shapes[other], self.shapes[0] = self.shapes[0], self.shapes[other]
                        break
                else:
                    trouble = NEW_LAYOUT
            if trouble != NONE:
                self.culprit = number
                return trouble
        return NONE

    cdef Trouble make(self) noexcept nogil:
        """All that follows from the headers."""
        cdef sha256_job *jobs = <sha256_job *> take(&self.arena, (self.size * max(self.lot_count, 1) + 1) * sizeof(sha256_job))
        cdef size_t count = 0
        cdef Py_ssize_t number, other, done = 0
        cdef Item *item
        cdef Lot *lot
        cdef uint8_t *scratch
        if jobs == NULL:
            return NO_MEMORY
        for number in range(self.size):
            item = &self.items[number]
            # A body without personal parts is hashed once.
            if (
                number and item.body_size == item[-1].body_size
                and memcmp(item.header.body, item[-1].header.body, item.body_size) == 0
            ):
                item.body_hash = item[-1].body_hash
                continue
            item.body_hash = jobs[count].digest = <uint8_t *> take(&self.arena, SHA256_BYTES)
            jobs[count].data = self.relaxed(item.header.body, item.body_size, &jobs[count].length)
            if item.body_hash == NULL or jobs[count].data == NULL:
                return NO_MEMORY
            count += 1
        if self.hash(jobs, count) != NONE:
            return NO_MEMORY
        count = 0
        for other in range(self.lot_count):
            lot = &self.lots[other]
            lot.digests = <uint8_t *> take(&self.arena, self.size * SHA256_BYTES)
            if lot.digests == NULL:
                return NO_MEMORY
            for number in range(self.size):
                jobs[count].digest = lot.digests + number * SHA256_BYTES
                jobs[count].data = self.to_sign(&self.items[number], other, &jobs[count].length)
                if jobs[count].data == NULL:
                    return NO_MEMORY
                count += 1
        if self.hash(jobs, count) != NONE:
            return NO_MEMORY
        for other in range(self.lot_count):
            lot = &self.lots[other]
            if lot.wanted:
                lot.signatures = <uint8_t *> take(&self.arena, self.size * lot.width)
                scratch = <uint8_t *> take(&self.arena, lot.scratch)
                if lot.signatures == NULL or scratch == NULL:
                    return NO_MEMORY
                lot.failed = not mb_sign(lot.native, lot.digests, lot.wanted, lot.signatures, scratch)
                memset(scratch, 0, lot.scratch)
                lot.made = 0 if lot.failed else lot.wanted
            done += lot.made == self.size
        return self.write() if done == self.lot_count else NONE

    cdef const uint8_t *relaxed(self, const unsigned char *body, Py_ssize_t size, size_t *length) noexcept nogil:
        cdef bint tabs = False
        cdef Py_ssize_t kept = without_empty_end(body, size, True)
        cdef Py_ssize_t same = relaxed_same(body, kept)
        cdef Py_ssize_t left_out = count_left_out(body + same, kept - same, &tabs)
        cdef unsigned char *out
        if kept == 0:
            length[0] = 0
            return body
        length[0] = kept - left_out + 2
        if left_out == 0 and not tabs and kept + 2 <= size and ends_line(body, kept + 2):
            return body
        out = <unsigned char *> take(&self.arena, length[0])
        if out != NULL:
            memcpy(out, body, same)
            memcpy(write_reduced(out + same, out + kept - left_out, body + same, kept - same), b"\r\n", 2)
        return out

    cdef const uint8_t *to_sign(self, Item *item, Py_ssize_t key, size_t *length) noexcept nogil:
        """The header lines that one key signs, its own last (RFC 6376 §3.7)."""
        cdef const Template *template = &item.shape.templates[key]
        cdef Py_ssize_t number, size = self.now.size + lines_size(SHA256_BYTES)
        cdef char *start
        cdef char *out
        cdef Line *line
        for number in range(item.shape.signed):
            size += item.header.lines[item.shape.lines[number]].field.length
        for number in range(3):
            size += template.canonical[number].size
        start = out = take(&self.arena, size)
        if out == NULL:
            return NULL
        for number in range(item.shape.signed):
            line = &item.header.lines[item.shape.lines[number]]
            out = put(out, line.data, line.field.length)
        out = self.put_template(out, template.canonical, item)
        length[0] = out - start
        return <const uint8_t *> start

    cdef char *put_template(self, char *out, const Piece *pieces, const Item *item) noexcept nogil:
        out = put(out, pieces[0].data, pieces[0].size)
        out = put(out, self.now.data, self.now.size)
        out = put(out, pieces[1].data, pieces[1].size)
        out = put_base64(out, item.body_hash, SHA256_BYTES)
        return put(out, pieces[2].data, pieces[2].size)

    cdef Trouble write(self) noexcept nogil:
        cdef Py_ssize_t number, other, part, size
        cdef Item *item
        cdef Lot *lot
        cdef char *out
        cdef const Template *templates
        for number in range(self.size):
            item = &self.items[number]
            templates = item.shape.templates
            size = 0
            for other in range(self.lot_count):
                size += self.now.size + lines_size(SHA256_BYTES) + lines_size(self.lots[other].width)
                for part in range(3):
                    size += templates[other].folded[part].size
            item.text = out = take(&self.arena, size + 1)
            if out == NULL:
                return NO_MEMORY
            for other in range(self.lot_count):
                lot = &self.lots[other]
                out = self.put_template(out, templates[other].folded, item)
                out = put_lines(out, lot.signatures + number * lot.width, lot.width)
            item.text_size = out - item.text
        self.written = True
        return NONE

    cdef Trouble hash(self, const sha256_job *jobs, size_t count) noexcept nogil:
        if not self.native:
            return NONE if hash_slowly(jobs, count) else NO_MEMORY
        sha256_many_jobs(jobs, count, sha256_lanes(self.most, count))
        return NONE

    cdef tuple names(self):
        cdef Item *item = &self.items[self.culprit]
        return tuple([
            PyBytes_FromStringAndSize(<char *> item.header.lines[number].data, item.header.lines[number].field.name)
            for number in range(item.header.count)
        ])

    cdef bytes bad_field(self):
        cdef Split *header = &self.items[self.culprit].header
        cdef Line *line = &header.lines[header.bad]
        return PyBytes_FromStringAndSize(<char *> line.raw, min(line.size, 60))


cdef void work_on(Batch batch) noexcept nogil:
    """All of it that can be done here, and the CPU time that it took."""
    cdef double began = thread_seconds()
    batch.state = batch.look()
    if batch.state == NONE:
        batch.state = batch.make()
    batch.job.finished = batch.state == NONE and batch.written
    batch.seconds = batch.seconds + thread_seconds() - began


cdef double thread_seconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return now.tv_sec + now.tv_nsec * 1e-9
