"""The relaxed forms of DKIM over plain memory, without the interpreter (RFC 6376 §3.4.2, §3.4.4).

Header only (no .pyx twin), so that every extension compiles it into itself.
The body is looked at 64 bytes at a time through bit masks: counted first, then written, blocks without a change copied
whole.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcpy, memset

from scan cimport scan_count, scan_equal, scan_first

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <immintrin.h>
    __attribute__((target("avx512f,avx512bw"))) static inline size_t relaxed_same_wide(const uint8_t *data, size_t size) {
        const __m512i space = _mm512_set1_epi8(' '), tab = _mm512_set1_epi8('\\t'), cr = _mm512_set1_epi8('\\r');
        size_t at = 0;
        for (; at + 65 <= size; at += 64) {
            const __m512i here = _mm512_loadu_si512((const void *)(data + at));
            const __m512i next = _mm512_loadu_si512((const void *)(data + at + 1));
            const __mmask64 tabs = _mm512_cmpeq_epi8_mask(here, tab);
            const __mmask64 spaces = _mm512_cmpeq_epi8_mask(here, space);
            const __mmask64 ends = _mm512_cmpeq_epi8_mask(next, space) | _mm512_cmpeq_epi8_mask(next, tab) |
                                   _mm512_cmpeq_epi8_mask(next, cr);
            if (tabs | (spaces & ends))
                break;
        }
        return at;
    }
    static inline size_t relaxed_same(const uint8_t *data, size_t size) {
        return __builtin_cpu_supports("avx512bw") ? relaxed_same_wide(data, size) : 0;
    }
    #else
    static inline size_t relaxed_same(const uint8_t *data, size_t size) { return (void)data, (void)size, 0; }
    #endif
    """
    # How many bytes from the beginning of a body surely stay as they are, by a quick look where the CPU allows one.
    size_t relaxed_same(const unsigned char *data, size_t size) noexcept nogil

cdef enum:
    BLOCK = 64
    TWO_BLOCKS = 130     # and what `mark` reads behind them
    FEW = 12             # runs of a block that are copied faster than its bytes one by one


cdef struct Marks:
    uint64_t space       # SP or HTAB
    uint64_t tab
    uint64_t left_out    # white space before white space or before CRLF


cdef inline Marks mark(const unsigned char *block) noexcept nogil:
    """What becomes of a block. Two bytes behind it are read."""
    cdef Marks marks
    cdef uint64_t cr = scan_equal(block, b"\r")
    cdef uint64_t lf = scan_equal(block, b"\n")
    cdef unsigned char next = block[BLOCK], next_but_one = block[BLOCK + 1]
    marks.tab = scan_equal(block, b"\t")
    marks.space = scan_equal(block, b" ") | marks.tab
    cdef uint64_t before_space = marks.space >> 1 | <uint64_t>(next == b" " or next == b"\t") << 63
    cdef uint64_t before_cr = cr >> 1 | <uint64_t>(next == b"\r") << 63
    cdef uint64_t two_before_lf = lf >> 2 | <uint64_t>(next == b"\n") << 62 | <uint64_t>(next_but_one == b"\n") << 63
    marks.left_out = marks.space & (before_space | before_cr & two_before_lf)
    return marks


cdef inline void pad(unsigned char *blocks, const unsigned char *data, Py_ssize_t length) noexcept nogil:
    """The last two blocks, of which at most 65 bytes are data, filled up with a byte that means nothing."""
    memset(blocks, 0, TWO_BLOCKS)
    memcpy(blocks, data, length)


cdef inline Py_ssize_t count_left_out(const unsigned char *data, Py_ssize_t length, bint *tabs) noexcept nogil:
    """How many bytes reduction leaves out; `tabs` becomes true where a kept byte changes."""
    cdef Marks marks
    cdef unsigned char last[TWO_BLOCKS]
    cdef uint64_t tab = 0
    cdef Py_ssize_t total = 0, at = 0, rest
    while at + BLOCK + 2 <= length:
        marks = mark(data + at)
        tab |= marks.tab
        if marks.left_out:
            total += scan_count(marks.left_out)
        at += BLOCK
    pad(last, data + at, length - at)
    for rest in range(2):
        marks = mark(last + rest * BLOCK)
        tab |= marks.tab
        total += scan_count(marks.left_out)
    tabs[0] = tab != 0
    return total


