"""Append a run's events to its NDJSON file, and read them back."""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bulkmail.errors import DiskFull, StateError
from bulkmail.model.delivery import Event

_BLOCK = 1 << 16
_ENCODER = msgspec.json.Encoder()
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class EventLog:
    """One file, one writer. A last line that is not whole, left by a crash, is cut off when the file is opened.

    `append` survives the end of the process, `sync` that of the machine. After an error of `sync` nothing more is
    accepted, for the kernel forgets what it could not write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed = False
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._error(error) from None
        try:
            self._offset = self._end_of_lines()
            os.ftruncate(self._descriptor, self._offset)
        except OSError as error:
            os.close(self._descriptor)
            raise self._error(error) from None

    @property
    def offset(self) -> int:
        """Bytes of whole lines in the file."""
        return self._offset

    def append(self, events: Sequence[Event]) -> None:
        """Write the events, a line each, in one go. DiskFull leaves the file as it was."""
        if events:
            self.append_lines(self.lines(events))

    def append_lines(self, lines: bytes) -> None:
        """`append` of events that are whole lines already."""
        self._check()
        written = 0
        try:
            while written < len(lines):
                written += os.pwrite(self._descriptor, lines[written:], self._offset + written)
        except OSError as error:
            # What did go in is behind `offset`: it is overwritten by the next append, or cut off here.
            os.ftruncate(self._descriptor, self._offset)
            raise self._error(error) from None
        self._offset += written

    @staticmethod
    def lines(events: Sequence[Event]) -> bytes:
        """The events as lines of the log."""
        # Of anything but a list, msgspec (0.22) never lets go of the iterator.
        return _ENCODER.encode_lines(list(events))

    def truncate(self, offset: int) -> None:
        """Forget what stands behind `offset`, the end of a line."""
        self._check()
        if not 0 <= offset <= self._offset or (offset and os.pread(self._descriptor, 1, offset - 1) != b"\n"):
            raise ValueError(f"{offset} is not the end of a line of {self._path}")
        os.ftruncate(self._descriptor, offset)
        self._offset = offset

    def sync(self) -> None:
        """Make durable what was appended; meant for a thread."""
        self._check()
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._failed = True
            raise self._error(error) from None

    def close(self) -> None:
        os.close(self._descriptor)

    def _check(self) -> None:
        if self._failed:
            raise StateError(f"{self._path}: could not be made durable before", hint="check the disk, then start again")

    def _end_of_lines(self) -> int:
        end = os.fstat(self._descriptor).st_size
        while end:
            start = max(0, end - _BLOCK)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0

    def _error(self, error: OSError) -> StateError:
        if error.errno in _DISK_FULL:
            return DiskFull(f"{self._path}: no room for events", hint="free some space")
        return StateError(f"{self._path}: {error.strerror}", hint="check the disk and the mode of the directory")


def read_events(path: Path, start: int = 0) -> Iterator[Event]:
    """The events of a file from byte `start`, the beginning of a line, on; a last line that is not whole is left out.

    StateError, with the line's byte offset, for a line that is no event.
    """
    decode = msgspec.json.Decoder(Event).decode
    offset = start
    try:
        with open(path, "rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield decode(line)
                offset += len(line)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"{path}: byte {offset}: not an event: {error}") from None
