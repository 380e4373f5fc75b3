"""What an exchanger decides on one connection, and the lines it leaves in the log."""

import re
from hashlib import sha256

from bulkmail.clock import Clock
from bulkmail.sandbox.body import ChunkedBody
from bulkmail.sandbox.counts import Counts
from bulkmail.sandbox.doorman import Doorman, Fate
from bulkmail.sandbox.ledger import Closed, Ledger, Opened, Refused, Result
from bulkmail.sandbox.profiles import Answer
from bulkmail.sandbox.zone import Listener, Zone

LINE_BYTES = 1000
"""The longest line of a message, with its CRLF (RFC 5321 §4.5.3.1.6)."""

_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\r\n[ \t]+)?([^\r\n]*)", re.IGNORECASE | re.MULTILINE)

_BARE = Answer("554 5.6.0 Bare CR or LF in the message, refused")
_NUL = Answer("554 5.6.0 NUL in the message, refused")
_LONG_LINE = Answer("554 5.6.0 A line of the message is longer than 998 characters, refused")
_EIGHT_BIT = Answer("554 5.6.3 8-bit content and 8BITMIME is not offered, refused")
_NOBODY = Answer("554 5.5.1 No valid recipients")


class Transaction:
    """One MAIL and what follows it; `chunks` once its message has begun with BDAT."""

    __slots__ = ("body", "chunks", "fates", "recipients", "sender", "utf8")

    def __init__(self, *, sender: str, utf8: bool, body: str) -> None:
        self.sender, self.utf8, self.body = sender, utf8, body
        self.recipients: list[str] = []
        self.fates: list[Fate] = []
        self.chunks: ChunkedBody | None = None


