"""What is known of those who answer, and what is written about it: one writer at a time, durable in groups.

Whoever takes in what came back, from a file, a mailbox or a listener, works through one of these, beside a run that is
sent. Others wait for the length of a group.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from bulkmail.address import AddressError, comparison_key, parse_address
from bulkmail.clock import Clock, rfc3339
from bulkmail.content.identity import WEEK_SECONDS, Identity, Opened, Position, Purpose, TokenKey
from bulkmail.errors import StateError
from bulkmail.events.log import EventLog, read_events
from bulkmail.model.delivery import Event
from bulkmail.store import chunks
from bulkmail.store.database import Database
from bulkmail.store.directory import DATABASE, EVENTS
from bulkmail.store.keys import accept_seconds, read_keys
from bulkmail.store.runs import Run, find_run
from bulkmail.store.settings import FeedbackSettings, feedback_settings, trusted_reporters
from bulkmail.store.suppressions import Suppressions
from bulkmail.store.view import RecipientOutcome, StoreView

_LOCK = "feedback.lock"
EventKey = tuple[str, str, str]


class Reader(Struct, frozen=True):
    """Somebody whom mail was made for: `list_name` is the list of it, None where the mail was of no list."""

    address: str
    list_name: str | None
    run: Run


class Returns:
    """A state directory as those see it who take in answers. For one thread."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.directory = directory
        self.clock = clock
        self._view = StoreView.open_readonly(directory)
        self._logs: dict[str, tuple[EventLog, set[EventKey]]] = {}
        self._touched: set[EventLog] = set()
        self._together = False
        self._seen_version = -1
        try:
            self.suppressions = Suppressions.open(directory, clock=clock)
            self._database = Database(directory / DATABASE, readonly=True)
            self._refresh()
            self._lock = _lock_file(directory / EVENTS / _LOCK)
        except BaseException:
            self._view.close()
            raise

    def __enter__(self) -> "Returns":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for log, _ in self._logs.values():
            log.close()
        self._database.close()
        self.suppressions.close()
        self._view.close()
        os.close(self._lock)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written within is durable at the end of the outermost of these, all of it or nothing is sure."""
        if self._together:
            yield
            return
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._together = True
        try:
            with self.suppressions.together():
                yield
                for log in self._touched:
                    log.sync()
        finally:
            self._touched.clear()
            self._together = False
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def opened(self, token: str, *purposes: Purpose) -> Opened | None:
        """What the token says, if it is ours, for one of `purposes`, and not too old."""
        self._refresh()
        found = self._identity.open(token, *purposes)
        if found is None:
            return None
        issued = found.issued
        if issued is None:
            # Its form is older than dates in tokens.
            run = self._run(found.position.run)
            issued = None if run is None else run.created
        if issued is not None and self.clock.time() > issued + WEEK_SECONDS + self._accept_seconds:
            return None
        return found

    def token_keys(self) -> tuple[TokenKey, ...]:
        """The keys of the state directory as they are now."""
        return read_keys(self._database)

    def reader(self, position: Position) -> Reader | None:
        """Whom the mail at a place was made for; None if nobody of that run is there."""
        row = self._database.row(
            "SELECT size, list FROM chunk WHERE number = ? AND run = ?", (position.chunk, position.run)
        )
        if row is None or position.index >= row[0]:
            return None
        address = chunks.read_addresses(self._database, position.chunk)[position.index]
        return Reader(address, row[1], find_run(self._database, position.run))

    def outcome(self, position: Position) -> RecipientOutcome | None:
        """How the recipient at a place stands now: a view stands still, so one without an attempt is opened again."""
        found = self._view.at(position.run, position.chunk, position.index)
        if found is None or not found.attempts:
            self._view.close()
            self._view = StoreView.open_readonly(self.directory)
            found = self._view.at(position.run, position.chunk, position.index)
        return found

    def run(self, number: int) -> Run:
        return find_run(self._database, number)

    def noted(self, run: str, key: EventKey) -> bool:
        """Whether the run's log of what came back has an event, with this recipient, and for this reason."""
        return key in self._log(run)[1]

    def note(self, event: Event) -> None:
        """Write an event into its run's log of what came back, beside that of the sending process."""
        with self.together():
            log, known = self._log(event.run)
            log.append([event])
            self._touched.add(log)
            known.add((event.event, event.recipient or "", event.reason or ""))

    def settings(self, campaign: str) -> FeedbackSettings:
        """What the campaign said of feedback when it was last sent."""
        return feedback_settings(self._database, campaign)

    def trusted_reporters(self) -> frozenset[str]:
        """Whom any campaign that was sent from here believes."""
        return trusted_reporters(self._database)

    def stamp(self) -> str:
        return rfc3339(self.clock.time())

    def _run(self, number: int) -> Run | None:
        try:
            return find_run(self._database, number)
        except StateError:
            return None

    def _refresh(self) -> None:
        """Keys may be made while a listener runs."""
        version = self._database.value("PRAGMA data_version")
        if version != self._seen_version:
            self._identity = Identity(read_keys(self._database))
            self._accept_seconds = accept_seconds(self._database)
            self._seen_version = version

    def _log(self, run: str) -> tuple[EventLog, set[EventKey]]:
        path = feedback_log(self.directory, run)
        log, known = self._logs.get(run, (None, set[EventKey]()))
        start = 0
        if log is not None:
            try:
                if path.stat().st_size == log.offset:
                    return log, known
                start = log.offset
            except FileNotFoundError:
                known = set()
            # Another process has written meanwhile.
            log.close()
        log = EventLog(path)
        known |= {(event.event, event.recipient or "", event.reason or "") for event in read_events(path, start)}
        self._logs[run] = log, known
        return log, known


def feedback_log(directory: Path, run: str) -> Path:
    """Where the bounces, complaints and unsubscribes of a run are written."""
    return directory / EVENTS / f"{run}.feedback.ndjson"


def key_of(address: str) -> str | None:
    """The comparison key of an address that we have mailed; None where it is none."""
    try:
        return comparison_key(parse_address(address))
    except AddressError:
        return None


def _lock_file(path: Path) -> int:
    try:
        path.parent.mkdir(exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}", hint="check the mode of the directory") from None
