"""Seal and write a recipient's two tokens: what they say, a keyed BLAKE2b (RFC 7693) of it, in base32 (RFC 4648 §6).

    u64 word | u16 index | 80 bits of the digest: the first ten bytes for the one token, the next ten for the other

Big-endian, in small letters, without padding. The block with the key is hashed once, so a pair of tokens costs one
more block: what they say is shorter than that.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset
from blake2b cimport blake2b_compress, blake2b_start, blake2b_two_words

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 most)
    void *PyUnicode_DATA(object text)

cdef enum:
    BLOCK = 128
    SAID = 10           # bytes that a token says
    SEAL = 10           # bytes of the digest in each
    MOST_KEY = 64
    MOST_PERSON = 16

cdef const char *LETTERS = b"abcdefghijklmnopqrstuvwxyz234567"

cdef void read_words(const uint8_t *data, Py_ssize_t size, uint64_t *words, int count) noexcept nogil:
    """Little-endian; what is missing is zero."""
    cdef Py_ssize_t at
    memset(words, 0, 8 * count)
    for at in range(size):
        words[at >> 3] |= <uint64_t> data[at] << (8 * (at & 7))


cdef void write_letters(const uint8_t *source, uint8_t *out) noexcept nogil:
    cdef uint64_t group
    cdef int at, place
    for at in range(0, SAID + SEAL, 5):
        group = 0
        for place in range(5):
            group = group << 8 | source[at + place]
        for place in range(8):
            out[place] = LETTERS[(group >> (35 - 5 * place)) & 31]
        out += 8


cdef class Sealer:
    def __init__(self, bytes key not None, bytes person not None):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(key)
        cdef uint64_t words[16]
        cdef int number
        if not 0 < size <= MOST_KEY or PyBytes_GET_SIZE(person) > MOST_PERSON:
            raise ValueError(f"a key has 1 to {MOST_KEY} bytes, what it is for up to {MOST_PERSON}")
        for number in range(8):
            self.keyed[number] = blake2b_start[number]
        self.keyed[0] ^= 0x01010000 ^ (<uint64_t> size << 8) ^ (2 * SEAL)
        read_words(<const uint8_t *> PyBytes_AS_STRING(person), PyBytes_GET_SIZE(person), words, 2)
        self.keyed[6] ^= words[0]
        self.keyed[7] ^= words[1]
        read_words(<const uint8_t *> PyBytes_AS_STRING(key), size, words, 16)
        blake2b_compress(self.keyed, words, BLOCK, False)
        memset(words, 0, sizeof(words))

    def pair(self, uint64_t word, uint16_t index):
        returning, link = PyUnicode_New(TOKEN, 127), PyUnicode_New(TOKEN, 127)
        self.write(word, index, <uint8_t *> PyUnicode_DATA(returning), <uint8_t *> PyUnicode_DATA(link))
        return returning, link

    cdef void write(self, uint64_t word, uint16_t index, uint8_t *returning, uint8_t *link) noexcept nogil:
        """The letters of both, `TOKEN` of each."""
        cdef uint64_t state[8]
        cdef uint64_t words[2]
        cdef uint8_t said[SAID + SEAL]
        cdef uint8_t seals[2 * SEAL]
        cdef int at
        for at in range(8):
            said[at] = (word >> (56 - 8 * at)) & 0xFF
        said[8] = index >> 8
        said[9] = index & 0xFF
        read_words(said, SAID, words, 2)
        memcpy(state, self.keyed, sizeof(state))
        blake2b_two_words(state, words[0], words[1], BLOCK + SAID)
        for at in range(2 * SEAL):
            seals[at] = (state[at >> 3] >> (8 * (at & 7))) & 0xFF
        memcpy(said + SAID, seals, SEAL)
        write_letters(said, returning)
        memcpy(said + SAID, seals + SEAL, SEAL)
        write_letters(said, link)