class Reception:
    """One connection's view of the house; made when it is accepted, closed with `leave`."""

    def __init__(
        self,
        listener: Listener,
        peer: str,
        *,
        connection: int,
        zone: Zone,
        doorman: Doorman,
        ledger: Ledger,
        counts: Counts,
        clock: Clock,
        tls_ready: bool,
    ) -> None:
        self.host = listener.host
        self.peer = peer
        self.connection = connection
        self.manners = doorman.manners
        self.extensions = frozenset(self.manners.extensions if self.manners.esmtp else ())
        self.marks_replies = "ENHANCEDSTATUSCODES" in self.extensions
        self.tls_ready = tls_ready
        self._ip = listener.ip
        self._zone, self._doorman, self._ledger, self._counts, self._clock = zone, doorman, ledger, counts, clock
        self._serial = 0
        self._since = clock.monotonic()
        self._inside = True
        self._bytes = 0
        self.refusal = doorman.enter(peer, self._since)
        at_once = doorman.connections(peer)
        if self.refusal is None:
            counts.connections += 1
            counts.most_at_once = max(counts.most_at_once, at_once)
            ledger.note(
                Opened(
                    time=ledger.stamp(), connection=connection, host=self.host, ip=self._ip, peer=peer, at_once=at_once
                )
            )
        else:
            counts.connections_refused += 1
            ledger.note(
                Refused(
                    time=ledger.stamp(),
                    connection=connection,
                    host=self.host,
                    ip=self._ip,
                    peer=peer,
                    at_once=at_once,
                    code=self.refusal.code,
                    text=self._text(self.refusal, ""),
                )
            )

    def leave(self, *, reason: str, commands: int, messages: int, unfinished: bool) -> None:
        """Count the connection out; more than once is harmless."""
        if not self._inside:
            return
        self._inside = False
        self._doorman.leave(self.peer)
        if self.refusal is None:
            self._ledger.note(
                Closed(
                    time=self._ledger.stamp(),
                    connection=self.connection,
                    host=self.host,
                    peer=self.peer,
                    reason=reason,
                    seconds=round(self._clock.monotonic() - self._since, 3),
                    commands=commands,
                    messages=messages,
                    bytes=self._bytes,
                    unfinished=unfinished,
                )
            )

    def fill(self, answer: Answer, *, address: str, identity: str) -> list[str]:
        """An answer's lines, with what this exchanger knows in the placeholders."""
        manners = self.manners
        seconds = manners.later_seconds if answer is manners.replies.later else manners.greylist_seconds
        return answer.fill(
            host=self.host,
            peer=self.peer,
            address=address,
            seconds=f"{seconds:g}",
            id=identity or f"{self.connection:x}.{self._serial}",
        )

    def throttle(self, stage: str) -> Answer | None:
        """The reply of the rate limit, where it is exceeded at the stage it counts."""
        return self._doorman.throttle(self.peer, stage, self._clock.monotonic())

    def recipient(self, address: str, domain: str) -> tuple[Fate, Answer | None]:
        """The fate of a recipient, and the answer if it is refused already at RCPT."""
        if domain and not self._zone.serves(self._ip, domain):
            return Fate.POLICY, self.manners.replies.relaying
        throttled = self.throttle("rcpt")
        if throttled is not None:
            return Fate.LATER, throttled
        return self._doorman.recipient(self.peer, address, self._clock.monotonic())

    def judge(self, transaction: Transaction, message: bytes) -> Answer | None:
        """The answer that refuses a whole message, or None."""
        if not transaction.recipients:
            return _NOBODY
        if not message.count(b"\n") == message.count(b"\r\n") == message.count(b"\r"):
            return _BARE
        if b"\0" in message:
            return _NUL
        if _has_long_line(message):
            return _LONG_LINE
        if "8BITMIME" not in self.extensions and not message.isascii():
            return _EIGHT_BIT
        throttled = self.throttle("message")
        if throttled is not None:
            return throttled
        return self.manners.replies.content if Fate.CONTENT in transaction.fates else None

    def accept(
        self, transaction: Transaction, message: bytes, greeted: str | None, tls: str | None, *, replied: bool
    ) -> str:
        """Keep a message and its log lines; the queue name for the reply. Raises OSError where there is no room."""
        self._serial += 1
        identity = f"{self.connection:x}.{self._serial}"
        recipients = transaction.recipients
        counts, ledger = self._counts, self._ledger
        if ledger.keep != "none":
            file = ledger.store(message, sender=transaction.sender, recipients=recipients, host=self.host)
            digest, message_id = sha256(message).hexdigest(), _message_id(message)
            text = self._text(self.manners.replies.accepted, recipients[0], identity)
            for recipient in recipients:
                result = Result(
                    time=ledger.stamp(),
                    connection=self.connection,
                    host=self.host,
                    domain=recipient.rpartition("@")[2],
                    peer=self.peer,
                    ehlo=greeted,
                    tls=tls,
                    mail_from=transaction.sender,
                    rcpt=recipient,
                    stage="message",
                    code=250,
                    text=text,
                    message_id=message_id,
                    bytes=len(message),
                    sha256=digest,
                    file=file,
                    replied=replied,
                )
                ledger.note(result, urgent=True)
        counts.messages += 1
        counts.accepted += len(recipients)
        counts.bytes += len(message)
        self._bytes += len(message)
        return identity

    def refuse(
        self,
        stage: str,
        answer: Answer,
        transaction: Transaction,
        recipient: str | None,
        greeted: str | None,
        tls: str | None,
    ) -> None:
        """Write down a refusal, of one recipient or of the transaction."""
        self._counts.refuse(stage, answer.code)
        result = Result(
            time=self._ledger.stamp(),
            connection=self.connection,
            host=self.host,
            domain=recipient.rpartition("@")[2] if recipient else None,
            peer=self.peer,
            ehlo=greeted,
            tls=tls,
            mail_from=transaction.sender,
            rcpt=recipient,
            stage=stage,
            code=answer.code,
            text=self._text(answer, recipient or ""),
        )
        self._ledger.note(result)

    def _text(self, answer: Answer, address: str, identity: str = "") -> str:
        text = " ".join(self.fill(answer, address=address, identity=identity))
        return f"{answer.enhanced} {text}" if answer.enhanced and self.marks_replies else text


def _has_long_line(message: bytes) -> bool:
    """True if two line ends are more than a line's limit apart; looks at one place per 1,000 bytes."""
    start, size = 0, len(message)
    while size - start > LINE_BYTES:
        end = message.rfind(b"\n", start, start + LINE_BYTES)
        if end < 0:
            return True
        start = end + 1
    return False


def _message_id(message: bytes) -> str | None:
    end = message.find(b"\r\n\r\n")
    match = _MESSAGE_ID.search(message, 0, end if end >= 0 else len(message))
    return match[1].strip().decode("utf-8", "backslashreplace") if match else None
