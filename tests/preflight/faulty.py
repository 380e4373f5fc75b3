"""Campaigns made of the sound one in `sound/` by the edits of a file in `faults/`: one planted fault each."""

import os
import shutil
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bulkmail.config.load import load_campaign
from bulkmail.dkim.signing import load_keys
from bulkmail.store.suppressions import Suppression, Suppressions

HERE = Path(__file__).parent
FAULTS = sorted((HERE / "faults").glob("*.yaml"))


def make_key() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def sound_campaign(folder: Path, key: bytes) -> Path:
    """A copy of the sound campaign, with its key published in `records.txt`."""
    shutil.copytree(HERE / "sound", folder, dirs_exist_ok=True)
    (folder / "keys").mkdir()
    (folder / "keys" / "garden.pem").touch(mode=0o600)
    (folder / "keys" / "garden.pem").write_bytes(key)
    signer = load_keys(load_campaign(folder / "campaign.yaml").dkim)
    with open(folder / "records.txt", "a", encoding="utf-8") as records:
        records.writelines(f'{name} TXT "{value}"\n' for name, value in signer.records())
    (folder / "disposable.txt").write_text("# one a line\nmailinator.example\n")
    return folder / "campaign.yaml"


def plant(folder: Path, fault: dict[str, Any]) -> None:
    """Break the sound campaign in `folder`."""
    for name, edits in fault.get("edits", {}).items():
        path = folder / name
        text = path.read_text(encoding="utf-8")
        for old, new in edits:
            if old == "ALL":
                text = new
            elif old == "":
                text += new
            else:
                assert old in text, f"{old!r} is not in {name}"
                text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    if "heavy" in fault:
        with open(folder / fault["heavy"], "ab") as picture:
            picture.write(bytes(1_100_000))
    if "large" in fault:
        # Base64 makes 21 MB of it.
        (folder / fault["large"]).write_bytes(os.urandom(16_000_000))
    if "suppress" in fault:
        address = fault["suppress"]
        with Suppressions.open(folder / ".bulkmail") as suppressions:
            suppressions.add(Suppression(key=address, address=address, reason="manual", source="test", time=0.0))


def read_fault(path: Path) -> dict[str, Any]:
    fault: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return fault
