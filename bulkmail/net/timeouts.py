"""How long each command may take: the whole reply, not one read of it (RFC 5321 §4.5.3.2)."""

from msgspec import Struct

from bulkmail.model.delivery import Stage


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds per stage; the defaults are the minimums of RFC 5321 §4.5.3.2.

    Only `connect`, `tls`, `quit` and `idle` are ours. A short `message` timeout is the classic cause of duplicates.
    """

    connect: float = 30.0
    greeting: float = 300.0
    ehlo: float = 300.0
    tls: float = 60.0
    auth: float = 300.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    message: float = 600.0
    rset: float = 30.0
    quit: float = 5.0
    idle: float = 5.0

    def of(self, stage: int) -> float:
        return float(getattr(self, _FIELDS.get(stage, "ehlo")))


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
