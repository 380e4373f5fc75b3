"""`bulkmail bounces fetch`: empty a mailbox elsewhere, deleting only what is durably taken in."""

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import FrameType

import msgspec
from msgspec import Struct

from bulkmail.cli.output import safe
from bulkmail.clock import SystemClock
from bulkmail.engine.incoming import Box, Incoming, Mail, Taken, read_mail
from bulkmail.errors import CampaignError
from bulkmail.feedback.mime import MESSAGE_LIMIT
from bulkmail.mailbox import Fetched, ImapMailbox, Mailbox, MailboxError, MailboxPlace, open_mailbox, parse_place
from bulkmail.store.locate import state_from_here

PASSWORD_VARIABLE = "BULKMAIL_MAILBOX_PASSWORD"
POLL_SECONDS = 60.0
# IDLE is ended and begun anew, as RFC 2177 asks, and sooner, to see that the connection still lives.
IDLE_SECONDS = 60.0
FIRST_IDLE_SECONDS = 1.0
RETRY_SECONDS = (1.0, 5.0, 15.0, 60.0)


class Wishes(Struct, frozen=True, kw_only=True):
    """What the command line says."""

    url: str
    state: Path | None
    password_env: str | None
    password_file: Path | None
    ca_file: Path | None
    move_to: str | None
    watch: bool
    json: bool


class Fetching:
    """One mailbox, emptied once or watched; `counts` is what became of its messages."""

    def __init__(self, place: MailboxPlace, password: str, incoming: Incoming, wishes: Wishes) -> None:
        self.counts: Counter[str] = Counter()
        self._place, self._password, self._incoming, self._wishes = place, password, incoming, wishes
        self._left: set[tuple[str, int]] = set()
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    def once(self) -> None:
        """Take in all there is now. Raises MailboxError; what was removed until then is taken in."""
        mailbox = self._open()
        try:
            self._empty(mailbox)
            mailbox.commit()
        finally:
            mailbox.close()

    def watch(self) -> None:
        """Again and again, until stopped; a server that is away is asked again."""
        failures = 0
        while not self._stopping:
            try:
                mailbox = self._open()
                try:
                    self._watch(mailbox)
                finally:
                    mailbox.close()
                failures = 0
            except MailboxError as error:
                if error.final:
                    raise
                delay = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                print(f"{safe(str(error))}; trying again in {delay:.0f} s", flush=True)
                failures += 1
                self._sleep(delay)

    def _watch(self, mailbox: Mailbox) -> None:
        patience = FIRST_IDLE_SECONDS
        while not self._stopping:
            before = self.counts["messages"]
            self._empty(mailbox)
            mailbox.commit()
            if not isinstance(mailbox, ImapMailbox) or not mailbox.idles:
                self._sleep(POLL_SECONDS)
                return
            # News may be told amid the answers to other commands, and be missed: soon after mail came, one looks again.
            patience = min(2 * patience, IDLE_SECONDS) if self.counts["messages"] == before else FIRST_IDLE_SECONDS
            mailbox.wait(patience, lambda: self._stopping)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(min(1.0, seconds))

    def _open(self) -> Mailbox:
        wishes = self._wishes
        ca_file = str(wishes.ca_file) if wishes.ca_file is not None else None
        return open_mailbox(self._place, self._password, ca_file=ca_file, move_to=wishes.move_to)

    def _empty(self, mailbox: Mailbox) -> None:
        for batch in mailbox.batches(MESSAGE_LIMIT):
            whole = [message for message in batch if message.data is not None]
            reads = [read_mail(self._mail(message)) for message in whole]
            with self._incoming.returns.together():
                taken = [self._incoming.take(read) for read in reads]
            # From here on it is durable, and may go.
            mailbox.remove([message.ident for message in whole])
            for message, each in zip(whole, taken, strict=True):
                self._tell(message, each)
            for message in batch:
                if message.data is None and (message.ident, message.size) not in self._left:
                    self._left.add((message.ident, message.size))
                    self.counts["left"] += 1
                    print(f"message {message.ident}: {message.size:,} bytes are too many; left where it is", flush=True)
            if self._stopping:
                return

    def _mail(self, message: Fetched) -> Mail:
        assert message.data is not None
        return Mail(message.data, "", Box.RETURNS, f"{self._place}, message {message.ident}")

    def _tell(self, message: Fetched, taken: Taken) -> None:
        self.counts["messages"] += 1
        self.counts[taken.kind] += 1
        self.counts[taken.effect if taken.effect != "none" else "without_effect"] += 1
        if taken.kept:
            self.counts["kept"] += 1
        if not self._wishes.json:
            about = f" {safe(taken.applied.recipient)}" if taken.applied is not None and taken.applied.recipient else ""
            kept = f"; kept as {safe(taken.kept)}" if taken.kept else ""
            print(f"message {message.ident}: {taken.kind}{about}: {safe(taken.why)}{kept}", flush=True)


def fetch(wishes: Wishes) -> None:
    """Raises CampaignError where the mailbox cannot be read; what was taken in until then stays."""
    try:
        place = parse_place(wishes.url)
    except ValueError as error:
        raise CampaignError(str(error), path="URL") from None
    password = _password(wishes)
    with Incoming(state_from_here(Path.cwd(), wishes.state), SystemClock) as incoming:
        fetching = Fetching(place, password, incoming, wishes)
        try:
            if wishes.watch:
                _stop_with_signals(fetching)
                fetching.watch()
            else:
                fetching.once()
        except MailboxError as error:
            raise CampaignError(str(error), path="URL", hint="what is taken in so far is recorded") from None
    counts = fetching.counts
    if wishes.json:
        print(msgspec.json.encode(dict(counts)).decode())
        return
    effects = [
        f"{counts[name]:,} {name}" for name in ("suppressed", "recorded", "repeated", "kept", "left") if counts[name]
    ]
    print(f"{counts['messages']:,} messages: {', '.join(effects) or 'none has an effect'}")


def _password(wishes: Wishes) -> str:
    if wishes.password_file is not None:
        try:
            return wishes.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CampaignError(f"cannot be read: {error}", file=str(wishes.password_file)) from None
    name = wishes.password_env or PASSWORD_VARIABLE
    with suppress(KeyError):
        return os.environ[name]
    raise CampaignError(
        f"the environment variable {name} is not set",
        path="--password-env",
        hint=f"export {name}=..., or give --password-file",
    )


def _stop_with_signals(fetching: Fetching) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        fetching.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
