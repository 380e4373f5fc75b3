"""How long each command may take: the whole reply, not one read of it (RFC 5321 §4.5.3.2)."""

from msgspec import Struct

from bulkmail.model.delivery import Stage


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds per stage; the defaults are the minimums of RFC 5321 §4.5.3.2.

    Only `connect`, `tls`, `quit`, `idle` and `transaction` are ours. `block` is for each 64 KiB of a message to be
    taken by the network, which makes 364 bytes a second the least; `transaction` for all of one up to its last byte. A
    short `message` timeout is the classic cause of duplicates: it runs from the last byte on.
    """

    connect: float = 30.0
    greeting: float = 300.0
    ehlo: float = 300.0
    tls: float = 60.0
    auth: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    block: float = 180.0
    message: float = 600.0
    transaction: float = 3600.0
    rset: float = 30.0
    quit: float = 5.0
    idle: float = 5.0

    @property
    def shortest(self) -> float:
        """What waits for one of these may be looked at so seldom; twice in the time of a block, to measure it."""
        return min(self.block / 2, self.transaction, self.idle, *(float(getattr(self, name)) for name in _AWAITED))

    def of(self, stage: int) -> float:
        return float(getattr(self, _FIELDS.get(stage, "ehlo")))


# What has to be taken by the network in `Timeouts.block` seconds.
BLOCK_BYTES = 64 * 1024


class WriteWatch:
    """Whether what was handed to the network is taken in time: a receiver may stop reading, or read by the byte."""

    __slots__ = ("_block_seconds", "_since", "_taken")

    def __init__(self, timeouts: Timeouts) -> None:
        self._block_seconds = timeouts.block
        self._taken = 0
        self._since: float | None = None

    def complaint(self, taken_bytes: int, waiting_bytes: int, now: float) -> str:
        """A sentence where less than a block was taken in its time; `taken_bytes` of the whole connection so far."""
        if not waiting_bytes:
            self._since = None
        elif self._since is None or taken_bytes >= self._taken + BLOCK_BYTES:
            self._taken, self._since = taken_bytes, now
        elif now - self._since >= self._block_seconds:
            return f"{waiting_bytes} bytes not taken: less than {BLOCK_BYTES} in {self._block_seconds:g} s"
        return ""


_FIELDS: dict[int, str] = {
    Stage.CONNECT: "connect",
    Stage.GREETING: "greeting",
    Stage.EHLO: "ehlo",
    Stage.STARTTLS: "tls",
    Stage.AUTH: "auth",
    Stage.MAIL: "mail",
    Stage.RCPT: "rcpt",
    Stage.DATA: "data",
    Stage.MESSAGE: "message",
    Stage.RSET: "rset",
    Stage.QUIT: "quit",
}
_AWAITED = tuple(name for stage, name in _FIELDS.items() if stage != Stage.CONNECT)
