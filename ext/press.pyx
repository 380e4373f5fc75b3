"""Make whole messages of a chunk's recipients, straight from their stored rows, where all that varies is plain text.

    row -> values -> texts (subject, links) -> header and body -> Message

A message that needs more than that (a row with fractions or lists, an address that is not ASCII, a field that is missing)
is left out, and the general way makes it, or says why none can be made.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_AsTuple
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset

from words cimport LINE, header_room, header_value

from bulkmail.native.assembly cimport Assembler, Pieces, Value
from bulkmail.native.message cimport Message
from bulkmail.native.tokens cimport TOKEN, Sealer

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 most)
    void *PyUnicode_DATA(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    PyObject *NewBytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1

cdef enum:
    GIVEN = 5               # values behind the row's: address, token, date, message_id, campaign
    MOST_TEXTS = 64
    ARENA = 65536           # bytes for all of one message that has to be written before it can be copied
    LONGEST_NAME = 50
    MOST_DIGITS = 18        # of a number that is whole for certain
    NO_HEADER = -1          # for the length of the name: a text that is no header's value

MAX_TEXTS = MOST_TEXTS

cdef const char *TRUE = b"True"
cdef const char *FALSE = b"False"


cdef struct Desk:
    # What one call works with: it is made for each, since several threads may be at it.
    Value *values
    Pieces text, header, body
    Py_ssize_t used
    char arena[ARENA]


cdef int escaped_byte(const char **place, const char *end) noexcept nogil:
    """The ASCII byte of the escape behind a backslash, and past it; -1 where it is none."""
    cdef const char *at = place[0]
    cdef int value = 0, digit
    if at == end:
        return -1
    place[0] = at + 1
    if at[0] == c'"' or at[0] == c"\\" or at[0] == c"/":
        return at[0]
    if at[0] == c"n":
        return c"\n"
    if at[0] == c"t":
        return c"\t"
    if at[0] == c"r":
        return c"\r"
    if at[0] == c"b":
        return 8
    if at[0] == c"f":
        return 12
    if at[0] != c"u" or end - at < 5:
        return -1
    for digit in range(1, 5):
        value <<= 4
        if c"0" <= at[digit] <= c"9":
            value |= at[digit] - c"0"
        elif c"a" <= at[digit] | 0x20 <= c"f":
            value |= (at[digit] | 0x20) - c"a" + 10
        else:
            return -1
    place[0] = at + 5
    return value if value < 0x80 else -1


cdef const char *read_escaped(const char *at, const char *end, Value *value, Desk *desk) noexcept nogil:
    """`read_string` of one with escapes, written out beside."""
    cdef char *out = desk.arena + desk.used
    cdef int byte
    if end - at > ARENA - desk.used:
        return NULL
    value.data = out
    while at < end and at[0] != c'"':
        if at[0] == c"\\":
            at += 1
            byte = escaped_byte(&at, end)
            if byte < 0:
                return NULL
            out[0] = <char> byte
        else:
            out[0] = at[0]
            at += 1
        out += 1
    if at == end:
        return NULL
    value.size = out - value.data
    desk.used += value.size
    return at + 1


cdef const char *read_string(const char *at, const char *end, Value *value, Desk *desk) noexcept nogil:
    """Past the string whose opening quote is behind us; NULL where it takes more than this."""
    cdef const char *stop = <const char *> memchr(at, c'"', end - at)
    if stop == NULL:
        return NULL
    if memchr(at, c"\\", stop - at) != NULL:
        return read_escaped(at, end, value, desk)
    value.data, value.size = at, stop - at
    return stop + 1


cdef const char *read_number(const char *at, const char *end, Value *value) noexcept nogil:
    """Past a whole number, which Python writes as JSON does; NULL at anything else."""
    cdef const char *start = at
    cdef const char *digits
    if at < end and at[0] == c"-":
        at += 1
    digits = at
    while at < end and c"0" <= at[0] <= c"9":
        at += 1
    if at == end or (at[0] != c"," and at[0] != c"]"):
        return NULL
    if not 0 < at - digits <= MOST_DIGITS or (digits[0] == c"0" and at - start > 1):
        return NULL
    value.data, value.size = start, at - start
    return at


cdef const char *read_value(const char *at, const char *end, Value *value, Desk *desk) noexcept nogil:
    value.data = NULL
    if at == end:
        return NULL
    if at[0] == c'"':
        return read_string(at + 1, end, value, desk)
    if end - at > 4 and memcmp(at, b"null", 4) == 0:
        return at + 4
    if end - at > 4 and memcmp(at, b"true", 4) == 0:
        value.data, value.size = TRUE, 4
        return at + 4
    if end - at > 5 and memcmp(at, b"false", 5) == 0:
        value.data, value.size = FALSE, 5
        return at + 5
    return read_number(at, end, value)


cdef bint read_row(const char *at, Py_ssize_t size, Py_ssize_t width, Desk *desk) noexcept nogil:
    """The values of a JSON list as `encode_row` writes it; False where it needs a closer look or has another width."""
    cdef const char *end = at + size
    cdef Py_ssize_t number
    if size < 2 or at[0] != c"[" or end[-1] != c"]":
        return False
    at += 1
    for number in range(width):
        if number:
            if at[0] != c",":
                return False
            at += 1
        at = read_value(at, end, &desk.values[number], desk)
        if at == NULL:
            return False
    return at == end - 1


cdef inline bint is_printable(const char *data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at
    cdef int wrong = 0
    for at in range(size):
        wrong |= <unsigned char> (data[at] - 0x20) > 0x7E - 0x20
    return not wrong


cdef bint stands_as_it_is(const char *data, Py_ssize_t size, Py_ssize_t room) noexcept nogil:
    """Whether a header's value needs neither folding nor encoding; `room` is what its first line has."""
    cdef Py_ssize_t at
    if size > room or not is_printable(data, size):
        return False
    if size and (data[0] == c" " or data[size - 1] == c" "):
        return False
    for at in range(size - 1):
        if data[at] == c"=" and data[at + 1] == c"?":
            return False
    return True


