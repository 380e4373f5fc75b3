"""A DKIM verifier written from RFC 6376 and RFC 8463 alone, slow and plain, to hold the signer against."""

import base64
import hashlib
import re
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key


def header_fields(message: bytes) -> list[tuple[bytes, bytes]]:
    """(name, everything after the colon, folds and all, without the last CRLF) from the top down."""
    header = message.split(b"\r\n\r\n", 1)[0] if not message.startswith(b"\r\n") else b""
    fields: list[tuple[bytes, bytes]] = []
    for line in header.split(b"\r\n"):
        if line[:1] in (b" ", b"\t"):
            name, value = fields.pop()
            fields.append((name, value + b"\r\n" + line))
        else:
            name, _, value = line.partition(b":")
            fields.append((name, value))
    return fields


def body_of(message: bytes) -> bytes:
    return message.split(b"\r\n\r\n", 1)[1]


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """RFC 6376 §3.4.2, without the CRLF at the end."""
    unfolded = value.replace(b"\r\n", b"")
    return name.strip(b" \t").lower() + b":" + b" ".join(part for part in re.split(rb"[ \t]+", unfolded) if part)


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.4."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def tags_of(value: bytes) -> dict[bytes, bytes]:
    tags: dict[bytes, bytes] = {}
    for part in value.split(b";"):
        if part.strip():
            name, _, content = part.partition(b"=")
            assert name.strip() not in tags, f"tag {name!r} twice"
            tags[name.strip()] = content.strip()
    return tags


def verify(message: bytes, txt: Callable[[str], bytes]) -> list[bool]:
    """Whether each DKIM-Signature of `message` holds, from the top down; `txt` answers look-ups."""
    fields = header_fields(message)
    places = [index for index, (name, _) in enumerate(fields) if name.lower() == b"dkim-signature"]
    return [_verify_one(fields, place, body_of(message), txt) for place in places]


def _verify_one(fields: list[tuple[bytes, bytes]], place: int, body: bytes, txt: Callable[[str], bytes]) -> bool:
    name, value = fields[place]
    tags = tags_of(value)
    assert tags[b"v"] == b"1" and tags[b"c"] == b"relaxed/relaxed" and b"l" not in tags
    bh = base64.b64decode(re.sub(rb"\s", b"", tags[b"bh"]), validate=True)
    if hashlib.sha256(relaxed_body(body)).digest() != bh:
        return False
    remaining = [(field.strip().lower(), index) for index, (field, _) in enumerate(fields)]
    hashed = b""
    for listed in tags[b"h"].split(b":"):
        wanted = listed.strip().lower()
        for entry in reversed(remaining):
            if entry[0] == wanted:
                remaining.remove(entry)
                hashed += relaxed_field(*fields[entry[1]]) + b"\r\n"
                break
    hashed += relaxed_field(name, re.sub(rb"(;\s*b\s*=)[^;]*", rb"\1", value))
    signature = base64.b64decode(re.sub(rb"\s", b"", tags[b"b"]), validate=True)
    record = tags_of(txt(f"{tags[b's'].decode()}._domainkey.{tags[b'd'].decode()}"))
    public = base64.b64decode(record[b"p"], validate=True)
    try:
        if tags[b"a"] == b"rsa-sha256":
            load_der_public_key(public).verify(signature, hashed, PKCS1v15(), SHA256())  # type: ignore[union-attr, call-arg]
        else:
            assert tags[b"a"] == b"ed25519-sha256"
            Ed25519PublicKey.from_public_bytes(public).verify(signature, hashlib.sha256(hashed).digest())
    except InvalidSignature:
        return False
    return True
