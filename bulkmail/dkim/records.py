"""Compare a key record published in the DNS with the key that signs (RFC 6376 §3.6.1, RFC 8463 §4)."""

import base64
import binascii
import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from bulkmail.dkim.keys import SigningKey

_WHITESPACE = re.compile(r"[ \t\r\n]+")
_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def published_key_problem(txt: bytes, key: SigningKey) -> str | None:
    """Why receivers that find `txt` (its strings joined) would not verify `key`'s signatures; None when they would."""
    where = key.record_name
    try:
        tags = _parse_tags(txt)
    except ValueError as error:
        return f"{where}: {error}"
    version, key_type = tags.get("v", "DKIM1"), tags.get("k", "rsa")
    if version != "DKIM1":
        return f"{where}: is v={version}, not v=DKIM1"
    if "v" in tags and next(iter(tags)) != "v":
        return f"{where}: v=DKIM1 must come first"
    if "p" not in tags:
        return f"{where}: has no p= tag, so no key; publish: {key.record}"
    published = _WHITESPACE.sub("", tags["p"])
    if not published:
        return f"{where}: the key is revoked (p= is empty); sign with another selector"
    if key_type.lower() != key.key_type:
        return f"{where}: is a key of the kind {key_type}, but the signing key is {key.key_type}"
    if "h" in tags and "sha256" not in _list_of(tags["h"]):
        return f"{where}: allows only h={tags['h']}, but signatures use sha256"
    if "s" in tags and not {"*", "email"} & set(_list_of(tags["s"])):
        return f"{where}: is for the services s={tags['s']}, not for email"
    problem = _key_data_problem(published, key)
    if problem:
        return f"{where}: {problem}"
    if "y" in _list_of(tags.get("t", "")):
        return f"{where}: is in test mode (t=y), so receivers treat the mail as unsigned"
    # t=s asks that i= be of the domain itself, which it always is: signatures have no i= of their own.
    return None


def _key_data_problem(published: str, key: SigningKey) -> str | None:
    if published == key.public_base64:
        return None
    try:
        encoded = base64.b64decode(published, validate=True)
    except (binascii.Error, ValueError):
        return "p= is not base64; was it cut or wrapped when it was published?"
    if key.key_type == "ed25519":
        if len(encoded) != 32:
            return f"p= has {len(encoded)} bytes, an Ed25519 key has 32 (RFC 8463)"
        return "p= is another key than the one that signs"
    try:
        # Either form is in use: SubjectPublicKeyInfo, and the bare RSAPublicKey of RFC 8017.
        public = load_der_public_key(encoded)
    except (ValueError, UnsupportedAlgorithm):
        return "p= holds no RSA public key; was it cut when it was published?"
    if not isinstance(public, RSAPublicKey):
        return "p= holds no RSA public key"
    ours = load_der_public_key(base64.b64decode(key.public_base64))
    if public == ours:
        return None
    return f"p= is another key ({public.key_size} bits) than the one that signs ({key.bits} bits)"


def _parse_tags(txt: bytes) -> dict[str, str]:
    """The tags of a record in their order (RFC 6376 §3.2); ValueError with what is wrong."""
    try:
        text = txt.decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("is not plain ASCII") from None
    if "\\" in text:
        raise ValueError("has backslashes, probably escapes meant for a zone file; publish it without them")
    if '"' in text:
        raise ValueError("has quotation marks in it; publish it without them")
    tags: dict[str, str] = {}
    parts = text.split(";")
    if len(parts) > 1 and not parts[-1].strip(" \t\r\n"):
        parts.pop()
    for part in parts:
        name, equals, value = part.partition("=")
        name = name.strip(" \t\r\n")
        if not equals or not _TAG_NAME.fullmatch(name):
            raise ValueError(f"is no list of tags like v=DKIM1; k=rsa; p=...: {part.strip()[:60]!r}")
        if name in tags:
            raise ValueError(f"has the tag {name}= twice")
        tags[name] = value.strip(" \t\r\n")
    return tags


def _list_of(value: str) -> list[str]:
    return [item.strip(" \t\r\n").lower() for item in value.split(":")]
