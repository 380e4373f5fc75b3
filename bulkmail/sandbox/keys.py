"""Demo keys: where a campaign's DKIM key file does not exist, the sandbox makes one in the state directory."""

import os
from pathlib import Path

import msgspec

from bulkmail.errors import StateError
from bulkmail.model.campaign import Campaign, DkimKey

KEY_BITS = 2048


def with_demo_keys(campaign: Campaign, folder: Path) -> Campaign:
    """The campaign with each missing key file replaced by a key in `folder`, made on first use (mode 600).

    Only for the sandbox route, whose DNS publishes what is made here. Raises StateError where it cannot be written.
    """
    return msgspec.structs.replace(campaign, dkim=tuple(_with_file(entry, folder) for entry in campaign.dkim))


def _with_file(entry: DkimKey, folder: Path) -> DkimKey:
    if os.path.lexists(entry.key):
        return entry
    path = folder / f"{entry.selector}._domainkey.{entry.domain}.pem"
    if not path.exists():
        _write_key(path)
    return msgspec.structs.replace(entry, key=str(path))


def _write_key(path: Path) -> None:
    # Loads a library for cryptography, which a campaign with keys of its own, or none, does not need from here.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    unfinished = path.with_suffix(f".{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        os.replace(unfinished, path)
    except OSError as error:
        raise StateError(f"the sandbox's DKIM key cannot be written to {path}: {error.strerror}") from error
