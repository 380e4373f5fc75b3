"""A set of addresses in 8 bytes each (over its load factor): open addressing over keyed 64-bit hashes.

The slots hold the hashes in ascending order with gaps, each at or behind the place its own value gives it (linear
probing, smallest first). So a search ends at the first larger hash, and the table grows inside its own memory: pack
everything at the end of the enlarged block, then deal it out again from the front. No second table ever exists.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memmove, memset

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #define ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
    #define SIPROUND do { \\
        v0 += v1; v1 = ROTATE(v1, 13); v1 ^= v0; v0 = ROTATE(v0, 32); \\
        v2 += v3; v3 = ROTATE(v3, 16); v3 ^= v2; \\
        v0 += v3; v3 = ROTATE(v3, 21); v3 ^= v0; \\
        v2 += v1; v1 = ROTATE(v1, 17); v1 ^= v2; v2 = ROTATE(v2, 32); \\
    } while (0)

    static inline uint64_t little_endian(uint64_t word) {
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        return __builtin_bswap64(word);
    #else
        return word;
    #endif
    }

    /* The key spells "bulkmail:address". Hashes are stored, so it never changes. */
    static inline uint64_t siphash13(const char *data, size_t length) {
        const uint64_t k0 = 0x6c69616d6b6c7562ULL, k1 = 0x737365726464613aULL;
        uint64_t v0 = k0 ^ 0x736f6d6570736575ULL, v1 = k1 ^ 0x646f72616e646f6dULL;
        uint64_t v2 = k0 ^ 0x6c7967656e657261ULL, v3 = k1 ^ 0x7465646279746573ULL;
        uint64_t word, last = 0;
        for (size_t left = length; left >= 8; left -= 8, data += 8) {
            memcpy(&word, data, 8);
            word = little_endian(word);
            v3 ^= word;
            SIPROUND;
            v0 ^= word;
        }
        for (size_t i = 0; i < (length & 7); i++) last |= (uint64_t)(unsigned char)data[i] << (8 * i);
        last |= (uint64_t)length << 56;
        v3 ^= last;
        SIPROUND;
        v0 ^= last;
        v2 ^= 0xff;
        SIPROUND;
        SIPROUND;
        SIPROUND;
        return v0 ^ v1 ^ v2 ^ v3;
    }

    static inline uint64_t scale(uint64_t value, uint64_t range) {
        return (uint64_t)(((unsigned __int128)value * range) >> 64);
    }
    """
    uint64_t siphash13(const char *data, size_t length) noexcept nogil
    uint64_t scale(uint64_t value, uint64_t range) noexcept nogil
    void prefetch "__builtin_prefetch" (const void *address) noexcept nogil

cdef enum:
    AHEAD = 32           # keys whose slots are fetched at once
    WINDOW = 8           # slots compared at once
    FIRST_CAPACITY = 64
    MOST_KEY = 1024      # of a look-up on the stack: a name of a list and an address
    SPARE_SLOTS = 64     # behind the last home slot, for what is pushed past it; the last WINDOW stay empty

# Odd, so that no two hashes become one; spreads values that are no hashes, such as 1, 2, 3.
cdef uint64_t SPREAD = 0x9E3779B97F4A7C15


