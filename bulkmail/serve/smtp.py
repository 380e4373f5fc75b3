"""The SMTP listener: takes mail for our own few mailboxes alone, answers 250 once its effect is durable, never relays.

It writes no mail, so nothing that comes here can be bounced on (RFC 5321 §4.5.5). What aiosmtpd leaves open is closed
here: one syntax of recipients, no bare CR or LF (RFC 5321 §2.3.8), nothing behind STARTTLS (RFC 3207), no AUTH.
"""

import asyncio
import logging
import re
import ssl
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, syntax
from aiosmtpd.smtp import Session as SmtpSession
from msgspec import Struct, field

from bulkmail.clock import Clock
from bulkmail.engine.incoming import Box, Mail, Taken, read_mail
from bulkmail.errors import DiskFull, StateError
from bulkmail.native.buckets import TokenBucket
from bulkmail.serve.recipients import Mailboxes
from bulkmail.serve.worker import Busy, Worker

LINE_LIMIT = 64 << 10  # some systems return messages with lines longer than RFC 5321 §4.5.3.1.6 allows
RECIPIENT_LIMIT = 20
REFUSED_LIMIT = 10
PEERS_REMEMBERED = 10_000
COMMAND_LIMITS = {"MAIL": 10_000, "RCPT": 100_000, "DATA": 10_000, "RSET": 10_000, "NOOP": 50, "QUIT": 2, "*": 12}
HANDSHAKE_SECONDS = 30.0
TOO_BUSY = b"421 4.3.2 Too many connections, come again later\r\n"

_RECIPIENT = re.compile(
    r"TO:[ \t]*<([A-Za-z0-9._+=-]{1,64}(?:@[A-Za-z0-9.-]{1,255})?)>[ \t]*(.*)", re.IGNORECASE | re.DOTALL
)
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class BareLineEnd(Exception):
    """A command line that does not end in CRLF, or has a CR in it."""


class Desk(Struct):
    """What every session of the listener works with. `told` gets what became of each message."""

    mailboxes: Mailboxes
    worker: Worker
    parsers: ThreadPoolExecutor
    clock: Clock
    name: str
    messages_per_second: float
    told: Callable[[Taken], None]
    idle: asyncio.Event
    under_way: int = 0
    stopping: bool = False
    buckets: OrderedDict[str, TokenBucket] = field(default_factory=OrderedDict)

    def begin(self) -> None:
        """A message is being given its effect; a stop waits for the `end` of all."""
        self.under_way += 1
        self.idle.clear()

    def end(self) -> None:
        self.under_way -= 1
        if not self.under_way:
            self.idle.set()

    def allows(self, peer: str) -> bool:
        """Whether the peer may send another message now."""
        now = self.clock.monotonic()
        bucket = self.buckets.pop(peer, None)
        if bucket is None:
            bucket = TokenBucket(self.messages_per_second, 10 * self.messages_per_second, now)
        self.buckets[peer] = bucket
        while len(self.buckets) > PEERS_REMEMBERED:
            self.buckets.popitem(last=False)
        return bucket.take(now)


