"""Find and own a state directory: its place, its paths, its lock, and the refusal of a second owner."""

import fcntl
import os
from pathlib import Path

from msgspec import Struct

from bulkmail.errors import StateError, StateInUse

NAME = ".bulkmail"
VARIABLE = "BULKMAIL_STATE"
CAMPAIGNS = "campaigns"
LOCK = "lock"
DATABASE = "queue.db"
JOURNAL = "journal"
EVENTS = "events"


class StateDirectory(Struct, frozen=True):
    """The place of a state directory, which need not be there yet."""

    path: Path

    @property
    def exists(self) -> bool:
        """True where something has been stored in it."""
        return (self.path / DATABASE).is_file()

    def events_path(self, run: str) -> Path:
        """The event log of a run, by its id."""
        return self.path / EVENTS / f"{run}.ndjson"

    def owner(self) -> int | None:
        """The process that has the directory now, None where nobody has. Looks only, and takes no lock for it."""
        path = self.path / LOCK
        try:
            text = path.read_text(encoding="ascii", errors="replace").strip()
            held = path.stat()
        except OSError:
            return None
        if not text.isdigit():
            return None
        # The number outlives a killed process and may be another's by now: only who has the file open is the owner.
        try:
            files = os.listdir(f"/proc/{text}/fd")
        except PermissionError:
            return int(text)
        except OSError:
            return None
        for name in files:
            try:
                if os.path.samestat(held, os.stat(f"/proc/{text}/fd/{name}")):
                    return int(text)
            except OSError:
                continue
        return None


def state_for_campaign(campaign_file: str | None, explicit: Path | None) -> StateDirectory:
    """Where runs of a campaign file are remembered: `explicit`, else `$BULKMAIL_STATE`, else `.bulkmail` in the folder
    of the file or the nearest above that has one, else to be made beside the file.

    Never dependent on the current folder, or a run could be sent twice. StateError for a campaign without a file.
    """
    if (chosen := _chosen(explicit)) is not None:
        return chosen
    if campaign_file is None:
        raise StateError("a campaign without a file has no place for its state", hint="name a state directory")
    folder = Path(campaign_file).parent.resolve()
    for above in (folder, *folder.parents):
        if (above / NAME).is_dir():
            return StateDirectory(above / NAME)
    return StateDirectory(folder / NAME)


def state_from_here(explicit: Path | None, folder: Path) -> StateDirectory:
    """The state directory that somebody in `folder` means: `explicit`, else `$BULKMAIL_STATE`, else the nearest
    `.bulkmail` in the folder or above, each time also in `campaigns/`. StateError where there is none.
    """
    if (chosen := _chosen(explicit)) is not None:
        return chosen
    folder = folder.resolve()
    for above in (folder, *folder.parents):
        for place in (above / NAME, above / CAMPAIGNS / NAME):
            if place.is_dir():
                return StateDirectory(place)
    raise StateError(
        f"{folder}: no state directory here, above or in {CAMPAIGNS}/",
        hint="name the campaign file or --state DIR; the first `send` of a campaign makes one",
    )


def _chosen(explicit: Path | None) -> StateDirectory | None:
    if explicit is not None:
        return StateDirectory(explicit.absolute())
    variable = os.environ.get(VARIABLE)
    return StateDirectory(Path(variable).absolute()) if variable else None


def make_directory(path: Path) -> None:
    """Make the directory and its folders, open to its owner alone: it holds addresses and a secret."""
    for folder in (path, path / JOURNAL, path / EVENTS):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"{folder}: cannot be made a state directory: {error.strerror}", hint="choose another with --state"
            ) from None


def fsync_directory(path: Path) -> None:
    """Make the creation and removal of files in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DirectoryLock:
    """The one owner's claim on a directory: an flock on `lock`, with the owner's pid inside.

    The kernel drops the flock with the process, however it ends; a pid left in the file means nothing by itself.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor: int | None = None
        path = directory / LOCK
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}", hint="choose another directory with --state") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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

    def release(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _written_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 20, 0).strip()
    return int(text) if text.isdigit() else None
