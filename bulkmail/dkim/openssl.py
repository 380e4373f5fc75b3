"""Sign one by one with the OpenSSL that the interpreter itself is linked with, without its lock.

`cryptography` signs as fast, but a thread has to have the interpreter for each signature. Where Python has OpenSSL
built into it, its functions cannot be found by name, and `cryptography` it is.
"""

import ctypes
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bulkmail.dkim.pem import PrivateKey
from bulkmail.native.lanes import LaneKey

# As in `ossl_functions`.
_FUNCTIONS: Final = (
    "EVP_PKEY_CTX_new",
    "EVP_PKEY_CTX_free",
    "EVP_PKEY_sign_init",
    "EVP_PKEY_CTX_ctrl_str",
    "EVP_PKEY_sign",
    "EVP_MD_CTX_new",
    "EVP_MD_CTX_free",
    "EVP_DigestSignInit",
    "EVP_DigestSign",
    "d2i_AutoPrivateKey",
    "EVP_PKEY_free",
)
_ED25519_BYTES: Final = 64


def openssl_key(private: PrivateKey) -> LaneKey | None:
    """None where these functions are not to be had, or not for this key."""
    addresses = _addresses()
    if addresses is None:
        return None
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    rsa = isinstance(private, RSAPrivateKey)
    width = (private.key_size + 7) // 8 if isinstance(private, RSAPrivateKey) else _ED25519_BYTES
    try:
        return LaneKey.one_by_one(addresses, der, width, rsa)
    except ValueError:
        return None


@cache
def _addresses() -> tuple[int, ...] | None:
    try:
        import _hashlib

        library = ctypes.CDLL(_hashlib.__file__)
        return tuple(ctypes.cast(library[name], ctypes.c_void_p).value or 0 for name in _FUNCTIONS)
    except (ImportError, AttributeError, OSError):
        return None
