"""DKIM's canonical forms by regular expressions: what `bulkmail.native.canonical` must agree with."""

import re


def relaxed_body(body: bytes) -> bytes:
    ended = body if body.endswith(b"\r\n") else body + b"\r\n"
    lines = re.sub(rb"[ \t]+\r\n", b"\r\n", ended)
    reduced = re.sub(rb"[ \t]+", b" ", lines)
    kept = re.sub(rb"(?:\r\n)+\Z", b"", reduced)
    return kept + b"\r\n" if kept else b""


def simple_body(body: bytes) -> bytes:
    return re.sub(rb"(?:\r\n)+\Z", b"", body) + b"\r\n"


def relaxed_header(field: bytes) -> bytes:
    unfolded = re.sub(rb"\r?\n", b"", field)
    name, colon, value = re.sub(rb"[ \t]+", b" ", unfolded).partition(b":")
    if not colon or not name.strip(b" ") or field[:1] in (b" ", b"\t"):
        raise ValueError(field)
    return name.strip(b" ").lower() + b":" + value.strip(b" ") + b"\r\n"


def relaxed_headers(block: bytes) -> list[tuple[bytes, bytes]]:
    header = re.split(rb"(?:(?<=\n)|\A)\r?\n", block)[0]
    fields = re.split(rb"(?<=\n)(?![ \t])", header)
    canonical = [relaxed_header(field) for field in fields if field]
    return [(line.partition(b":")[0], line) for line in canonical]
