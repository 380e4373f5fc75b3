"""Read a DKIM private key from a PEM file, or say in one sentence why the file is none.

Accepted are unencrypted RSA keys (PKCS#1, PKCS#8) and Ed25519 keys (PKCS#8). Every refusal is a `CampaignError` that
names the file, what was found in it and what to run.
"""

import os
import re
import shlex
import stat

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from bulkmail.errors import CampaignError

MINIMUM_RSA_BITS = 1024  # RFC 8301 §3.2: signatures of shorter keys are not to be trusted
_MAXIMUM_FILE_BYTES = 64 * 1024
_NEW_KEY_HINT = "make a new key: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_BLOCK = re.compile(rb"-----BEGIN ((?:RSA )?PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)

PrivateKey = RSAPrivateKey | Ed25519PrivateKey


def read_private_key(file: str) -> PrivateKey:
    """The private key in `file`, which must belong to this user (or root) and be closed to group and others."""
    return parse_private_key(_read_private_file(file), file=file)


def parse_private_key(data: bytes, *, file: str) -> PrivateKey:
    """The one private key among the PEM blocks of `data`; `file` is named in errors."""
    blocks = [match.group(0) for match in _BLOCK.finditer(data)]
    if len(blocks) > 1:
        raise CampaignError(
            f"holds {len(blocks)} private keys; which of them signs is not clear",
            file=file,
            hint="keep one private key per file",
        )
    if not blocks:
        raise _no_private_key(data, file)
    if b"Proc-Type: 4,ENCRYPTED" in blocks[0]:
        raise _encrypted(file)
    try:
        key = load_pem_private_key(blocks[0] + b"\n", password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        message = "holds a private key that is damaged, or of a kind DKIM does not know"
        raise CampaignError(
            message, file=file, hint=f"see: openssl pkey -noout -text -in {shlex.quote(file)}"
        ) from None
    if isinstance(key, RSAPrivateKey):
        if key.key_size < MINIMUM_RSA_BITS:
            message = (
                f"holds an RSA key of {key.key_size} bits; receivers refuse fewer than {MINIMUM_RSA_BITS} (RFC 8301)"
            )
            raise CampaignError(message, file=file, hint=_NEW_KEY_HINT)
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    kind = type(key).__name__.removesuffix("PrivateKey")
    raise _foreign_algorithm(file, kind)


def _read_private_file(file: str) -> bytes:
    """The bytes of `file`; owner and mode are those of the opened file, so that no swap can slip in between."""
    try:
        # O_NONBLOCK: opening a named pipe must not wait for its writer.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise CampaignError("DKIM key file not found", file=file, hint=_NEW_KEY_HINT) from None
    except OSError as error:
        raise CampaignError(f"DKIM key file cannot be opened: {error.strerror}", file=file) from None
    try:
        status = os.fstat(descriptor)
        _check_private(status, file)
        return os.read(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def _check_private(status: os.stat_result, file: str) -> None:
    us = os.geteuid()
    if not stat.S_ISREG(status.st_mode):
        raise CampaignError("DKIM key is not a regular file", file=file)
    if status.st_uid not in (0, us):
        raise CampaignError(
            f"DKIM key file belongs to user id {status.st_uid}, who could replace it; this process is {us}",
            file=file,
            hint=f"run: chown {us} {shlex.quote(file)}",
        )
    if status.st_mode & 0o077:
        raise CampaignError(
            f"DKIM key file is open to group or others (mode {stat.S_IMODE(status.st_mode):04o})",
            file=file,
            hint=f"run: chmod 600 {shlex.quote(file)}",
        )
    if status.st_size > _MAXIMUM_FILE_BYTES:
        raise CampaignError(f"DKIM key file has {status.st_size} bytes; no private key is that long", file=file)


def _no_private_key(data: bytes, file: str) -> CampaignError:
    labels = [match.group(1).decode() for match in _LABEL.finditer(data)]
    quoted = shlex.quote(file)
    if not data.strip():
        return CampaignError("DKIM key file is empty", file=file, hint=_NEW_KEY_HINT)
    if not labels:
        if _is_der_key(data):
            hint = f"convert it: openssl pkey -inform DER -in {quoted} -out {quoted}.pem"
            return CampaignError("holds a private key as DER, not as PEM", file=file, hint=hint)
        return CampaignError("holds no PEM block (-----BEGIN ...); a PEM private key is needed", file=file)
    if "ENCRYPTED PRIVATE KEY" in labels:
        return _encrypted(file)
    if "OPENSSH PRIVATE KEY" in labels:
        message = "holds an OpenSSH key; DKIM needs PKCS#1 or PKCS#8"
        return CampaignError(message, file=file, hint=_NEW_KEY_HINT)
    for label in labels:
        if label in ("PRIVATE KEY", "RSA PRIVATE KEY"):
            return CampaignError("holds a private key that is cut off: its END line is missing", file=file)
        if label.endswith(" PRIVATE KEY"):
            return _foreign_algorithm(file, label.removesuffix(" PRIVATE KEY"))
    for label in labels:
        if label.endswith("PUBLIC KEY"):
            message = "holds a public key; signing needs the private key it was made from"
            return CampaignError(message, file=file, hint="name the private key's file under dkim: key")
        if label.endswith("CERTIFICATE"):
            message = "holds a certificate; signing needs a private key"
            return CampaignError(message, file=file, hint="name the private key's file under dkim: key")
    return CampaignError(f"holds {labels[0]}; signing needs a private key", file=file)


def _is_der_key(data: bytes) -> bool:
    try:
        load_der_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def _encrypted(file: str) -> CampaignError:
    quoted = shlex.quote(file)
    return CampaignError(
        "holds an encrypted private key; nobody is there to type its passphrase while mail is sent",
        file=file,
        hint=f"decrypt it into a file of mode 600: umask 077; openssl pkey -in {quoted} -out {quoted}.plain",
    )


def _foreign_algorithm(file: str, kind: str) -> CampaignError:
    message = f"holds a key of the kind {kind}; DKIM knows RSA and Ed25519"
    return CampaignError(message, file=file, hint=_NEW_KEY_HINT)
