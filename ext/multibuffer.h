/* Eight signatures at once by functions of libcrypto_mb, whose addresses are handed in, each verified before it is used.

   A fault in a CRT computation, or in one of two equal Ed25519 signatures, would give the private key away. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { MB_LANES = 8, MB_DIGEST = 32, MB_MOST_BYTES = 512, MB_ED25519_BYTES = 64 };

/* As the library has them (crypto_mb/rsa.h, crypto_mb/ed25519.h); every status of 0 is that of all lanes. */
typedef uint32_t (*mb_rsa_private)(const uint8_t *const from[8], uint8_t *const to[8], const uint64_t *const p[8],
                                   const uint64_t *const q[8], const uint64_t *const dp[8], const uint64_t *const dq[8],
                                   const uint64_t *const iq[8], int bits, const void *method, uint8_t *scratch);
typedef uint32_t (*mb_rsa_public)(const uint8_t *const from[8], uint8_t *const to[8], const uint64_t *const n[8],
                                  int bits, const void *method, uint8_t *scratch);
typedef uint32_t (*mb_ed25519_sign)(uint8_t *const r[8], uint8_t *const s[8], const uint8_t *const message[8],
                                    const int32_t length[8], const uint8_t *const seed[8],
                                    const uint8_t *const public_key[8]);
typedef uint32_t (*mb_ed25519_verify)(const uint8_t *const r[8], const uint8_t *const s[8],
                                      const uint8_t *const message[8], const int32_t length[8],
                                      const uint8_t *const public_key[8]);

enum { MB_P, MB_Q, MB_DP, MB_DQ, MB_IQ, MB_N, MB_PARTS };

typedef struct {
    uintptr_t sign, verify;
    int bits; /* of the modulus; 0: Ed25519 */
    size_t width; /* of a signature */
    uintptr_t private_method, public_method;
    uint64_t parts[MB_PARTS][MB_MOST_BYTES / 8]; /* little endian */
    uint8_t padding[MB_MOST_BYTES]; /* what stands before the digest */
    uint8_t seed[MB_DIGEST], public_key[MB_DIGEST];
} mb_key;

static int mb_sign_rsa(const mb_key *key, const uint8_t *const digests[8], uint8_t *out, uint8_t *scratch) {
    uint8_t padded[MB_LANES * MB_MOST_BYTES], checks[MB_LANES * MB_MOST_BYTES];
    const uint8_t *from[MB_LANES], *made[MB_LANES];
    uint8_t *to[MB_LANES], *check[MB_LANES];
    const uint64_t *parts[MB_PARTS][MB_LANES];
    const size_t width = key->width;
    for (int lane = 0; lane < MB_LANES; lane++) {
        memcpy(padded + lane * width, key->padding, width - MB_DIGEST);
        memcpy(padded + (lane + 1) * width - MB_DIGEST, digests[lane], MB_DIGEST);
        from[lane] = padded + lane * width;
        made[lane] = to[lane] = out + lane * width;
        check[lane] = checks + lane * width;
        for (int part = 0; part < MB_PARTS; part++)
            parts[part][lane] = key->parts[part];
    }
    return !((mb_rsa_private)key->sign)(from, to, parts[MB_P], parts[MB_Q], parts[MB_DP], parts[MB_DQ], parts[MB_IQ],
                                        key->bits, (const void *)key->private_method, scratch) &&
           !((mb_rsa_public)key->verify)(made, check, parts[MB_N], key->bits, (const void *)key->public_method,
                                         scratch) &&
           !memcmp(checks, padded, MB_LANES * width);
}

static int mb_sign_ed25519(const mb_key *key, const uint8_t *const digests[8], uint8_t *out) {
    uint8_t *r[MB_LANES], *s[MB_LANES];
    const uint8_t *made_r[MB_LANES], *made_s[MB_LANES], *seeds[MB_LANES], *publics[MB_LANES];
    int32_t lengths[MB_LANES];
    for (int lane = 0; lane < MB_LANES; lane++) {
        made_r[lane] = r[lane] = out + lane * MB_ED25519_BYTES;
        made_s[lane] = s[lane] = r[lane] + MB_ED25519_BYTES / 2;
        seeds[lane] = key->seed;
        publics[lane] = key->public_key;
        lengths[lane] = MB_DIGEST;
    }
    return !((mb_ed25519_sign)key->sign)(r, s, digests, lengths, seeds, publics) &&
           !((mb_ed25519_verify)key->verify)(made_r, made_s, digests, lengths, publics);
}

/* Sign `count` digests that lie side by side; 1 when every signature verifies. `scratch` is as long as the methods want. */
static inline int mb_sign(const mb_key *key, const uint8_t *digests, size_t count, uint8_t *signatures, uint8_t *scratch) {
    uint8_t out[MB_LANES * MB_MOST_BYTES];
    const uint8_t *lanes[MB_LANES];
    for (size_t start = 0; start < count; start += MB_LANES) {
        const size_t some = count - start < MB_LANES ? count - start : MB_LANES;
        /* All eight lanes work; those not asked for repeat the last digest. */
        for (size_t lane = 0; lane < MB_LANES; lane++)
            lanes[lane] = digests + (start + (lane < some ? lane : some - 1)) * MB_DIGEST;
        if (!(key->bits ? mb_sign_rsa(key, lanes, out, scratch) : mb_sign_ed25519(key, lanes, out)))
            return 0;
        memcpy(signatures + start * key->width, out, some * key->width);
    }
    return 1;
}