cdef bint fit_for_header(Value *value, Py_ssize_t name, Desk *desk) noexcept nogil:
    """Make the text the value of a header, whose name has so many bytes; False where it cannot be one."""
    cdef Py_ssize_t size
    if stands_as_it_is(value.data, value.size, LINE - name - 2):
        return True
    if desk.used + header_room(value.size) > ARENA:
        return False
    size = header_value(name, <const unsigned char *> value.data, value.size, desk.arena + desk.used)
    if size < 0:
        return False
    value.data, value.size = desk.arena + desk.used, size
    desk.used += size
    return True


cdef class Press:
    cdef Assembler header, body
    cdef list texts
    cdef Py_ssize_t names[MOST_TEXTS]
    cdef Py_ssize_t width
    cdef Sealer sealer
    cdef bytes campaign, behind_token, before_token, return_domain

    def __init__(
        self,
        Sealer sealer not None,
        Assembler header not None,
        Assembler body not None,
        *,
        texts,
        Py_ssize_t width,
        str campaign not None,
        str message_domain not None,
        str return_local not None,
        str return_domain not None,
    ):
        cdef Py_ssize_t number
        cdef Assembler text
        if len(texts) > MOST_TEXTS or width < 0:
            raise ValueError(f"{len(texts)} texts, {width} fields")
        self.sealer, self.header, self.body = sealer, header, body
        self.texts = []
        for number, (text, header_name) in enumerate(texts):
            self.texts.append(text)
            self.names[number] = NO_HEADER if header_name is None else len(header_name)
            # A line of encoded-words has room for a character, whatever its bytes.
            if self.names[number] > LONGEST_NAME:
                raise ValueError(f"the header's name {header_name} is too long")
        if any(each.has_repeats for each in (header, body, *self.texts)):
            raise ValueError("a program with repeats")
        self.width = width
        self.campaign = campaign.encode()
        self.behind_token = f"@{message_domain}>".encode("ascii")
        self.before_token = f"{return_local}+".encode("ascii")
        self.return_domain = f"@{return_domain}".encode("ascii")

    def messages(
        self,
        chunk,
        uint64_t word,
        list addresses not None,
        list rows not None,
        list indexes not None,
        list tried not None,
        bytes date not None,
    ):
        cdef Desk *desk = <Desk *> malloc(sizeof(Desk))
        cdef list made = []
        cdef list left = []
        cdef Py_ssize_t number, index
        if desk == NULL:
            raise MemoryError
        # Not all of it: the arena is large, and a chunk may have one message.
        memset(desk, 0, <char *> &desk.arena - <char *> desk)
        try:
            desk.values = <Value *> calloc(self.width + GIVEN + len(self.texts), sizeof(Value))
            if desk.values == NULL:
                raise MemoryError
            for number in range(len(indexes)):
                index = indexes[number]
                if index < 0:
                    raise IndexError(index)
                message = self.message(
                    desk, chunk, word, index, addresses[index], rows[index], <int> tried[number] + 1, date
                )
                made.append(message)
                if message is None:
                    left.append(number)
        finally:
            free(desk.values)
            free(desk.text.items)
            free(desk.header.items)
            free(desk.body.items)
            free(desk)
        return made, left

    cdef object message(
        self,
        Desk *desk,
        object chunk,
        uint64_t word,
        Py_ssize_t index,
        str address,
        bytes row,
        int attempt,
        bytes date,
    ):
        """None where the general way has to see to it."""
        cdef Value *given = desk.values + self.width
        cdef uint8_t returning[TOKEN]
        cdef uint8_t link[TOKEN]
        cdef str message_id
        cdef Message made
        desk.used = 0
        if not read_row(PyBytes_AS_STRING(row), PyBytes_GET_SIZE(row), self.width, desk):
            return None
        if not PyUnicode_IS_COMPACT_ASCII(address):
            return None
        given[0].data, given[0].size = <const char *> PyUnicode_DATA(address), PyUnicode_GET_LENGTH(address)
        if not is_printable(given[0].data, given[0].size):
            return None
        self.sealer.write(word, <uint16_t> index, returning, link)
        message_id = self.identified(returning)
        given[1].data, given[1].size = <const char *> link, TOKEN
        given[2].data, given[2].size = PyBytes_AS_STRING(date), PyBytes_GET_SIZE(date)
        given[3].data, given[3].size = <const char *> PyUnicode_DATA(message_id), PyUnicode_GET_LENGTH(message_id)
        given[4].data, given[4].size = PyBytes_AS_STRING(self.campaign), PyBytes_GET_SIZE(self.campaign)
        try:
            if not self.write_texts(desk):
                return None
            self.header.measure(desk.values, self.width + GIVEN + len(self.texts), None, &desk.header, None)
            self.body.measure(desk.values, self.width + GIVEN + len(self.texts), None, &desk.body, None)
        except KeyError:
            return None
        made = <Message> Message.__new__(Message)
        made.chunk, made.index, made.attempt, made.address = chunk, <int> index, attempt, address
        made.sender = self.envelope_sender(returning)
        made.recipient = PyBytes_FromStringAndSize(given[0].data, given[0].size)
        made.data = whole(self.header, &desk.header, self.body, &desk.body)
        made.message_id = message_id
        return made

    cdef bint write_texts(self, Desk *desk) except -1:
        """The values behind the given ones; False where one cannot be, or there is no room for all."""
        cdef Value *value
        cdef Py_ssize_t number, place = self.width + GIVEN
        cdef Assembler text
        for number in range(len(self.texts)):
            text = <Assembler> self.texts[number]
            text.measure(desk.values, place, None, &desk.text, None)
            if desk.used + desk.text.limit > ARENA:
                return False
            value = &desk.values[place]
            value.data = desk.arena + desk.used
            value.size = text.write(&desk.text, desk.arena + desk.used)
            desk.used += value.size
            if self.names[number] != NO_HEADER and not fit_for_header(value, self.names[number], desk):
                return False
            place += 1
        return True

    cdef str identified(self, const uint8_t *token):
        """The Message-ID."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.behind_token)
        cdef str text = PyUnicode_New(1 + TOKEN + size, 127)
        cdef char *out = <char *> PyUnicode_DATA(text)
        out[0] = c"<"
        memcpy(out + 1, token, TOKEN)
        memcpy(out + 1 + TOKEN, PyBytes_AS_STRING(self.behind_token), size)
        return text

    cdef bytes envelope_sender(self, const uint8_t *token):
        cdef Py_ssize_t local = PyBytes_GET_SIZE(self.before_token), domain = PyBytes_GET_SIZE(self.return_domain)
        cdef bytes sender = PyBytes_FromStringAndSize(NULL, local + TOKEN + domain)
        cdef char *out = PyBytes_AS_STRING(sender)
        memcpy(out, PyBytes_AS_STRING(self.before_token), local)
        memcpy(out + local, token, TOKEN)
        memcpy(out + local + TOKEN, PyBytes_AS_STRING(self.return_domain), domain)
        return sender


cdef bytes whole(Assembler header, const Pieces *header_pieces, Assembler body, const Pieces *body_pieces):
    """Header, blank line and body, written where they stay."""
    cdef PyObject *data = NewBytes(NULL, header_pieces.limit + 2 + body_pieces.limit)
    cdef char *out = PyBytes_AS_STRING(<object> data)
    cdef Py_ssize_t size = header.write(header_pieces, out)
    cdef object finished
    out[size] = c"\r"
    out[size + 1] = c"\n"
    size += 2
    size += body.write(body_pieces, out + size)
    _PyBytes_Resize(&data, size)
    finished = <object> data
    Py_DECREF(finished)
    return finished


def finish(
    Assembler header not None,
    Assembler body not None,
    list values not None,
    chunk,
    int index,
    int attempt,
    str address not None,
    bytes sender not None,
    str message_id not None,
):
    cdef tuple given = <tuple> PyList_AsTuple(values)
    cdef Py_ssize_t count = len(given)
    cdef Value *looked_at = <Value *> calloc(count + 1, sizeof(Value))
    cdef list kept = []
    cdef Pieces header_pieces
    cdef Pieces body_pieces
    cdef Message made = <Message> Message.__new__(Message)
    memset(&header_pieces, 0, sizeof(Pieces))
    memset(&body_pieces, 0, sizeof(Pieces))
    made.chunk, made.index, made.attempt, made.address = chunk, index, attempt, address
    made.sender, made.message_id = sender, message_id
    made.recipient = address.encode()
    made.utf8 = not PyUnicode_IS_COMPACT_ASCII(address)
    try:
        if looked_at == NULL:
            raise MemoryError
        header.measure(looked_at, count, given, &header_pieces, kept)
        body.measure(looked_at, count, given, &body_pieces, kept)
        made.data = whole(header, &header_pieces, body, &body_pieces)
    finally:
        free(header_pieces.items)
        free(body_pieces.items)
        free(looked_at)
    return made
