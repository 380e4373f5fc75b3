/* Signatures by functions whose addresses are handed in: of libcrypto_mb, eight at once, each verified before it is used;
   or of OpenSSL, one by one.

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

/* OpenSSL's functions (evp.h), by their addresses: those of the library that the interpreter has loaded. */
typedef struct {
    void *(*pkey_ctx_new)(void *pkey, void *engine);
    void (*pkey_ctx_free)(void *ctx);
    int (*sign_init)(void *ctx);
    int (*ctrl_str)(void *ctx, const char *type, const char *value);
    int (*sign)(void *ctx, uint8_t *out, size_t *size, const uint8_t *digest, size_t length);
    void *(*md_ctx_new)(void);
    void (*md_ctx_free)(void *ctx);
    int (*digest_sign_init)(void *ctx, void **pkey_ctx, const void *md, void *engine, void *pkey);
    int (*digest_sign)(void *ctx, uint8_t *out, size_t *size, const uint8_t *data, size_t length);
    void *(*d2i)(void **pkey, const uint8_t **der, long size);
    void (*pkey_free)(void *pkey);
} ossl_functions;

enum { MB_P, MB_Q, MB_DP, MB_DQ, MB_IQ, MB_N, MB_PARTS };

typedef struct {
    uintptr_t sign, verify;
    int bits; /* of the modulus; 0: Ed25519 */
    size_t width; /* of a signature */
    uintptr_t private_method, public_method;
    uint64_t parts[MB_PARTS][MB_MOST_BYTES / 8]; /* little endian */
    uint8_t padding[MB_MOST_BYTES]; /* what stands before the digest */
    uint8_t seed[MB_DIGEST], public_key[MB_DIGEST];
    const ossl_functions *openssl; /* NULL: by eights */
    void *pkey;
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

/* One after the other. OpenSSL checks RSA signatures made by the Chinese remainder theorem itself. */
static int ossl_sign(const mb_key *key, const uint8_t *digests, size_t count, uint8_t *signatures) {
    const ossl_functions *f = key->openssl;
    void *ctx = key->bits ? f->pkey_ctx_new(key->pkey, NULL) : NULL, *md_ctx = NULL;
    int good = !key->bits || (ctx && f->sign_init(ctx) == 1 && f->ctrl_str(ctx, "rsa_padding_mode", "pkcs1") == 1 &&
                              f->ctrl_str(ctx, "digest", "sha256") == 1);
    for (size_t i = 0; good && i < count; i++) {
        const uint8_t *digest = digests + i * MB_DIGEST;
        uint8_t *out = signatures + i * key->width;
        size_t size = key->width;
        if (key->bits) {
            good = f->sign(ctx, out, &size, digest, MB_DIGEST) == 1 && size == key->width;
            continue;
        }
        md_ctx = f->md_ctx_new();
        good = md_ctx && f->digest_sign_init(md_ctx, NULL, NULL, NULL, key->pkey) == 1 &&
               f->digest_sign(md_ctx, out, &size, digest, MB_DIGEST) == 1 && size == key->width;
        f->md_ctx_free(md_ctx);
    }
    if (ctx)
        f->pkey_ctx_free(ctx);
    return good;
}

/* Sign `count` digests that lie side by side; 1 when every signature verifies. `scratch` is as long as the methods want. */
static inline int mb_sign(const mb_key *key, const uint8_t *digests, size_t count, uint8_t *signatures, uint8_t *scratch) {
    uint8_t out[MB_LANES * MB_MOST_BYTES];
    const uint8_t *lanes[MB_LANES];
    if (key->openssl)
        return ossl_sign(key, digests, count, signatures);
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
