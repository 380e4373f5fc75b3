"""SHA-256 of many messages side by side, and keys that sign eight digests at once."""

from hashlib import sha256

from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport uint8_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset


cdef class LaneKey:
    """A key that signs by eights, through functions of libcrypto_mb given by their addresses."""

    @staticmethod
    def rsa(functions, methods, size_t scratch, Py_ssize_t fewest, bytes padding not None, parts):
        cdef LaneKey made = LaneKey()
        cdef bytes part
        cdef int number
        made.key.sign, made.key.verify = functions
        made.key.private_method, made.key.public_method = methods
        made.key.width = len(padding) + MB_DIGEST
        if made.key.width > MB_MOST_BYTES or len(parts) != MB_PARTS:
            raise ValueError("not an RSA key of this size")
        made.key.bits = <int> made.key.width * 8
        made.scratch, made.fewest = scratch, fewest
        memcpy(made.key.padding, PyBytes_AS_STRING(padding), len(padding))
        for number in range(MB_PARTS):
            part = parts[number]
            if <size_t> len(part) > made.key.width:
                raise ValueError("a part of the key is too long")
            memcpy(made.key.parts[number], PyBytes_AS_STRING(part), len(part))
        return made

    @staticmethod
    def ed25519(functions, Py_ssize_t fewest, bytes seed not None, bytes public not None):
        cdef LaneKey made = LaneKey()
        if len(seed) != MB_DIGEST or len(public) != MB_DIGEST:
            raise ValueError("the halves of an Ed25519 key have 32 bytes")
        made.key.sign, made.key.verify = functions
        made.key.bits, made.key.width = 0, MB_ED25519_BYTES
        made.fewest = fewest
        memcpy(made.key.seed, PyBytes_AS_STRING(seed), MB_DIGEST)
        memcpy(made.key.public_key, PyBytes_AS_STRING(public), MB_DIGEST)
        return made

    @staticmethod
    def one_by_one(addresses, bytes der not None, Py_ssize_t width, bint rsa):
        cdef LaneKey made = LaneKey()
        cdef uintptr_t *functions = <uintptr_t *> &made.openssl
        cdef const uint8_t *data = <const uint8_t *> PyBytes_AS_STRING(der)
        cdef int number
        if len(addresses) * sizeof(uintptr_t) != sizeof(ossl_functions) or width > MB_MOST_BYTES:
            raise ValueError("not the functions, or not a key of this size")
        for number in range(len(addresses)):
            functions[number] = addresses[number]
        made.key.openssl = &made.openssl
        made.key.width, made.key.bits = width, 8 * <int> width if rsa else 0
        made.fewest = 0
        made.key.pkey = made.openssl.d2i(NULL, &data, len(der))
        if made.key.pkey == NULL:
            raise ValueError("OpenSSL cannot read the key")
        return made

    def __dealloc__(self):
        if self.key.pkey != NULL:
            self.openssl.pkey_free(self.key.pkey)

    def sign(self, digests):
        cdef bytes joined = b"".join(digests)
        cdef size_t count = len(digests)
        if <size_t> len(joined) != count * MB_DIGEST:
            raise ValueError("digests have 32 bytes")
        cdef bytes out = PyBytes_FromStringAndSize(NULL, count * self.key.width)
        cdef const uint8_t *data = <const uint8_t *> PyBytes_AS_STRING(joined)
        cdef uint8_t *signatures = <uint8_t *> PyBytes_AS_STRING(out)
        cdef uint8_t *scratch = <uint8_t *> malloc(self.scratch + 64)
        cdef int good
        if scratch == NULL:
            raise MemoryError
        with nogil:
            good = mb_sign(&self.key, data, count, signatures, scratch)
            memset(scratch, 0, self.scratch)
        free(scratch)
        if not good:
            raise ArithmeticError("it computed a signature that does not verify")
        return [out[start:start + self.key.width] for start in range(0, len(out), self.key.width)]


def sha256_many(list messages not None, int lanes=SHA256_LANES):
    cdef Py_ssize_t number, count = len(messages)
    cdef bytes message
    cdef sha256_job *jobs = <sha256_job *> calloc(count + 1, sizeof(sha256_job))
    cdef list digests = []
    if jobs == NULL:
        raise MemoryError
    try:
        lanes = sha256_lanes(lanes, count)
        for number in range(count):
            message = messages[number]
            digests.append(PyBytes_FromStringAndSize(NULL, SHA256_BYTES))
            jobs[number].data, jobs[number].length = <uint8_t *> PyBytes_AS_STRING(message), len(message)
            jobs[number].digest = <uint8_t *> PyBytes_AS_STRING(digests[number])
        if lanes:
            with nogil:
                sha256_many_jobs(jobs, count, lanes)
        elif not hash_slowly(jobs, count):
            raise MemoryError
    finally:
        free(jobs)
    return digests


cdef bint hash_slowly(const sha256_job *jobs, size_t count) noexcept with gil:
    """By the interpreter's SHA-256, where this CPU has nothing faster; false where memory is wanting."""
    cdef size_t number
    cdef bytes digest
    try:
        for number in range(count):
            data = PyMemoryView_FromMemory(<char *> jobs[number].data, jobs[number].length, PyBUF_READ)
            digest = sha256(data).digest()
            memcpy(jobs[number].digest, PyBytes_AS_STRING(digest), SHA256_BYTES)
    except MemoryError:
        return False
    return True
