"""What happens to one recipient: dispositions, stages, reasons, replies and events.

The integer values are written to disk: they are never renumbered, only added to.
"""

from enum import IntEnum

from msgspec import Struct


class Disposition(IntEnum):
    """What an attempt means for its recipient. `OPEN` is no disposition yet: not tried, or waiting for a lane."""

    OPEN = 0
    DELIVERED = 1
    DEFERRED = 2
    BOUNCED = 3
    EXPIRED = 4
    SUPPRESSED = 5
    IN_DOUBT = 6

    @property
    def label(self) -> str:
        return self.name.lower()

    @property
    def final(self) -> bool:
        """True where nothing more will be tried. A held `IN_DOUBT` is final too: the run ends with it listed."""
        return self not in (Disposition.OPEN, Disposition.DEFERRED)


class Stage(IntEnum):
    """The part of an attempt that a reply or a failure answers (`MESSAGE`: the reply to the end of the message)."""

    NONE = 0
    DNS = 1
    CONNECT = 2
    GREETING = 3
    EHLO = 4
    STARTTLS = 5
    AUTH = 6
    MAIL = 7
    RCPT = 8
    DATA = 9
    MESSAGE = 10
    RSET = 11
    QUIT = 12
    COMPOSE = 13

    @property
    def label(self) -> str:
        return self.name.lower()


class Reason(IntEnum):
    """Why a delivery was not accepted at once."""

    NONE = 0
    USER_UNKNOWN = 1
    MAILBOX_FULL = 2
    MAILBOX_INACTIVE = 3
    MOVED = 4
    RELAYING_DENIED = 5
    BLOCKED = 6
    RATE_LIMITED = 7
    GREYLISTED = 8
    POLICY = 9
    AUTHENTICATION = 10
    CONTENT = 11
    TOO_LARGE = 12
    DNS = 13
    DOMAIN_UNKNOWN = 14
    NULL_MX = 15
    TLS = 16
    LOOP = 17
    EXPIRED = 18
    NETWORK = 19
    TIMEOUT = 20
    PROTOCOL = 21
    SYSTEM = 22
    SUPPRESSED = 23
    CONNECTION_LOST = 24
    UNSUPPORTED = 25
    OTHER = 26
    BAD_ADDRESS = 27
    TOO_MANY_CONNECTIONS = 28
    COMPLAINT = 29
    AUTO_REPLY = 30

    @property
    def label(self) -> str:
        return self.name.lower()


class Reply(Struct, frozen=True, kw_only=True):
    """A server's reply, parsed (RFC 5321 §4.2): `text` without codes, its lines joined by a space."""

    code: int
    enhanced: str | None = None
    text: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


CAME_BACK = ("bounce", "complaint", "unsubscribe", "resubscribe")
TRACKED = ("click", "open")
# The reason of a `run` event that says by whom the event loop was blocked.
STALLED = "stalled"
EVENT_NAMES = ("attempt", "in_doubt", "rejected", "duplicate", "suppressed", "lane", "run", *CAME_BACK, *TRACKED)


class Event(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Something that happened, as the event log has it: the order of the fields is the order of the keys.

    `event` is one of `EVENT_NAMES`; those of `CAME_BACK` and `TRACKED` stand in a log of their own.
    """

    time: str
    event: str
    run: str
    recipient: str | None = None
    attempt: int | None = None
    disposition: str | None = None
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None
    stage: str | None = None
    reason: str | None = None
    site: str | None = None
    host: str | None = None
    source: str | None = None
    tls: str | None = None
    bytes: int | None = None
    milliseconds: float | None = None
    message_id: str | None = None


class Summary(Struct, frozen=True, kw_only=True):
    """How a run stands: every row read is counted in exactly one of `rejected` to `in_doubt`; `deferred`: not final."""

    campaign: str
    run: str
    state: str
    recipients: int = 0
    rejected: int = 0
    duplicates: int = 0
    suppressed: int = 0
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    expired: int = 0
    in_doubt: int = 0
    seconds: float = 0.0
    messages_per_second: float = 0.0
