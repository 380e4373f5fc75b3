/* SHA-256 of many messages at once (FIPS 180-4 §6.2).

   Sixteen side by side in the lanes of AVX-512 registers, or two at a time by the SHA instructions, whose latency one
   alone cannot fill. A lane that has ended its message begins the next one, so messages of any lengths keep all lanes at
   work. A CPU that can neither, as `sha256_lanes` tells, has to hash otherwise. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { SHA256_LANES = 16, SHA256_PAIR = 2, SHA256_BLOCK = 64, SHA256_BYTES = 32 };
/* Below it sixteen lanes, most of them idle, take longer than pairs. */
enum { SHA256_FEW = 9 };

typedef struct {
    const uint8_t *data;
    size_t length;
    uint8_t *digest; /* SHA256_BYTES, written when done */
} sha256_job;

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>

#define SHA256_WIDE __attribute__((target("avx512f,avx512bw")))
#define SHA256_NARROW __attribute__((target("sha,sse4.1,ssse3")))

static const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint32_t sha256_start[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* Whether the CPU has the SHA instructions. CPUID is asked once: in a virtual machine an answer takes microseconds. */
static inline int sha256_instructions(void) {
    static int known = -1; /* threads that ask at once find the same */
    if (known < 0) {
        unsigned a, b = 0, c, d;
        known = __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3") &&
                __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
    }
    return known;
}

/* In how many lanes, of `most` or fewer, this CPU should hash so many messages: 16, 2 or, if it cannot, 0. */
static inline int sha256_lanes(int most, size_t count) {
    const int wide = most >= SHA256_LANES && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    if (most >= SHA256_PAIR && (count < SHA256_FEW || !wide) && sha256_instructions())
        return SHA256_PAIR;
    return wide ? SHA256_LANES : 0;
}

typedef struct {
    uint32_t state[8][SHA256_LANES] __attribute__((aligned(64))); /* word by word; a lane is a column */
    const uint8_t *at[SHA256_LANES];
    size_t step[SHA256_LANES];   /* bytes from block to block: none in an idle lane */
    size_t blocks[SHA256_LANES]; /* left in what `at` points into */
    size_t tail_blocks[SHA256_LANES];
    uint8_t *digest[SHA256_LANES]; /* NULL: idle */
    uint8_t tail[SHA256_LANES][2 * SHA256_BLOCK];
} sha256_bench;

/* Words of sixteen blocks, one block a row, become sixteen rows of one word of each. */
SHA256_WIDE static inline void sha256_transpose(__m512i r[16]) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

#define SHA256_XOR3(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0x96)
#define SHA256_ADD(x, y) _mm512_add_epi32(x, y)
#define SHA256_ROR(x, n) _mm512_ror_epi32(x, n)
/* The new `e` is what the next round waits for: it is three instructions behind the old one. */
#define SHA256_ROUND(a, b, c, d, e, f, g, h, word, k)                                                       \
    do {                                                                                                    \
        const __m512i fresh = SHA256_ADD(SHA256_ADD(h, _mm512_set1_epi32((int)(k))), word);                 \
        const __m512i chosen = _mm512_ternarylogic_epi32(e, f, g, 0xca);                                    \
        const __m512i mixed = SHA256_XOR3(SHA256_ROR(e, 6), SHA256_ROR(e, 11), SHA256_ROR(e, 25));          \
        const __m512i sum = SHA256_ADD(SHA256_ADD(fresh, chosen), mixed);                                   \
        d = SHA256_ADD(SHA256_ADD(SHA256_ADD(d, fresh), chosen), mixed);                                    \
        h = SHA256_ADD(SHA256_ADD(sum, _mm512_ternarylogic_epi32(a, b, c, 0xe8)),                           \
                       SHA256_XOR3(SHA256_ROR(a, 2), SHA256_ROR(a, 13), SHA256_ROR(a, 22)));                \
    } while (0)
#define SHA256_NEXT(w, i)                                                                                      \
    (w[i] = SHA256_ADD(                                                                                        \
         SHA256_ADD(w[i], w[((i) + 9) & 15]),                                                                  \
         SHA256_ADD(SHA256_XOR3(SHA256_ROR(w[((i) + 1) & 15], 7), SHA256_ROR(w[((i) + 1) & 15], 18),           \
                                _mm512_srli_epi32(w[((i) + 1) & 15], 3)),                                      \
                    SHA256_XOR3(SHA256_ROR(w[((i) + 14) & 15], 17), SHA256_ROR(w[((i) + 14) & 15], 19),        \
                                _mm512_srli_epi32(w[((i) + 14) & 15], 10)))))
#define SHA256_EIGHT(WORD, w, i, n)                                    \
    SHA256_ROUND(a, b, c, d, e, f, g, h, WORD(w, i), k[(n) + (i)]);     \
    SHA256_ROUND(h, a, b, c, d, e, f, g, WORD(w, i + 1), k[(n) + (i) + 1]); \
    SHA256_ROUND(g, h, a, b, c, d, e, f, WORD(w, i + 2), k[(n) + (i) + 2]); \
    SHA256_ROUND(f, g, h, a, b, c, d, e, WORD(w, i + 3), k[(n) + (i) + 3]); \
    SHA256_ROUND(e, f, g, h, a, b, c, d, WORD(w, i + 4), k[(n) + (i) + 4]); \
    SHA256_ROUND(d, e, f, g, h, a, b, c, WORD(w, i + 5), k[(n) + (i) + 5]); \
    SHA256_ROUND(c, d, e, f, g, h, a, b, WORD(w, i + 6), k[(n) + (i) + 6]); \
    SHA256_ROUND(b, c, d, e, f, g, h, a, WORD(w, i + 7), k[(n) + (i) + 7])
#define SHA256_GIVEN(w, i) w[i]

/* The next `count` blocks of every lane. */
SHA256_WIDE static void sha256_wide(sha256_bench *bench, size_t count) {
    const uint32_t *k = sha256_k;
    const __m512i swap = _mm512_set4_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203);
    __m512i s[8], w[16];
    for (int i = 0; i < 8; i++)
        s[i] = _mm512_load_si512((const void *)bench->state[i]);
    while (count--) {
        __m512i a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
        for (int lane = 0; lane < 16; lane++) {
            w[lane] = _mm512_shuffle_epi8(_mm512_loadu_si512((const void *)bench->at[lane]), swap);
            bench->at[lane] += bench->step[lane];
        }
        sha256_transpose(w);
        SHA256_EIGHT(SHA256_GIVEN, w, 0, 0);
        SHA256_EIGHT(SHA256_GIVEN, w, 8, 0);
        for (int n = 16; n < 64; n += 16) {
            SHA256_EIGHT(SHA256_NEXT, w, 0, n);
            SHA256_EIGHT(SHA256_NEXT, w, 8, n);
        }
        s[0] = SHA256_ADD(s[0], a);
        s[1] = SHA256_ADD(s[1], b);
        s[2] = SHA256_ADD(s[2], c);
        s[3] = SHA256_ADD(s[3], d);
        s[4] = SHA256_ADD(s[4], e);
        s[5] = SHA256_ADD(s[5], f);
        s[6] = SHA256_ADD(s[6], g);
        s[7] = SHA256_ADD(s[7], h);
    }
    for (int i = 0; i < 8; i++)
        _mm512_store_si512((void *)bench->state[i], s[i]);
}

