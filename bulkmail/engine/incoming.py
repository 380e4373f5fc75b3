"""Takes in one message that came to us, whatever it is: an effect, none, or the quarantine with the reason."""

from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.engine.clicks import Clicks
from bulkmail.engine.feedback import Applied, Effect, FeedbackDesk
from bulkmail.engine.returns import Returns
from bulkmail.engine.unsubscribing import Unsubscribing, Wish
from bulkmail.feedback.mime import headers_of
from bulkmail.feedback.original import tokens_in
from bulkmail.feedback.report import FeedbackError, Kind, Report
from bulkmail.feedback.understand import understand
from bulkmail.store.quarantine import Quarantine


class Box(StrEnum):
    """What the address is for that a message came to."""

    RETURNS = "returns"  # bounces and complaints
    UNSUBSCRIBE = "unsubscribe"
    POSTMASTER = "postmaster"


class Mail(Struct, frozen=True):
    """A message as it was received; `way` says how, for people; `recipient` is the envelope's, "" where unknown."""

    data: bytes
    recipient: str
    box: Box
    way: str


class Read(Struct, frozen=True):
    """A message that was read, which needs no state: a report, or else the tokens of an unsubscribe, or a refusal."""

    mail: Mail
    report: Report | None = None
    tokens: tuple[str, ...] = ()
    refused: str = ""


class Taken(Struct, frozen=True, kw_only=True):
    """What became of a message, in words; `kept` is its file where it went into quarantine."""

    kind: str
    effect: str
    why: str
    applied: Applied | None = None
    kept: str = ""


class Incoming:
    """Everything that comes in to one state directory passes here. For one thread, `read` apart."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.returns = Returns(directory, clock)
        self.unsubscribing = Unsubscribing(self.returns)
        self.clicks = Clicks(self.returns)
        self._desk = FeedbackDesk(directory, clock, returns=self.returns)
        self._quarantine = Quarantine(directory)

    def __enter__(self) -> "Incoming":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._desk.close()

    def take(self, read: "Read") -> Taken:
        """Give what was read its effect; durable as `Returns.together` says. DiskFull where the quarantine is full."""
        mail = read.mail
        if read.refused:
            return self._keep(mail, "refused", read.refused)
        if mail.box is Box.UNSUBSCRIBE:
            return self._unsubscribe(mail, read.tokens)
        if mail.box is Box.POSTMASTER or read.report is None:
            return self._keep(mail, "postmaster", "for the postmaster")
        for token in read.tokens:
            # Where one mailbox is for all that comes back, a mail to unsubscribe is known by its subject.
            if self.unsubscribing.apply(Wish(token=token, way="mail")) is not None:
                return Taken(kind="unsubscribe", effect=Effect.SUPPRESSED.value, why="asked for by mail")
        applied = self._desk.apply(read.report, mail.data)
        if applied.effect is Effect.NONE and (applied.kind is Kind.NONE or _lost(applied)):
            return self._keep(mail, applied.kind.value, applied.why, applied)
        return Taken(kind=applied.kind.value, effect=applied.effect.value, why=applied.why, applied=applied)

    def _unsubscribe(self, mail: Mail, tokens: tuple[str, ...]) -> Taken:
        for token in tokens:
            reader = self.unsubscribing.apply(Wish(token=token, way="mail"))
            if reader is not None:
                return Taken(kind="unsubscribe", effect=Effect.SUPPRESSED.value, why=f"{reader.address} asked for it")
        return self._keep(mail, "unsubscribe", "no token in it is a link of ours")

    def _keep(self, mail: Mail, kind: str, why: str, applied: Applied | None = None) -> Taken:
        path = self._quarantine.keep(mail.data, why, way=mail.way)
        return Taken(kind=kind, effect=Effect.NONE.value, why=why, applied=applied, kept=str(path))


def read_mail(mail: Mail) -> Read:
    """What a message says. Time is linear in its size; nothing but it is touched, so that it may go to a thread."""
    if mail.box is Box.UNSUBSCRIBE:
        headers = headers_of(mail.data)
        return Read(mail, tokens=tokens_in(mail.recipient, headers.get("subject"), headers.get("to")))
    if mail.box is Box.POSTMASTER:
        return Read(mail)
    try:
        report = understand(mail.data, envelope_recipient=mail.recipient)
        wishes = tokens_in(headers_of(mail.data).get("subject")) if report.kind is Kind.NONE else ()
        return Read(mail, report=report, tokens=wishes)
    except FeedbackError as error:
        return Read(mail, refused=str(error))


def _lost(applied: Applied) -> bool:
    """A bounce or complaint that leads to nobody."""
    return applied.kind in (Kind.BOUNCE, Kind.COMPLAINT) and not applied.recipient
