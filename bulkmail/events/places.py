"""How far a receiver has the events: its place in each log, kept in one small file that survives a crash."""

import fcntl
import hashlib
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from bulkmail.errors import StateError

FOLDER = "webhooks"


class Places(Struct, kw_only=True):
    """Bytes of each log, by its file name, that the receiver has confirmed; and how it stands with it.

    `failures` in a row, after which it is not asked again before `retry_at` (Unix seconds).
    """

    url: str
    logs: dict[str, int] = {}
    failures: int = 0
    retry_at: float = 0.0
    problem: str = ""


class PlaceFile:
    """The places of one receiver in the logs of one campaign. Only one process at a time may hold it."""

    def __init__(self, events: Path, campaign: str, url: str) -> None:
        self.id = hashlib.sha256(f"{campaign} {url}".encode()).hexdigest()[:16]
        self._path = events / FOLDER / f"{self.id}.json"
        self._lock = -1
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._error(error) from None
        self._url = url

    def hold(self) -> bool:
        """False while another process posts to the same receiver."""
        if self._lock >= 0:
            return True
        try:
            descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._error(error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def read(self) -> Places | None:
        """None for a receiver that has never been told anything."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Places)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(error) from None
        except msgspec.DecodeError as error:
            raise StateError(f"{self._path}: {error}", hint="remove it: events are posted from now on") from None

    def write(self, places: Places) -> None:
        """Durable when it returns; StateError leaves what was there."""
        temporary = self._path.with_suffix(".new")
        try:
            with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags | os.O_CLOEXEC, 0o600)) as file:
                file.write(msgspec.json.encode(places))
                file.flush()
                os.fdatasync(file.fileno())
            os.replace(temporary, self._path)
        except OSError as error:
            raise self._error(error) from None

    def _error(self, error: OSError) -> StateError:
        return StateError(f"{self._path}: {error.strerror}", hint="check the disk and the mode of the directory")