/* Four rounds of a lane with the words in `m`, and the words of the four rounds sixteen later. */
#define SHA256_FOUR(abef, cdgh, m, g)                                                                            \
    do {                                                                                                         \
        __m128i sum = _mm_add_epi32(m[(g)&3], _mm_loadu_si128((const __m128i *)(sha256_k + 4 * (g))));           \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);                                                           \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));                                  \
        if ((g) >= 3 && (g) < 15)                                                                                \
            m[((g) + 1) & 3] = _mm_sha256msg2_epu32(                                                             \
                _mm_add_epi32(_mm_sha256msg1_epu32(m[((g) + 1) & 3], m[((g) + 2) & 3]),                          \
                              _mm_alignr_epi8(m[(g)&3], m[((g) + 3) & 3], 4)),                                   \
                m[(g)&3]);                                                                                       \
    } while (0)
#define SHA256_BOTH(g) SHA256_FOUR(abef[0], cdgh[0], m[0], g); SHA256_FOUR(abef[1], cdgh[1], m[1], g)

/* The next `count` blocks of the first two lanes. */
SHA256_NARROW static void sha256_narrow(sha256_bench *bench, size_t count) {
    const __m128i swap = _mm_set_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203);
    __m128i abef[2], cdgh[2], m[2][4];
    uint32_t(*s)[SHA256_LANES] = bench->state;
    for (int l = 0; l < 2; l++) {
        abef[l] = _mm_set_epi32((int)s[0][l], (int)s[1][l], (int)s[4][l], (int)s[5][l]);
        cdgh[l] = _mm_set_epi32((int)s[2][l], (int)s[3][l], (int)s[6][l], (int)s[7][l]);
    }
    while (count--) {
        const __m128i abef0 = abef[0], abef1 = abef[1], cdgh0 = cdgh[0], cdgh1 = cdgh[1];
        for (int l = 0; l < 2; l++) {
            for (int i = 0; i < 4; i++)
                m[l][i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(bench->at[l] + 16 * i)), swap);
            bench->at[l] += bench->step[l];
        }
        SHA256_BOTH(0); SHA256_BOTH(1); SHA256_BOTH(2); SHA256_BOTH(3);
        SHA256_BOTH(4); SHA256_BOTH(5); SHA256_BOTH(6); SHA256_BOTH(7);
        SHA256_BOTH(8); SHA256_BOTH(9); SHA256_BOTH(10); SHA256_BOTH(11);
        SHA256_BOTH(12); SHA256_BOTH(13); SHA256_BOTH(14); SHA256_BOTH(15);
        abef[0] = _mm_add_epi32(abef[0], abef0);
        abef[1] = _mm_add_epi32(abef[1], abef1);
        cdgh[0] = _mm_add_epi32(cdgh[0], cdgh0);
        cdgh[1] = _mm_add_epi32(cdgh[1], cdgh1);
    }
    for (int l = 0; l < 2; l++) {
        s[0][l] = (uint32_t)_mm_extract_epi32(abef[l], 3);
        s[1][l] = (uint32_t)_mm_extract_epi32(abef[l], 2);
        s[4][l] = (uint32_t)_mm_extract_epi32(abef[l], 1);
        s[5][l] = (uint32_t)_mm_extract_epi32(abef[l], 0);
        s[2][l] = (uint32_t)_mm_extract_epi32(cdgh[l], 3);
        s[3][l] = (uint32_t)_mm_extract_epi32(cdgh[l], 2);
        s[6][l] = (uint32_t)_mm_extract_epi32(cdgh[l], 1);
        s[7][l] = (uint32_t)_mm_extract_epi32(cdgh[l], 0);
    }
}

