"""Take the rows of a list that need no thought: one line of CSV each, a plain address, cells without quotes or controls.

    line -> cells -> address (RFC 5321 §4.1.2, dot-atom and host name only), its comparison key, the fields as JSON

The first line that is anything else ends the taking: the general way reads that row, and this goes on behind it. So
there is no second opinion about quotes, encodings or addresses, only a fast one about what cannot be in doubt.
"""

from cpython.array cimport array, resize_smart
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.string cimport memchr, memcpy

cdef enum:
    MAX_COLUMNS = 256
    MAX_LINE = 65536
    MAX_LOCAL = 64
    MAX_LABEL = 63
    MAX_ADDRESS = 254

# What a byte may be: part of an atom, part of a host name's label.
cdef enum:
    ATOM = 1
    ALNUM = 2
    ALPHA = 4

cdef unsigned char KIND[256]


cdef void fill_kinds() noexcept:
    cdef int byte
    for byte in range(256):
        KIND[byte] = 0
    for byte in b"!#$%&'*+/=?^_`{|}~-":
        KIND[byte] = ATOM
    for byte in range(c"0", c"9" + 1):
        KIND[byte] = ATOM | ALNUM
    for byte in range(26):
        KIND[c"a" + byte] = ATOM | ALNUM | ALPHA
        KIND[c"A" + byte] = ATOM | ALNUM | ALPHA


fill_kinds()


cdef struct Cell:
    const unsigned char *data
    Py_ssize_t length


cdef inline unsigned char lowered(unsigned char byte) noexcept nogil:
    return byte + 32 if c"A" <= byte <= c"Z" else byte


cdef Py_ssize_t local_length(const unsigned char *data, Py_ssize_t length) noexcept nogil:
    """Where the @ of a plain address stands; -1 where it is not one as far as that."""
    cdef Py_ssize_t at = 0
    cdef bint after_dot = True
    while at < length and data[at] != c"@":
        if data[at] == c".":
            if after_dot:
                return -1
            after_dot = True
        elif KIND[data[at]] & ATOM:
            after_dot = False
        else:
            return -1
        at += 1
    if after_dot or at > MAX_LOCAL or at == length:
        return -1
    return at


cdef bint is_host_name(const unsigned char *data, Py_ssize_t length) noexcept nogil:
    """In small letters, at least two labels, of which the last begins with a letter."""
    cdef Py_ssize_t at, start = 0
    cdef int labels = 0
    for at in range(length + 1):
        if at < length and data[at] != c".":
            if not (KIND[data[at]] & ALNUM or data[at] == c"-") or c"A" <= data[at] <= c"Z":
                return False
            continue
        if at == start or at - start > MAX_LABEL or data[start] == c"-" or data[at - 1] == c"-":
            return False
        labels += 1
        if at == length:
            return labels > 1 and KIND[data[start]] & ALPHA
        start = at + 1
    return False


cdef inline int sequence_length(const unsigned char *data, Py_ssize_t left) noexcept nogil:
    """Bytes of the UTF-8 sequence at `data`, which begins beyond ASCII; 0 where it needs a closer look.

    That is: anything invalid, and the C1 controls and line separators, which are not for headers.
    """
    cdef unsigned char lead = data[0]
    cdef int length, at
    if 0xC3 <= lead <= 0xDF:
        length = 2
    elif lead == 0xC2:
        if left < 2 or data[1] < 0xA0:
            return 0
        length = 2
    elif 0xE1 <= lead <= 0xEF and lead != 0xED:
        if left < 2 or (lead == 0xE2 and data[1] == 0x80):
            return 0
        length = 3
    elif 0xF1 <= lead <= 0xF3 or (lead == 0xF0 and left >= 2 and data[1] >= 0x90):
        length = 4
    else:
        return 0
    if left < length:
        return 0
    for at in range(1, length):
        if data[at] & 0xC0 != 0x80:
            return 0
    return length


