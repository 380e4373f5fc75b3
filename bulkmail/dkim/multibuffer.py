"""Sign eight digests at once with Intel's multi-buffer library, where this machine has it.

`libcrypto_mb` (of the Python package `ipp-crypto`, Apache-2.0) computes eight RSA or Ed25519 signatures in the lanes of
AVX-512 IFMA registers. It links against the compiler runtime `intel-cmplr-lib-rt`, under Intel's end user licence.
Both are looked for when a process starts to sign and used from where they are; neither is needed. No signature
leaves this module unless it verifies against the public key: a fault in a CRT computation would give the key away.
"""

import ctypes
import importlib.metadata
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

LANES: Final = 8
# The fewest digests for which a call of eight lanes is cheaper than OpenSSL one by one.
FEWEST_RSA: Final = 3
FEWEST_ED25519: Final = 4
_METHODS: Final = {1024: "RSA1K", 2048: "RSA2K", 3072: "RSA3K", 4096: "RSA4K"}
# The DigestInfo of SHA-256 up to the digest (RFC 8017 §9.2, note 1).
_DIGEST_INFO: Final = bytes.fromhex("3031300d060960864801650304020105000420")
_DIGEST_BYTES: Final = 32
_LIBRARY_PACKAGE, _LIBRARY = "ipp-crypto", "libcrypto_mb.so"
# Loaded before the library, which finds them by name: the file that a package manager unpacks is on no search path.
_RUNTIME_PACKAGE, _RUNTIME = "intel-cmplr-lib-rt", ("libintlc.so.5", "libirng.so", "libimf.so", "libsvml.so")

_Pointers = ctypes.c_void_p * LANES
_Lengths = ctypes.c_int32 * LANES


class MultibufferError(Exception):
    """The library cannot be used here, or not for this key, or it computed something wrong; the text says which."""


class BatchSigner(Protocol):
    """Signs SHA-256 digests with one key, eight at a time. Safe to share among threads, and runs without the GIL."""

    fewest: int
    "The fewest digests for which `sign` pays."

    def sign(self, digests: Sequence[bytes]) -> list[bytes]:
        """One signature a digest, in order. Raises `MultibufferError` unless every one of them verifies."""


def batch_signer(private: RSAPrivateKey | Ed25519PrivateKey) -> BatchSigner:
    """A signer for this key; raises `MultibufferError` saying why there is none."""
    library = load()
    return _Rsa(library, private) if isinstance(private, RSAPrivateKey) else _Ed25519(library, private)


@cache
def installed() -> bool:
    """Whether the package with the library is there; then it is worth a word when it cannot be used."""
    return _file_of(_LIBRARY_PACKAGE, _LIBRARY) is not None


@cache
def load() -> ctypes.CDLL:
    """The library, loaded once a process. Raises `MultibufferError` where it is missing or this CPU cannot run it."""
    path = _file_of(_LIBRARY_PACKAGE, _LIBRARY)
    try:
        for name in _RUNTIME:
            if (runtime := _file_of(_RUNTIME_PACKAGE, name)) is not None:
                ctypes.CDLL(str(runtime), mode=ctypes.RTLD_GLOBAL)
        library = ctypes.CDLL(str(path) if path is not None else _LIBRARY)
        applicable = library.mbx_is_crypto_mb_applicable
        applicable.argtypes, applicable.restype = [ctypes.c_uint64], ctypes.c_int
        usable = bool(applicable(0))
    except (OSError, AttributeError) as error:
        raise MultibufferError(str(error)) from None
    if not usable:
        raise MultibufferError("this CPU lacks AVX-512 IFMA")
    return library


class _Slots(threading.local):
    """A thread's own buffers: eight inputs and outputs side by side, and scratch space."""

    def __init__(self, width: int, scratch: int) -> None:
        self.inputs = ctypes.create_string_buffer(LANES * width)
        self.outputs = ctypes.create_string_buffer(LANES * width)
        self.checks = ctypes.create_string_buffer(LANES * width)
        self.scratch = ctypes.create_string_buffer(max(scratch, 1))
        self.input_pointers = _lanes(self.inputs, width)
        self.output_pointers = _lanes(self.outputs, width)
        self.check_pointers = _lanes(self.checks, width)


class _LaneSigner:
    """Signs any number of digests by eights."""

    def sign(self, digests: Sequence[bytes]) -> list[bytes]:
        signatures: list[bytes] = []
        for start in range(0, len(digests), LANES):
            signatures += self._sign_lanes(digests[start : start + LANES])
        return signatures

    def _sign_lanes(self, digests: Sequence[bytes]) -> list[bytes]:
        raise NotImplementedError


