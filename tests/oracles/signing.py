"""The twin of the native Batch: what each key has to sign of a message, and its header lines, in plain Python."""

import base64
import hashlib
from collections.abc import Sequence

from tests.oracles import canonical

Pieces = tuple[bytes, bytes, bytes]


def fields_of(message: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """(name, canonical line) of each field, and the body."""
    lines: list[bytes] = []
    rest = message
    while rest and not rest.startswith((b"\n", b"\r\n")):
        line, newline, rest = rest.partition(b"\n")
        if lines and line[:1] in (b" ", b"\t"):
            lines[-1] += line + newline
        else:
            lines.append(line + newline)
    body = rest[2 if rest.startswith(b"\r\n") else 1 :]
    relaxed = [canonical.relaxed_header(line) for line in lines]
    return [(line.partition(b":")[0], line) for line in relaxed], body


def digest(message: bytes, lines: Sequence[int], template: Pieces, now: bytes) -> bytes:
    """The SHA-256 that a key with this canonical template signs."""
    fields, body = fields_of(message)
    return hashlib.sha256(b"".join([fields[line][1] for line in lines]) + filled(template, now, body)).digest()


def filled(template: Pieces, now: bytes, body: bytes) -> bytes:
    body_hash = base64.b64encode(hashlib.sha256(canonical.relaxed_body(body)).digest())
    return template[0] + now + template[1] + body_hash + template[2]


def line(message: bytes, template: Pieces, now: bytes, signature: bytes) -> bytes:
    """A key's header line, with the template as it is sent."""
    text = base64.b64encode(signature)
    pieces = [text[start : start + 72] for start in range(0, len(text), 72)]
    return filled(template, now, fields_of(message)[1]) + b"\r\n\t".join(pieces) + b"\r\n"