cdef inline uint64_t hash_of(bytes key) noexcept:
    cdef uint64_t value = siphash13(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    return value if value else 1


cdef inline uint64_t value_of(bytes key) noexcept:
    return hash_of(key) * SPREAD


def hash64(bytes key not None, /) -> int:
    return hash_of(key)


cdef class AddressSet:
    def __dealloc__(self):
        PyMem_RawFree(self.slots)

    def __len__(self) -> int:
        return self.count

    @property
    def memory_bytes(self) -> int:
        return object.__sizeof__(self) + self.total * sizeof(uint64_t)

    def __contains__(self, bytes key not None) -> bool:
        return self.holds(value_of(key))

    def add(self, bytes key not None, /) -> bool:
        return self.insert(value_of(key))

    def add_hash(self, uint64_t h, /) -> bool:
        if h == 0:
            raise ValueError("0 is no hash64 value")
        return self.insert(h * SPREAD)

    def discard(self, bytes key not None, /) -> None:
        cdef uint64_t value = value_of(key)
        if not self.holds(value):
            return
        # Everything behind that is not at home moves one slot forward.
        cdef size_t at = self.search(value), end = at + 1
        while self.slots[end] != 0 and scale(self.slots[end], self.capacity) < end:
            end += 1
        memmove(&self.slots[at], &self.slots[at + 1], (end - at - 1) * sizeof(uint64_t))
        self.slots[end - 1] = 0
        self.count -= 1

    def contains_many(self, list keys not None, /) -> list[bool]:
        cdef uint64_t values[AHEAD]
        cdef Py_ssize_t first, i
        cdef list found = []
        for first in range(0, len(keys), AHEAD):
            for i in range(self.approach(keys, first, values)):
                found.append(self.holds(values[i]))
        return found

    def add_many(self, list keys not None, /) -> list[bool]:
        cdef uint64_t values[AHEAD]
        cdef Py_ssize_t first, i
        cdef list new = []
        for first in range(0, len(keys), AHEAD):
            for i in range(self.approach(keys, first, values)):
                new.append(self.insert(values[i]))
        return new

    cdef Py_ssize_t approach(self, list keys, Py_ssize_t first, uint64_t *values) except -1:
        """The values of up to AHEAD keys, with the slots of all of them under way from memory at the same time."""
        cdef Py_ssize_t count = min(len(keys) - first, <Py_ssize_t>AHEAD), i
        for i in range(count):
            key = keys[first + i]
            if not isinstance(key, bytes):
                raise TypeError(f"keys are bytes, not {type(key).__name__}")
            values[i] = value_of(<bytes>key)
            if self.total:
                prefetch(&self.slots[scale(values[i], self.capacity)])
                prefetch(&self.slots[scale(values[i], self.capacity) + WINDOW - 1])
        return count

    cdef bint holds(self, uint64_t value) noexcept:
        return self.total != 0 and self.slots[self.search(value)] == value

    cdef int holds_address(self, bytes prefix, bytes wire) noexcept:
        """Whether `prefix` and the key of an address as it stands in MAIL or RCPT is in the set; -1: not for us to say.

        The key is what bulkmail.address.comparison_key_of_wire says, of plain ASCII without quotes: its small letters.
        """
        cdef char key[MOST_KEY]
        cdef Py_ssize_t before = PyBytes_GET_SIZE(prefix), length = PyBytes_GET_SIZE(wire), at
        cdef const char *text = PyBytes_AS_STRING(wire)
        cdef unsigned char byte
        cdef uint64_t value
        if before + length > MOST_KEY:
            return -1
        memcpy(key, PyBytes_AS_STRING(prefix), before)
        for at in range(length):
            byte = text[at]
            if byte >= 0x80 or byte == b'"':
                return -1
            key[before + at] = byte | 0x20 if b"A" <= byte <= b"Z" else byte
        value = siphash13(key, before + length)
        return self.holds((value if value else 1) * SPREAD)

    cdef size_t search(self, uint64_t value) noexcept:
        """The slot of the value, or the one where it belongs.

        Compares a window at a time without branches: a loop that ends at a slot not yet come from memory is guessed
        wrong, and stalls. The last WINDOW slots are always empty.
        """
        cdef const uint64_t *at = self.slots + scale(value, self.capacity)
        cdef size_t smaller
        cdef int i
        while True:
            smaller = 0
            for i in range(WINDOW):
                smaller += at[i] - 1 < value - 1
            at += smaller
            if smaller < WINDOW:
                return at - self.slots

    cdef bint insert(self, uint64_t value) except -1:
        cdef size_t at, end
        if self.holds(value):
            return False
        if self.count >= self.limit:
            self.rebuild(max(<size_t>FIRST_CAPACITY, self.capacity + self.capacity // 2))
        while True:
            at = end = self.search(value)
            while self.slots[end] != 0:
                end += 1
            if end + WINDOW < self.total:
                break
            self.rebuild(self.capacity)
        memmove(&self.slots[at + 1], &self.slots[at], (end - at) * sizeof(uint64_t))
        self.slots[at] = value
        self.count += 1
        return True

    cdef int rebuild(self, size_t capacity) except -1:
        """Spread the entries over `capacity` home slots and at least twice the spare slots they now need."""
        cdef size_t at, home, next = 0
        for at in range(self.total):
            if self.slots[at] != 0:
                home = scale(self.slots[at], capacity)
                next = max(home, next) + 1
        cdef size_t total = max(capacity + SPARE_SLOTS + 2 * (max(next, capacity) - capacity), self.total)
        cdef void *grown = PyMem_RawRealloc(self.slots, total * sizeof(uint64_t))
        if grown == NULL:
            raise MemoryError
        self.slots = <uint64_t *>grown
        cdef size_t packed = total
        for at in range(self.total, 0, -1):
            if self.slots[at - 1] != 0:
                packed -= 1
                self.slots[packed] = self.slots[at - 1]
        # An entry never lands behind where it was packed: as many slots as entries remain behind each.
        next = 0
        for at in range(packed, total):
            home = max(scale(self.slots[at], capacity), next)
            if home > next:
                memset(&self.slots[next], 0, (home - next) * sizeof(uint64_t))
            self.slots[home] = self.slots[at]
            next = home + 1
        memset(&self.slots[next], 0, (total - next) * sizeof(uint64_t))
        self.capacity = capacity
        self.total = total
        self.limit = capacity - capacity // 8
        return 0