class _Rsa(_LaneSigner):
    """RSASSA-PKCS1-v1_5 by the Chinese remainder theorem (RFC 8017 §5.1.2, §8.2.1)."""

    fewest = FEWEST_RSA

    def __init__(self, library: ctypes.CDLL, private: RSAPrivateKey) -> None:
        bits = private.key_size
        numbers = private.private_numbers()
        public = numbers.public_numbers
        if bits not in _METHODS or public.e != 65537:
            raise MultibufferError(f"not for RSA keys of {bits} bits with exponent {public.e}")
        if numbers.p.bit_length() != bits // 2 or numbers.q.bit_length() != bits // 2:
            raise MultibufferError("not for RSA keys with primes of different lengths")
        self._bits, self._width = bits, bits // 8
        self._padding = b"\0\1" + b"\xff" * (self._width - 3 - len(_DIGEST_INFO) - _DIGEST_BYTES) + b"\0" + _DIGEST_INFO
        parts = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
        self._buffers = [_constant(part.to_bytes(self._width // 2, "little")) for part in parts]
        self._modulus = _constant(public.n.to_bytes(self._width, "little"))
        self._parts = [_same(buffer) for buffer in self._buffers]
        self._modulus_pointers = _same(self._modulus)
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self._private_method = _function(library, f"mbx_{_METHODS[bits]}_private_crt_Method", [], pointer)()
        self._public_method = _function(library, f"mbx_{_METHODS[bits]}_pub65537_Method", [], pointer)()
        room = _function(library, "mbx_RSA_Method_BufSize", [pointer], number)
        scratch = max(room(self._private_method), room(self._public_method))
        self._sign = _function(
            library, "mbx_rsa_private_crt_mb8", [_Pointers] * 7 + [number, pointer, pointer], ctypes.c_uint32
        )
        self._verify = _function(
            library, "mbx_rsa_public_mb8", [_Pointers] * 3 + [number, pointer, pointer], ctypes.c_uint32
        )
        self._slots = _Slots(self._width, scratch)

    def _sign_lanes(self, digests: Sequence[bytes]) -> list[bytes]:
        slots, width = self._slots, self._width
        padded = b"".join([self._padding + digest for digest in _filled(digests)])
        slots.inputs.raw = padded
        failed = self._sign(
            slots.input_pointers,
            slots.output_pointers,
            *self._parts,
            self._bits,
            self._private_method,
            ctypes.addressof(slots.scratch),
        ) or self._verify(
            slots.output_pointers,
            slots.check_pointers,
            self._modulus_pointers,
            self._bits,
            self._public_method,
            ctypes.addressof(slots.scratch),
        )
        if failed or slots.checks.raw != padded:
            raise MultibufferError("it computed an RSA signature that does not verify")
        signatures = slots.outputs.raw
        return [signatures[lane * width : (lane + 1) * width] for lane in range(len(digests))]


class _Ed25519(_LaneSigner):
    """Pure Ed25519 over the digests (RFC 8032 §5.1.6, RFC 8463 §3)."""

    fewest = FEWEST_ED25519

    def __init__(self, library: ctypes.CDLL, private: Ed25519PrivateKey) -> None:
        self._seed = _constant(private.private_bytes_raw())
        self._public = _constant(private.public_key().public_bytes_raw())
        self._seeds, self._publics = _same(self._seed), _same(self._public)
        self._lengths = _Lengths(*[_DIGEST_BYTES] * LANES)
        self._sign = _function(
            library, "mbx_ed25519_sign_mb8", [_Pointers] * 3 + [_Lengths] + [_Pointers] * 2, ctypes.c_uint32
        )
        self._verify = _function(
            library, "mbx_ed25519_verify_mb8", [_Pointers] * 3 + [_Lengths, _Pointers], ctypes.c_uint32
        )
        # The two halves of a signature are written apart: `outputs` takes R, `checks` takes S.
        self._slots = _Slots(_DIGEST_BYTES, 0)

    def _sign_lanes(self, digests: Sequence[bytes]) -> list[bytes]:
        slots, width = self._slots, _DIGEST_BYTES
        slots.inputs.raw = b"".join(_filled(digests))
        halves = slots.output_pointers, slots.check_pointers
        failed = self._sign(*halves, slots.input_pointers, self._lengths, self._seeds, self._publics) or self._verify(
            *halves, slots.input_pointers, self._lengths, self._publics
        )
        if failed:
            raise MultibufferError("it computed an Ed25519 signature that does not verify")
        first, second = slots.outputs.raw, slots.checks.raw
        return [
            first[lane * width : (lane + 1) * width] + second[lane * width : (lane + 1) * width]
            for lane in range(len(digests))
        ]


def _file_of(package: str, name: str) -> Path | None:
    """Where an installed package has put a file of this name."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == name), None)


def _function(library: ctypes.CDLL, name: str, arguments: list[Any], result: Any) -> Any:
    try:
        function = library[name]
    except AttributeError as error:
        raise MultibufferError(str(error)) from None
    function.argtypes, function.restype = arguments, result
    return function


def _filled(digests: Sequence[bytes]) -> list[bytes]:
    """All eight lanes work; those not asked for repeat the last digest."""
    return [*digests, *[digests[-1]] * (LANES - len(digests))]


def _constant(value: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(value, len(value))


def _same(buffer: ctypes.Array[ctypes.c_char]) -> ctypes.Array[ctypes.c_void_p]:
    return _Pointers(*[ctypes.addressof(buffer)] * LANES)


def _lanes(buffer: ctypes.Array[ctypes.c_char], width: int) -> ctypes.Array[ctypes.c_void_p]:
    start = ctypes.addressof(buffer)
    return _Pointers(*[start + lane * width for lane in range(LANES)])
