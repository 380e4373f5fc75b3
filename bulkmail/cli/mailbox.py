"""Reads messages from where mail is kept: an mbox, a Maildir, a folder of messages, one message, standard input."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bulkmail.errors import CampaignError
from bulkmail.feedback.mime import MESSAGE_LIMIT

STANDARD_INPUT = "-"
_ENVELOPE = b"From "
# With the time of arrival: a paragraph hardly begins so.
_BETWEEN = re.compile(rb"From \S.{0,200} \d\d:\d\d").match
_KEPT = MESSAGE_LIMIT + 1  # so much of a larger message is enough for it to be refused


def messages(where: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each message; of one over the limit, only the beginning. CampaignError where there is none."""
    if where == STANDARD_INPUT:
        yield from _numbered("standard input", sys.stdin.buffer)
        return
    path = Path(where)
    if path.is_dir():
        yield from _folder(path)
        return
    try:
        with open(path, "rb") as stream:
            yield from _numbered(where, stream)
    except OSError as error:
        raise CampaignError(f"cannot be read: {error.strerror}", file=where) from None


def _folder(path: Path) -> Iterator[tuple[str, bytes]]:
    """Of a Maildir what is in `new` and `cur`; of any other folder, its files."""
    maildir = [path / name for name in ("new", "cur") if (path / name).is_dir()]
    for folder in maildir or [path]:
        for file in sorted(folder.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                yield from messages(str(file))


def _numbered(name: str, stream: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """An mbox where the first line begins as one does, each with its number; else one message."""
    first = stream.readline(_KEPT)
    if not first.startswith(_ENVELOPE):
        data = first + stream.read(_KEPT)
        if data.strip():
            yield name, data
        return
    for number, data in enumerate(_mbox(stream), 1):
        yield f"{name}, message {number}", data


def _mbox(stream: BinaryIO) -> Iterator[bytes]:
    """What stands between the envelope lines: those that look like one and follow an empty line."""
    lines: list[bytes] = []
    size = 0
    empty = False
    while line := stream.readline(1 << 20):
        if empty and _BETWEEN(line):
            yield b"".join(lines)
            lines, size, empty = [], 0, False
            continue
        empty = line in (b"\n", b"\r\n")
        if size < _KEPT:
            lines.append(line.removeprefix(b">") if line.startswith(b">From ") else line)
            size += len(line)
    if size:
        yield b"".join(lines)
