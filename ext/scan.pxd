"""Which of 64 bytes equal a given byte, as one 64-bit mask: SSE2 where present, plain 64-bit arithmetic elsewhere.

Header only (no .pyx twin), so that every extension compiles it into itself.
"""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__SSE2__) && !defined(BULKMAIL_PORTABLE_SCAN)
    #include <emmintrin.h>
    static inline uint64_t scan_equal(const unsigned char *block, unsigned char byte) {
        const __m128i wanted = _mm_set1_epi8((char)byte);
        uint64_t mask = 0;
        for (int lane = 3; lane >= 0; lane--) {
            const __m128i bytes = _mm_loadu_si128((const __m128i *)(block + 16 * lane));
            mask = (mask << 16) | (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, wanted));
        }
        return mask;
    }
    #else
    static inline uint64_t scan_equal(const unsigned char *block, unsigned char byte) {
        const uint64_t low7 = 0x7f7f7f7f7f7f7f7fULL, wanted = 0x0101010101010101ULL * byte;
        uint64_t mask = 0;
        for (int lane = 7; lane >= 0; lane--) {
            uint64_t bytes;
            memcpy(&bytes, block + 8 * lane, 8);
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
            bytes = __builtin_bswap64(bytes);
    #endif
            bytes ^= wanted;
            /* The high bit of each byte that is zero now; the product gathers those eight bits in the top byte. */
            bytes = ~(((bytes & low7) + low7) | bytes | low7) >> 7;
            mask = (mask << 8) | ((bytes * 0x0102040810204080ULL) >> 56);
        }
        return mask;
    }
    #endif
    static inline int scan_count(uint64_t mask) { return __builtin_popcountll(mask); }
    static inline int scan_first(uint64_t mask) { return __builtin_ctzll(mask); }
    """
    uint64_t scan_equal(const unsigned char *block, unsigned char byte) noexcept nogil
    int scan_count(uint64_t mask) noexcept nogil
    int scan_first(uint64_t mask) noexcept nogil  # of a mask that is not zero