static void sha256_begin(sha256_bench *bench, int lane, const sha256_job *job) {
    const size_t whole = job->length / SHA256_BLOCK, rest = job->length % SHA256_BLOCK;
    const uint64_t bits = __builtin_bswap64((uint64_t)job->length * 8);
    uint8_t *tail = bench->tail[lane];
    for (int i = 0; i < 8; i++)
        bench->state[i][lane] = sha256_start[i];
    bench->tail_blocks[lane] = rest + 9 <= SHA256_BLOCK ? 1 : 2;
    memset(tail, 0, sizeof bench->tail[lane]);
    memcpy(tail, job->data + whole * SHA256_BLOCK, rest);
    tail[rest] = 0x80;
    memcpy(tail + bench->tail_blocks[lane] * SHA256_BLOCK - 8, &bits, 8);
    bench->at[lane] = whole ? job->data : tail;
    bench->blocks[lane] = whole ? whole : bench->tail_blocks[lane];
    if (!whole)
        bench->tail_blocks[lane] = 0;
    bench->step[lane] = SHA256_BLOCK;
    bench->digest[lane] = job->digest;
}

static void sha256_end(sha256_bench *bench, int lane) {
    for (int i = 0; i < 8; i++) {
        const uint32_t word = __builtin_bswap32(bench->state[i][lane]);
        memcpy(bench->digest[lane] + 4 * i, &word, 4);
    }
    bench->digest[lane] = NULL;
    bench->at[lane] = bench->tail[lane];
    bench->step[lane] = 0;
}

/* The digests of all jobs, in as many lanes as `sha256_lanes` said. */
static inline void sha256_many(const sha256_job *jobs, size_t count, int lanes) {
    sha256_bench bench;
    size_t next = 0, working = 0;
    memset(&bench, 0, sizeof bench);
    for (int lane = 0; lane < lanes; lane++) {
        bench.at[lane] = bench.tail[lane];
        if (next < count) {
            sha256_begin(&bench, lane, &jobs[next++]);
            working++;
        }
    }
    while (working) {
        size_t run = SIZE_MAX;
        for (int lane = 0; lane < lanes; lane++)
            if (bench.digest[lane] && bench.blocks[lane] < run)
                run = bench.blocks[lane];
        if (lanes == SHA256_LANES)
            sha256_wide(&bench, run);
        else
            sha256_narrow(&bench, run);
        for (int lane = 0; lane < lanes; lane++) {
            if (!bench.digest[lane] || (bench.blocks[lane] -= run))
                continue;
            if (bench.tail_blocks[lane]) {
                bench.at[lane] = bench.tail[lane];
                bench.blocks[lane] = bench.tail_blocks[lane];
                bench.tail_blocks[lane] = 0;
                continue;
            }
            sha256_end(&bench, lane);
            if (next < count)
                sha256_begin(&bench, lane, &jobs[next++]);
            else
                working--;
        }
    }
}

#else

static inline int sha256_lanes(int most, size_t count) { return (void)most, (void)count, 0; }
static inline void sha256_many(const sha256_job *jobs, size_t count, int lanes) { (void)jobs, (void)count, (void)lanes; }

#endif
