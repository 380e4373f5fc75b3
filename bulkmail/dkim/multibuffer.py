"""Sign eight digests at once with Intel's multi-buffer library, where this machine has it.

`libcrypto_mb` (of the Python package `ipp-crypto`, Apache-2.0) computes eight RSA or Ed25519 signatures in the lanes of
AVX-512 IFMA registers. It links against the compiler runtime `intel-cmplr-lib-rt`, under Intel's end user licence.
Both are looked for when a process starts to sign and used from where they are; neither is needed. No signature
leaves the native code unless it verifies against the public key: a fault in a CRT computation would give the key away.
"""

import ctypes
import importlib.metadata
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from bulkmail.native.lanes import LaneKey

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


class MultibufferError(Exception):
    """The library cannot be used here, or not for this key; the text says which."""


def batch_signer(private: RSAPrivateKey | Ed25519PrivateKey) -> LaneKey:
    """A signer for this key; raises `MultibufferError` saying why there is none."""
    library = load()
    return _rsa(library, private) if isinstance(private, RSAPrivateKey) else _ed25519(library, private)


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


def _rsa(library: ctypes.CDLL, private: RSAPrivateKey) -> LaneKey:
    """RSASSA-PKCS1-v1_5 by the Chinese remainder theorem (RFC 8017 §5.1.2, §8.2.1)."""
    bits = private.key_size
    numbers = private.private_numbers()
    public = numbers.public_numbers
    if bits not in _METHODS or public.e != 65537:
        raise MultibufferError(f"not for RSA keys of {bits} bits with exponent {public.e}")
    if numbers.p.bit_length() != bits // 2 or numbers.q.bit_length() != bits // 2:
        raise MultibufferError("not for RSA keys with primes of different lengths")
    width = bits // 8
    padding = b"\0\1" + b"\xff" * (width - 3 - len(_DIGEST_INFO) - _DIGEST_BYTES) + b"\0" + _DIGEST_INFO
    pointer, number = ctypes.c_void_p, ctypes.c_int
    methods = [
        _function(library, f"mbx_{_METHODS[bits]}_{kind}_Method", [], pointer)() for kind in ("private_crt", "pub65537")
    ]
    room = _function(library, "mbx_RSA_Method_BufSize", [pointer], number)
    return LaneKey.rsa(
        (_address(library, "mbx_rsa_private_crt_mb8"), _address(library, "mbx_rsa_public_mb8")),
        (methods[0], methods[1]),
        max(room(method) for method in methods),
        FEWEST_RSA,
        padding,
        rsa_parts(private),
    )


def rsa_parts(private: RSAPrivateKey) -> list[bytes]:
    """What the library wants of a key: p, q, dp, dq, 1/q and the modulus."""
    numbers, half = private.private_numbers(), private.key_size // 16
    parts = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    return [part.to_bytes(half, "little") for part in parts] + [numbers.public_numbers.n.to_bytes(2 * half, "little")]


def _ed25519(library: ctypes.CDLL, private: Ed25519PrivateKey) -> LaneKey:
    """Pure Ed25519 over the digests (RFC 8032 §5.1.6, RFC 8463 §3)."""
    return LaneKey.ed25519(
        (_address(library, "mbx_ed25519_sign_mb8"), _address(library, "mbx_ed25519_verify_mb8")),
        FEWEST_ED25519,
        private.private_bytes_raw(),
        private.public_key().public_bytes_raw(),
    )


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


def _address(library: ctypes.CDLL, name: str) -> int:
    return ctypes.cast(_function(library, name, [], ctypes.c_uint32), ctypes.c_void_p).value or 0
