"""Keeps what came in and could not be understood, each message with the reason, for a person to look at."""

import os
from hashlib import blake2b
from pathlib import Path

from bulkmail.errors import DiskFull, StateError
from bulkmail.store.directory import fsync_directory

QUARANTINE = "quarantine"
LIMIT_MESSAGES = 10_000
LIMIT_BYTES = 1 << 30


class Quarantine:
    """The folder `quarantine` of a state directory: `NAME.eml`, and `NAME.txt` that says why.

    It takes no more than `messages` and `size_bytes`; a person empties it.
    """

    def __init__(self, directory: Path, *, messages: int = LIMIT_MESSAGES, size_bytes: int = LIMIT_BYTES) -> None:
        self.path = directory / QUARANTINE
        self._room = messages
        self._room_bytes = size_bytes
        self._messages = self._bytes = 0
        self._counted = False

    def keep(self, data: bytes, why: str, *, way: str) -> Path:
        """Durable when it returns; the same bytes are kept once. DiskFull where there is no room."""
        path = self.path / f"{blake2b(data, digest_size=12).hexdigest()}.eml"
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            if path.exists():
                return path
            self._make_room(len(data))
            _write(path.with_suffix(".txt"), f"{why}\n{way}\n".encode("utf-8", "replace"))
            _write(path, data)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}", hint="free some space") from None
        fsync_directory(self.path)
        self._messages += 1
        self._bytes += len(data)
        return path

    def _make_room(self, size: int) -> None:
        if not self._counted or self._messages >= self._room or self._bytes + size > self._room_bytes:
            sizes = [entry.stat().st_size for entry in os.scandir(self.path) if entry.name.endswith(".eml")]
            self._messages, self._bytes, self._counted = len(sizes), sum(sizes), True
        if self._messages >= self._room or self._bytes + size > self._room_bytes:
            raise DiskFull(
                f"{self.path}: holds {self._messages:,} messages, no more fit", hint="look at it and empty it"
            )


def _write(path: Path, data: bytes) -> None:
    """Under another name first, so that no half of a message bears its name."""
    draft = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(draft, path)