cdef class PlainRows:
    cdef unsigned char separator
    cdef int width, address, fields
    cdef int columns[MAX_COLUMNS]
    cdef bint required[MAX_COLUMNS]
    cdef Py_ssize_t max_cell

    def __init__(self, bytes separator not None, int width, int address, columns, required, Py_ssize_t max_cell):
        cdef int at
        if len(separator) != 1 or separator in b'"\r\n ':
            raise ValueError("a separator is one byte, and not a quotation mark, a space or a line's end")
        if not 0 < width <= MAX_COLUMNS or not 0 <= address < width or len(columns) > MAX_COLUMNS:
            raise ValueError(f"1 to {MAX_COLUMNS} columns, and the address in one of them")
        if len(columns) != len(required) or not all(-1 <= column < width for column in columns):
            raise ValueError("each field needs a column, or -1, and whether it is required")
        self.separator = separator[0]
        self.width = width
        self.address = address
        self.fields = len(columns)
        self.max_cell = max_cell
        for at in range(self.fields):
            self.columns[at] = columns[at]
            self.required[at] = required[at]

    def take(
        self,
        bytes block not None,
        Py_ssize_t at,
        int line,
        int most,
        list addresses not None,
        list keys not None,
        list rows not None,
        array lines not None,
    ):
        cdef const unsigned char *data = <const unsigned char *>PyBytes_AS_STRING(block)
        cdef Py_ssize_t size = len(block), end, local
        cdef const unsigned char *found
        cdef Cell cells[MAX_COLUMNS]
        cdef Cell address
        cdef int taken = 0
        if not 0 <= at <= size:
            raise IndexError("outside the block")
        while taken < most:
            found = <const unsigned char *>memchr(data + at, c"\n", size - at)
            if found == NULL:
                break
            end = found - data
            if end - at > MAX_LINE or not self.split(data + at, end - at, cells):
                break
            address = cells[self.address]
            while address.length and address.data[address.length - 1] == c" ":
                address.length -= 1
            if address.length > MAX_ADDRESS:
                break
            local = local_length(address.data, address.length)
            if local < 0 or not is_host_name(address.data + local + 1, address.length - local - 1):
                break
            row = self.encoded(cells)
            if row is None:
                break
            addresses.append(PyUnicode_DecodeASCII(<const char *>address.data, address.length, NULL))
            keys.append(key_of(address))
            rows.append(row)
            resize_smart(lines, len(lines) + 1)
            lines.data.as_uints[len(lines) - 1] = line
            taken += 1
            line += 1
            at = end + 1
        return at, line

    cdef bint split(self, const unsigned char *data, Py_ssize_t length, Cell *cells) noexcept nogil:
        """The cells of a line without its line feed; False where it is not a plain line of the right width."""
        cdef Py_ssize_t at = 0, start
        cdef int count = 0, step
        cdef unsigned char byte
        if length and data[length - 1] == c"\r":
            length -= 1
        while True:
            # As csv.reader does with skipinitialspace.
            while at < length and data[at] == c" ":
                at += 1
            start = at
            while at < length:
                byte = data[at]
                if byte == self.separator:
                    break
                if byte >= 0x80:
                    step = sequence_length(data + at, length - at)
                    if step == 0:
                        return False
                    at += step
                    continue
                if byte < 0x20 or byte == 0x7F or byte == c'"':
                    return False
                at += 1
            if count == self.width or at - start > self.max_cell:
                return False
            cells[count].data = data + start
            cells[count].length = at - start
            count += 1
            if at == length:
                return count == self.width
            at += 1

    cdef object encoded(self, const Cell *cells):
        """The fields as a JSON list; None where a required one is empty."""
        cdef Py_ssize_t size = 2, at
        cdef int number, column
        cdef const unsigned char *data
        cdef char *out
        cdef bytes row
        for number in range(self.fields):
            column = self.columns[number]
            if column < 0 or cells[column].length == 0:
                if self.required[number]:
                    return None
                size += 5
            else:
                size += cells[column].length + 3
                for at in range(cells[column].length):
                    if cells[column].data[at] == c"\\":
                        size += 1
        if self.fields:
            size -= 1
        row = PyBytes_FromStringAndSize(NULL, size)
        out = PyBytes_AS_STRING(row)
        out[0] = c"["
        out += 1
        for number in range(self.fields):
            if number:
                out[0] = c","
                out += 1
            column = self.columns[number]
            if column < 0 or cells[column].length == 0:
                memcpy(out, b"null", 4)
                out += 4
                continue
            out[0] = c'"'
            out += 1
            data = cells[column].data
            for at in range(cells[column].length):
                if data[at] == c"\\":
                    out[0] = c"\\"
                    out += 1
                out[0] = data[at]
                out += 1
            out[0] = c'"'
            out += 1
        out[0] = c"]"
        return row


cdef bytes key_of(Cell address):
    cdef bytes key = PyBytes_FromStringAndSize(NULL, address.length)
    cdef char *out = PyBytes_AS_STRING(key)
    cdef Py_ssize_t at
    for at in range(address.length):
        out[at] = lowered(address.data[at])
    return key


def group(list addresses not None, list rows not None, wanted, dict groups not None):
    cdef Py_ssize_t at
    cdef str address, domain, last = None
    cdef list of_addresses = None, of_rows = None
    for at in range(len(addresses)):
        if wanted is not None and not wanted[at]:
            continue
        address = addresses[at]
        domain = address[address.rfind("@") + 1 :]
        if domain != last:
            found = groups.get(domain)
            if found is None:
                found = groups[domain] = ([], [])
            of_addresses, of_rows = found
            last = domain
        of_addresses.append(address)
        of_rows.append(rows[at])