class Handler:
    """The hooks of aiosmtpd for one session."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._boxes: dict[str, Box] = {}
        self._refused = 0

    async def handle_EHLO(
        self, server: SMTP, session: SmtpSession, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        kept = [line for line in responses[:-1] if not line[4:].startswith("AUTH")]
        return [*kept, "250-PIPELINING", "250 ENHANCEDSTATUSCODES"]

    async def handle_MAIL(
        self, server: SMTP, session: SmtpSession, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._desk.stopping:
            return "421 4.3.2 Stopping, come again later"
        if not self._desk.allows(_peer(session)):
            return "450 4.7.1 Too much mail from your address, come again later"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    def recipient(self, envelope: Envelope, address: str) -> str:
        """The answer to RCPT."""
        box = self._desk.mailboxes.box(address)
        if box is None:
            self._refused += 1
            return f"550 5.7.1 <{address}>: not a mailbox of ours; no mail is passed on"
        if len(envelope.rcpt_tos) >= RECIPIENT_LIMIT:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        self._boxes[address] = box
        return "250 2.1.5 Ok"

    @property
    def worn_out(self) -> bool:
        return self._refused > REFUSED_LIMIT

    async def handle_DATA(self, server: SMTP, session: SmtpSession, envelope: Envelope) -> str:
        data = envelope.content
        assert isinstance(data, bytes)
        if _BARE.search(data):
            return "550 5.6.11 Bare CR or LF in the message (RFC 5321 section 2.3.8)"
        way = f"SMTP from {_peer(session)}, return path {envelope.mail_from}, at {int(self._desk.clock.time())}"
        mails = [Mail(data, address, self._boxes[address], way) for address in dict.fromkeys(envelope.rcpt_tos)]
        desk = self._desk
        desk.begin()
        try:
            loop = asyncio.get_running_loop()
            reads = await loop.run_in_executor(desk.parsers, lambda: [read_mail(mail) for mail in mails])
            taken = await desk.worker.do(lambda incoming: [incoming.take(read) for read in reads])
        except DiskFull:
            return "452 4.3.1 No room, come again later"
        except (Busy, StateError):
            return "451 4.3.2 Busy, come again later"
        finally:
            desk.end()
        for each in taken:
            desk.told(each)
        return "250 2.0.0 Taken"

    async def handle_exception(self, error: Exception) -> str:
        if isinstance(error, BareLineEnd):
            return "421 5.5.2 Lines end in CRLF (RFC 5321 section 2.3.8)"
        logging.getLogger("bulkmail.serve").error("%s: %s", type(error).__name__, error)
        return "451 4.3.0 Local error, come again later"


class Session(SMTP):
    """One client's dialogue. Its greeting was sent already."""

    line_length_limit = LINE_LIMIT

    def __init__(self, desk: Desk, *, size_limit: int, idle_seconds: float, tls: ssl.SSLContext | None) -> None:
        self._handler = Handler(desk)
        self._greeted = False
        super().__init__(
            self._handler,
            data_size_limit=size_limit,
            enable_SMTPUTF8=True,
            hostname=desk.name,
            ident="ESMTP",
            tls_context=tls,
            timeout=idle_seconds,
            command_call_limit=COMMAND_LIMITS,
            loop=asyncio.get_running_loop(),
        )
        for command in ("AUTH", "EXPN"):
            self._smtp_methods.pop(command, None)

    def _cb_client_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """aiosmtpd reads commands up to any LF; here they are read as strictly as it reads messages."""
        super()._cb_client_connected(reader, writer)
        read = reader.readuntil

        async def strict(separator: bytes = b"\n") -> bytes:
            line = await read(separator)
            if separator == b"\n" and (not line.endswith(b"\r\n") or b"\r" in line[:-2]):
                raise BareLineEnd
            return line

        reader.readuntil = strict  # type: ignore[method-assign, assignment]

    async def push(self, status: Any) -> None:
        if not self._greeted:
            # aiosmtpd's own greeting, which the caller has had.
            self._greeted = True
            return
        await super().push(status)
        if status.startswith("421") and self.transport is not None:
            self.transport.close()
            # What stands in the buffer already must not be carried out any more.
            raise asyncio.CancelledError

    async def smtp_VRFY(self, arg: str) -> None:
        await self.push("252 2.5.0 Send it, and see")

    @syntax("RCPT TO:<address>")
    async def smtp_RCPT(self, arg: str | None) -> None:
        assert self.envelope is not None
        if await self.check_helo_needed():
            return
        if not self.envelope.mail_from:
            await self.push("503 5.5.1 MAIL first")
            return
        match = _RECIPIENT.fullmatch(arg or "")
        if match is None:
            # Routes, quotes, percent signs, literals: forms of addresses that none of ours has.
            await self.push("550 5.7.1 Not a mailbox of ours; no mail is passed on")
        elif match[2]:
            await self.push("555 5.5.4 RCPT has no parameters here")
        else:
            await self.push(self._handler.recipient(self.envelope, match[1]))
        if self._handler.worn_out:
            await self.push("421 4.7.0 Too many mailboxes that are not ours")

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """RFC 3207: nothing may stand behind the command, and nothing said before counts after."""
        if arg:
            await self.push("501 5.5.4 STARTTLS has no argument")
            return
        if self.tls_context is None or self._tls_protocol is not None:
            await self.push("503 5.5.1 TLS is not available, or there already")
            return
        reader: Any = self._reader
        writer: Any = self._writer
        transport: Any = self.transport
        if reader._buffer:
            await self.push("421 5.5.1 Commands behind STARTTLS")
            return
        await self.push("220 2.0.0 Go ahead")
        try:
            secured: Any = await self.loop.start_tls(
                transport,
                transport.get_protocol(),
                self.tls_context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except (OSError, ssl.SSLError, TimeoutError):
            transport.close()
            return
        if reader._buffer:
            # In clear, between our answer and the handshake.
            secured.abort()
            return
        self.transport = reader._transport = writer._transport = secured
        self._tls_protocol = secured
        self._over_ssl = True
        assert self.session is not None
        self.session.ssl = {"sslcontext": self.tls_context}
        self.session.host_name = None
        self.session.extended_smtp = False
        self.envelope = self._create_envelope()


def _peer(session: SmtpSession) -> str:
    peer = session.peer
    return str(peer[0]) if isinstance(peer, tuple) else "local"
