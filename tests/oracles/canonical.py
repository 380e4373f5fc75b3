"""DKIM's canonical forms line by line: what `bulkmail.native.canonical` must agree with."""

import re


def without_empty_end(lines: list[bytes]) -> list[bytes]:
    while lines and not lines[-1]:
        lines.pop()
    return lines


def relaxed_body(body: bytes) -> bytes:
    lines = [re.sub(rb"[ \t]+", b" ", line.rstrip(b" \t")) for line in body.split(b"\r\n")]
    return b"".join(line + b"\r\n" for line in without_empty_end(lines))


def simple_body(body: bytes) -> bytes:
    lines = without_empty_end(body.split(b"\r\n"))
    return b"".join(line + b"\r\n" for line in lines) or b"\r\n"


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
