"""What the sandbox keeps: each accepted message in a Maildir, and a log line for everything an auditor may ask.

`log.ndjson` has one JSON object a line; `event` says which: `opened` and `closed` (connections), `refused` (connections
turned away), `result` (what became of one recipient, or of a MAIL or DATA command that was refused). A message was
accepted if and only if there is a `result` with stage `message` and code 250; `replied` is false where the sandbox then
kept that reply to itself. The line of an accepted message is on file before its reply leaves.
"""

import os
from pathlib import Path
from typing import Literal

from msgspec import Struct, json

from bulkmail.clock import Clock, rfc3339

Keep = Literal["none", "log", "maildir"]

_FLUSH_BYTES = 256 * 1024


class Opened(Struct, frozen=True, kw_only=True, tag_field="event", tag="opened"):
    """A connection let in; `at_once` counts it and the client's others at exchangers of the same manners."""

    time: str
    connection: int
    host: str
    ip: str
    peer: str
    at_once: int


class Refused(Struct, frozen=True, kw_only=True, tag_field="event", tag="refused"):
    """A connection turned away with a reply instead of a greeting."""

    time: str
    connection: int
    host: str
    ip: str
    peer: str
    at_once: int
    code: int
    text: str


class Closed(Struct, frozen=True, kw_only=True, tag_field="event", tag="closed"):
    """The end of a connection that was let in; `unfinished`: a message was begun and never ended."""

    time: str
    connection: int
    host: str
    peer: str
    reason: str
    seconds: float
    commands: int
    messages: int
    bytes: int
    unfinished: bool


class Result(Struct, frozen=True, kw_only=True, tag_field="event", tag="result"):
    """What one recipient was told, or what refused the transaction before there was one (`rcpt` null).

    `bytes` and `sha256` are of the message as received, dot-stuffing undone, trace lines not included.
    """

    time: str
    connection: int
    host: str
    domain: str | None
    peer: str
    ehlo: str | None
    tls: str | None
    mail_from: str | None
    rcpt: str | None
    stage: str
    code: int
    text: str
    message_id: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    file: str | None = None
    replied: bool = True


Entry = Opened | Refused | Closed | Result


class Ledger:
    """The log and the Maildir of one sandbox, in one folder; `keep` says how much of it."""

    def __init__(self, folder: Path, *, keep: Keep, clock: Clock) -> None:
        self.keep = keep
        self.log_path = folder / "log.ndjson"
        self.maildir = folder / "maildir"
        self.urgent = False
        self._clock = clock
        self._lines = bytearray()
        self._encoder = json.Encoder()
        self._log = -1
        self._count = 0
        self._stem = f"P{os.getpid()}Q"
        if keep == "none":
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._log = os.open(self.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if keep == "maildir":
            for name in ("new", "cur", "tmp"):
                (self.maildir / name).mkdir(parents=True, exist_ok=True)

    def stamp(self) -> str:
        """The time as log lines write it."""
        return rfc3339(self._clock.time())

    def note(self, entry: Entry, *, urgent: bool = False) -> None:
        """Add a line; an urgent one asks to be flushed before anything is sent."""
        if self._log < 0:
            return
        self._lines += self._encoder.encode(entry)
        self._lines += b"\n"
        self.urgent = self.urgent or urgent
        if len(self._lines) > _FLUSH_BYTES:
            self.flush()

    def store(self, message: bytes, *, sender: str, recipients: list[str], host: str) -> str | None:
        """Write a message to the Maildir under three trace lines; the file's name, or None if none is kept.

        The bytes after the trace lines are the bytes received. Raises OSError where there is no room.
        """
        if self.keep != "maildir":
            return None
        self._count += 1
        name = f"{self._clock.time():.6f}.{self._stem}{self._count}.sandbox"
        trace = [f"Return-Path: <{sender}>\r\n"]
        trace += [f"Delivered-To: {recipient}\r\n" for recipient in recipients]
        trace.append(f"X-Sandbox-Host: {host}\r\n")
        temporary = f"{self.maildir}/tmp/{name}"
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            _write_all(file, "".join(trace).encode() + message)
            os.rename(temporary, f"{self.maildir}/new/{name}")
        except OSError:
            os.unlink(temporary)
            raise
        finally:
            os.close(file)
        return name

    def flush(self) -> None:
        """Put all lines on file with one write."""
        self.urgent = False
        if self._lines:
            lines, self._lines = self._lines, bytearray()
            _write_all(self._log, lines)

    def close(self) -> None:
        if self._log >= 0:
            self.flush()
            os.close(self._log)
            self._log = -1


def _write_all(file: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
