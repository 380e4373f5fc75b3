"""Own one state directory: its paths, its lock, and the refusal of a second owner."""

import fcntl
import os
import time
from pathlib import Path

from bulkmail.errors import StateError, StateInUse

LOCK = "lock"
DATABASE = "queue.db"
JOURNAL = "journal"
EVENTS = "events"
# How long the nodes of an owner that has died may take to notice.
ORPHAN_SECONDS = 5.0


def make_directory(path: Path) -> None:
    """Make the directory and its folders, open to its owner alone: it holds addresses and a secret.

    So are the folders above that have to be made for it: one of them may be a state directory, too.
    """
    above = [folder for folder in path.parents if not folder.exists()]
    for folder in (*reversed(above), path, path / JOURNAL, path / EVENTS):
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"{folder}: cannot be made a state directory: {error.strerror}", hint="choose another with --state"
            ) from None


def fsync_directory(path: Path) -> None:
    """Make the creation and removal of files in `path` durable. StateError where it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _removed(path) from None
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _removed(path: Path) -> StateError:
    return StateError(
        f"{path}: was removed while in use",
        hint="sending has stopped, for nobody could know who got mail; put the state directory back from a copy",
    )


class DirectoryLock:
    """The one owner's claim on a directory: an flock on `lock`, with the owner's pid inside.

    The kernel drops the flock with the last process that has its `descriptor`, however that ends: an owner hands it to
    its nodes, so that nobody takes over while one of them may still write. A pid left in the file means nothing by
    itself.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor: int | None = None
        self._path = path = directory / LOCK
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}", hint="choose another directory with --state") from None
        try:
            _take(descriptor, directory)
        except BlockingIOError:
            pid = _written_pid(descriptor)
            os.close(descriptor)
            owner = "another process" if pid is None else f"process {pid}"
            raise StateInUse(
                f"{directory}: in use by {owner}", pid=pid, hint="wait for it to end, or choose another with --state"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise StateError(f"{path}: cannot be locked: {error.strerror}", hint="keep it on a local disk") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        assert self._descriptor is not None
        return self._descriptor

    def check_in_place(self) -> None:
        """StateError where the directory was removed or replaced under us: what is written now, nobody will find."""
        assert self._descriptor is not None
        try:
            there = os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        except FileNotFoundError:
            there = False
        if not there:
            raise _removed(self._path.parent)

    def release(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _take(descriptor: int, directory: Path) -> None:
    """BlockingIOError where another has it; the nodes of an owner that has died are given the moment that they need."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            orphaned = _written_pid(descriptor) not in (None, os.getpid()) and owner_of(directory) is None
            if not orphaned or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def owner_of(directory: Path) -> int | None:
    """The process that has the directory now, None where nobody has. Looks only: no lock is taken for it."""
    path = directory / LOCK
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        pid = _written_pid(descriptor)
        held = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if pid is None or pid == os.getpid():
        return None
    # The number outlives a killed process and may be another's by now: only who has the file open is the owner.
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        return pid
    except OSError:
        return None
    for name in names:
        try:
            if os.path.samestat(held, os.stat(f"/proc/{pid}/fd/{name}")):
                return pid
        except OSError:
            continue
    return None


def _written_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 20, 0).strip()
    return int(text) if text.isdigit() else None
