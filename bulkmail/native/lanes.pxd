from libc.stdint cimport uint8_t, uint64_t, uintptr_t

cdef extern from "sha256.h" nogil:
    enum:
        SHA256_LANES, SHA256_BYTES
    ctypedef struct sha256_job:
        const uint8_t *data
        size_t length
        uint8_t *digest
    int sha256_lanes(int most, size_t count)
    void sha256_many_jobs "sha256_many"(const sha256_job *jobs, size_t count, int lanes)

cdef extern from "multibuffer.h" nogil:
    enum:
        MB_LANES, MB_DIGEST, MB_MOST_BYTES, MB_ED25519_BYTES, MB_PARTS
    ctypedef struct ossl_functions:
        void *(*d2i)(void **pkey, const uint8_t **der, long size)
        void (*pkey_free)(void *pkey)
    ctypedef struct mb_key:
        uintptr_t sign
        uintptr_t verify
        int bits
        size_t width
        uintptr_t private_method
        uintptr_t public_method
        uint64_t parts[6][64]
        uint8_t padding[512]
        uint8_t seed[32]
        uint8_t public_key[32]
        const ossl_functions *openssl
        void *pkey
    int mb_sign(const mb_key *key, const uint8_t *digests, size_t count, uint8_t *signatures, uint8_t *scratch)


cdef class LaneKey:
    cdef mb_key key
    cdef ossl_functions openssl
    cdef size_t scratch
    cdef readonly Py_ssize_t fewest


cdef bint hash_slowly(const sha256_job *jobs, size_t count) noexcept with gil