cdef inline unsigned char *keep_pieces(unsigned char *out, const unsigned char *block, uint64_t kept) noexcept nogil:
    """Copy the kept bytes of a block without tabs, run by run. Each copy is of 64 bytes, read and written."""
    cdef int skipped, run
    while kept:
        skipped = scan_first(kept)
        kept >>= skipped
        block += skipped
        memcpy(out, block, BLOCK)
        run = scan_first(~kept)
        kept >>= run
        block += run
        out += run
    return out


cdef inline unsigned char *keep_bytes(
    unsigned char *out, const unsigned char *block, Py_ssize_t length, Marks marks
) noexcept nogil:
    """Copy the kept ones of `length` bytes, tabs as spaces. The next byte overwrites the one that is left out."""
    cdef Py_ssize_t i
    for i in range(length):
        out[0] = b" " if marks.space >> i & 1 else block[i]
        out += 1 - (marks.left_out >> i & 1)
    return out


cdef inline unsigned char *write_reduced(
    unsigned char *out, const unsigned char *end, const unsigned char *data, Py_ssize_t length
) noexcept nogil:
    """Write the reduced form of data that does not end with white space; no byte at or behind `end` is touched."""
    cdef Marks marks
    cdef unsigned char last[TWO_BLOCKS]
    cdef Py_ssize_t at = 0
    while at + BLOCK + 2 <= length:
        marks = mark(data + at)
        if (marks.left_out | marks.tab) == 0:
            memcpy(out, data + at, BLOCK)
            out += BLOCK
        elif marks.tab == 0 and at + 2 * BLOCK <= length and end - out >= 2 * BLOCK and few_runs(~marks.left_out):
            out = keep_pieces(out, data + at, ~marks.left_out)
        else:
            out = keep_bytes(out, data + at, BLOCK, marks)
        at += BLOCK
    pad(last, data + at, length - at)
    if length - at > BLOCK:
        out = keep_bytes(out, last, BLOCK, mark(last))
        return keep_bytes(out, last + BLOCK, length - at - BLOCK, mark(last + BLOCK))
    return keep_bytes(out, last, length - at, mark(last))


cdef inline bint few_runs(uint64_t kept) noexcept nogil:
    return scan_count(kept & ~(kept << 1)) <= FEW


cdef inline bint ends_line(const unsigned char *data, Py_ssize_t length) noexcept nogil:
    return length >= 2 and data[length - 2] == b"\r" and data[length - 1] == b"\n"


cdef inline Py_ssize_t without_empty_end(const unsigned char *data, Py_ssize_t length, bint spaces) noexcept nogil:
    """Length without the line ends (and, if `spaces`, the white space) that close the data."""
    while True:
        while spaces and length > 0 and (data[length - 1] == b" " or data[length - 1] == b"\t"):
            length -= 1
        if not ends_line(data, length):
            return length
        length -= 2


cdef struct Field:
    Py_ssize_t name      # length of the canonical name, -1: the field has none
    Py_ssize_t length    # length of the canonical line


cdef inline const unsigned char *end_of_field(const unsigned char *at, const unsigned char *end) noexcept nogil:
    """Behind the header field that begins at `at`, its continuation lines (RFC 5322 §2.2.3) among it."""
    while True:
        at = <const unsigned char *> memchr(at, b"\n", end - at)
        if at == NULL:
            return end
        at += 1
        if at == end or (at[0] != b" " and at[0] != b"\t"):
            return at


cdef inline Field write_field(unsigned char *out, const unsigned char *line, Py_ssize_t length) noexcept nogil:
    """The canonical form of one field, at most `length` + 2 bytes, written to `out` (RFC 6376 §3.4.2)."""
    cdef Field field = Field(-1, 0)
    cdef Py_ssize_t i = 0, o = 0
    cdef bint space = False
    cdef unsigned char byte
    if length > 0 and (line[0] == b" " or line[0] == b"\t"):
        return field
    while i < length:
        byte = line[i]
        i += 1
        if byte == b"\n" or (byte == b"\r" and i < length and line[i] == b"\n"):
            continue
        if byte == b" " or byte == b"\t":
            space = True
            continue
        if byte == b":" and field.name < 0:
            if o == 0:
                return field
            field.name = o
            space = False
            out[o] = b":"
            o += 1
            continue
        if space and o != field.name + 1:
            out[o] = b" "
            o += 1
        space = False
        if field.name < 0 and b"A" <= byte <= b"Z":
            byte |= 0x20
        out[o] = byte
        o += 1
    out[o] = b"\r"
    out[o + 1] = b"\n"
    field.length = o + 2
    return field
