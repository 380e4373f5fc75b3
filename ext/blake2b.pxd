"""BLAKE2b's compression of one block (RFC 7693 §3.2), all rounds written out.

Header only (no .pyx twin), so that every extension compiles it into itself. In C, for a compiler leaves out what words
known to be zero would add: of a block with two words, a sixth of the work.
"""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #define BLAKE2B_TURN(value, bits) (((value) >> (bits)) | ((value) << (64 - (bits))))
    #define BLAKE2B_MIX(a, b, c, d, x, y) do { \\
        a += b + m[x]; d = BLAKE2B_TURN(d ^ a, 32); c += d; b = BLAKE2B_TURN(b ^ c, 24); \\
        a += b + m[y]; d = BLAKE2B_TURN(d ^ a, 16); c += d; b = BLAKE2B_TURN(b ^ c, 63); \\
    } while (0)
    #define BLAKE2B_ROUND(p, q, r, s, t, u, v, w, x, y, z, A, B, C, D, E) do { \\
        BLAKE2B_MIX(v0, v4, v8, v12, p, q); BLAKE2B_MIX(v1, v5, v9, v13, r, s); \\
        BLAKE2B_MIX(v2, v6, v10, v14, t, u); BLAKE2B_MIX(v3, v7, v11, v15, v, w); \\
        BLAKE2B_MIX(v0, v5, v10, v15, x, y); BLAKE2B_MIX(v1, v6, v11, v12, z, A); \\
        BLAKE2B_MIX(v2, v7, v8, v13, B, C); BLAKE2B_MIX(v3, v4, v9, v14, D, E); \\
    } while (0)
    static const uint64_t blake2b_start[8] = {
        0x6A09E667F3BCC908u, 0xBB67AE8584CAA73Bu, 0x3C6EF372FE94F82Bu, 0xA54FF53A5F1D36F1u,
        0x510E527FADE682D1u, 0x9B05688C2B3E6C1Fu, 0x1F83D9ABFB41BD6Bu, 0x5BE0CD19137E2179u,
    };
    static inline __attribute__((always_inline)) void blake2b_compress(
        uint64_t *h, const uint64_t *m, uint64_t hashed, int last
    ) {
        uint64_t v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
        uint64_t v8 = blake2b_start[0], v9 = blake2b_start[1], v10 = blake2b_start[2], v11 = blake2b_start[3];
        uint64_t v12 = blake2b_start[4] ^ hashed, v13 = blake2b_start[5];
        uint64_t v14 = last ? ~blake2b_start[6] : blake2b_start[6], v15 = blake2b_start[7];
        BLAKE2B_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        BLAKE2B_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
        BLAKE2B_ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
        BLAKE2B_ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
        BLAKE2B_ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
        BLAKE2B_ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
        BLAKE2B_ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
        BLAKE2B_ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
        BLAKE2B_ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
        BLAKE2B_ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
        BLAKE2B_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        BLAKE2B_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
        h[0] ^= v0 ^ v8; h[1] ^= v1 ^ v9; h[2] ^= v2 ^ v10; h[3] ^= v3 ^ v11;
        h[4] ^= v4 ^ v12; h[5] ^= v5 ^ v13; h[6] ^= v6 ^ v14; h[7] ^= v7 ^ v15;
    }
    static inline void blake2b_two_words(uint64_t *h, uint64_t first, uint64_t second, uint64_t hashed) {
        const uint64_t m[16] = {first, second};
        blake2b_compress(h, m, hashed, 1);
    }
    """
    const uint64_t *blake2b_start
    # The last block where `last`; `hashed` bytes are in with it.
    void blake2b_compress(uint64_t *h, const uint64_t *m, uint64_t hashed, bint last) noexcept nogil
    # The last block, of up to 16 bytes.
    void blake2b_two_words(uint64_t *h, uint64_t first, uint64_t second, uint64_t hashed) noexcept nogil
