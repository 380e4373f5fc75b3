"""Journal records of intents and outcomes without a text, by `struct` and `zlib`."""

import struct
import zlib


def intent(chunk: int, index: int, attempt: int, time: float) -> bytes:
    return _framed(struct.pack("<BHHId", 1, attempt, index, chunk, time))


def outcome(
    chunk: int,
    index: int,
    attempt: int,
    time: float,
    disposition: int,
    stage: int,
    reason: int,
    code: int,
    due: float,
) -> bytes:
    return _framed(struct.pack("<BHHIdBBBHd", 2, attempt, index, chunk, time, disposition, stage, reason, code, due))


def _framed(body: bytes) -> bytes:
    return struct.pack("<II", len(body), zlib.crc32(body)) + body
