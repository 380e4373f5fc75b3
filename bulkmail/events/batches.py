"""Reads what was added to an event log since a place in it, a batch of whole lines at a time."""

import re
from collections.abc import Collection
from pathlib import Path

from msgspec import Struct

BLOCK_BYTES = 256 << 10
_EVENT = re.compile(rb'^\{"time":"[^"]{0,40}","event":"([a-z_]{1,40})"')


class Batch(Struct, frozen=True):
    """Lines, without their ends, and the place behind all that was looked at."""

    lines: tuple[bytes, ...]
    end: int


def read_batch(path: Path, start: int, *, limit: int, wanted: Collection[str] = ()) -> Batch:
    """At most `limit` lines with an event of `wanted` (empty: any), out of the next `BLOCK_BYTES` of the log.

    A log that was cut off is read on from its new end; a last line that is not whole is left for later. OSError where
    the log cannot be read; one that is not there is empty.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            start = min(start, size)
            if start:
                file.seek(start - 1)
                if file.read(1) != b"\n":
                    start += len(file.readline(BLOCK_BYTES))
            file.seek(start)
            block = file.read(BLOCK_BYTES)
    except FileNotFoundError:
        return Batch((), start)
    lines: list[bytes] = []
    at = 0
    while len(lines) < limit and (newline := block.find(b"\n", at)) >= 0:
        line = block[at:newline]
        at = newline + 1
        found = _EVENT.match(line)
        if found is not None and (not wanted or found[1].decode() in wanted):
            lines.append(line)
    if not at and len(block) == BLOCK_BYTES:
        at = len(block)  # no event is so long: what is damaged holds up nothing
    return Batch(tuple(lines), start + at)
