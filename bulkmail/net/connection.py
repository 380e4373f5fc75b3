"""Pump bytes between one socket and one SMTP session; everything that needs a decision goes to the owner.

    data_received -> parse replies -> pair them -> results to the owner -> next messages from the owner -> write

Rules: an intent is given to the owner (`begun`) before the last byte of its message is written. The deadline is per
command: a byte that completes no reply does not move it. A connection ends once, through `lost`.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, Protocol, cast

from bulkmail.clock import Clock
from bulkmail.errors import ProtocolError, RemoteError
from bulkmail.model.delivery import Reason, Stage
from bulkmail.model.message import Message
from bulkmail.native.reply import ReplyParser
from bulkmail.native.session import Transactions
from bulkmail.native.stuffing import stuff
from bulkmail.net.timeouts import Timeouts
from bulkmail.net.tls import describe, keep_session, tls_problem
from bulkmail.smtp.capabilities import Capabilities
from bulkmail.smtp.commands import command_line
from bulkmail.smtp.handshake import Handshake, HandshakeFailure

Result = tuple[Message, int, int, bytes]
Left = tuple[Message, int, bool]


class Owner(Protocol):
    """Who decides for a connection. All methods are called on the event loop and must not block."""

    def take(self, connection: "Connection") -> Message | None:
        """The next message for the wire, its tokens debited; None where there is none now."""

    def begun(self, connection: "Connection", messages: Sequence[Message]) -> None:
        """The last byte of these is about to be written: record the intent now."""

    def results(self, connection: "Connection", results: Sequence[Result]) -> None:
        """Replies that decided something, in order."""

    def unfit(self, connection: "Connection", message: Message, reason: Reason, explanation: str) -> None:
        """This server cannot take this message; nothing of it was written."""

    def lost(self, connection: "Connection", left: Sequence[Left], reason: Reason, explanation: str) -> None:
        """The connection has ended; `left` are the messages without a result (message, stage, may be delivered)."""


class HandshakeError(RemoteError):
    """The server refused, or broke off, before the first transaction; `failure` says how."""

    def __init__(self, failure: HandshakeFailure) -> None:
        self.failure = failure
        text = failure.text.decode("utf-8", "replace").replace("\n", " ")
        super().__init__(failure.explanation or f"{failure.code} {text}".strip())


class Connection(asyncio.Protocol):
    """One connection to one mail exchanger or relay, from the greeting to QUIT.

    `host` is the exchanger's name, `address` its IP. After `establish` the owner's `take` feeds it; `pump` is called
    whenever the owner may have something new for it.
    """

    def __init__(
        self,
        owner: Owner,
        handshake: Handshake,
        *,
        clock: Clock,
        timeouts: Timeouts,
        host: str,
        address: str,
        max_messages: int,
        window: int = 1,
    ) -> None:
        self.host = host
        self.address = address
        self.tls: str | None = None
        self.closed = False
        self.capabilities = Capabilities()
        self.transactions: Transactions | None = None
        self.deadline = clock.monotonic() + timeouts.of(Stage.GREETING)
        self.idle_since: float | None = None
        self._owner = owner
        self._handshake = handshake
        self._clock = clock
        self._timeouts = timeouts
        self._max_messages = max_messages
        self._window = window
        self._parser = ReplyParser()
        self._transport: asyncio.Transport | None = None
        self._settled: asyncio.Future[None] | None = None
        self._end: tuple[Reason, str] = (Reason.CONNECTION_LOST, "the server closed the connection")
        self._draining = False

    # Setting up.

    async def establish(self, tls_context: ssl.SSLContext | None) -> None:
        """Wait until transactions may begin. Raises HandshakeError; the socket is closed then."""
        handshake = self._handshake
        while not handshake.ready:
            if not handshake.done and not self.closed:
                self._settled = asyncio.get_running_loop().create_future()
                await self._settled
            if handshake.failure is None and self.closed:
                raise HandshakeError(self._end_of_handshake())
            if handshake.failure is not None:
                self._take_leave(handshake.failure)
                raise HandshakeError(handshake.failure)
            if handshake.wants_tls:
                await self._start_tls(tls_context)
        if self.closed:
            # It let us in and closed in the same breath: no connection, though the handshake is complete.
            raise HandshakeError(self._end_of_handshake())
        if self.tls is not None and self._transport is not None:
            keep_session(self._transport.get_extra_info("ssl_object"))
        self.capabilities = handshake.capabilities
        self.transactions = Transactions(
            pipelining=self.capabilities.pipelining,
            chunking=self.capabilities.chunking,
            size=self.capabilities.size,
            window=self._window,
            max_messages=self._max_messages,
        )
        self.idle_since = self._clock.monotonic()

    def _end_of_handshake(self) -> HandshakeFailure:
        reason, explanation = self._end
        return HandshakeFailure(self._handshake.stage, reason=reason, explanation=explanation)

    async def _start_tls(self, context: ssl.SSLContext | None) -> None:
        handshake = self._handshake
        assert self._transport is not None
        if self._parser.pending or self._parser.failure is not None:
            # Came between the reply and now; it would be read on as if it had come under TLS (RFC 3207 §6).
            self.abort()
            explanation = "bytes behind the reply to STARTTLS"
            raise HandshakeError(HandshakeFailure(Stage.STARTTLS, reason=Reason.PROTOCOL, explanation=explanation))
        assert context is not None, "TLS was asked for without a context"
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(
                self._transport,
                self,
                context,
                server_hostname=self.host,
                ssl_handshake_timeout=self._timeouts.tls,
            )
        except (OSError, EOFError) as error:
            self.abort()
            explanation = f"TLS handshake failed: {tls_problem(error)}"
            failure = HandshakeFailure(Stage.STARTTLS, reason=Reason.TLS, explanation=explanation)
            raise HandshakeError(failure) from error
        if transport is None:
            failure = HandshakeFailure(Stage.STARTTLS, reason=Reason.TLS, explanation="closed during TLS handshake")
            raise HandshakeError(failure)
        self._transport = transport
        self.tls = describe(transport.get_extra_info("ssl_object"))
        handshake.tls_started()
        self._write(handshake.outgoing())
        self._set_deadline(handshake.stage)

    # From the socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.tls is None:
            self.tls = describe(transport.get_extra_info("ssl_object"))

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        try:
            replies = self._parser.feed(data)
            if not replies:
                return
            if self.transactions is not None:
                results = self.transactions.answer(replies)
                if results:
                    self._owner.results(self, results)
                error = self.transactions.error or self._parser.failure
                foreseen = self.transactions.asked or self.transactions.closing
                if error is None and self._parser.pending and not foreseen:
                    error = "the beginning of a reply that nothing asked for"
                if error is not None:
                    self._finish(Reason.PROTOCOL, error)
                    return
                self.pump(answered=True)
            else:
                self._handshake.answer(replies, pending_bytes=self._parser.pending)
                if self._parser.failure is not None:
                    raise ProtocolError(self._parser.failure)
                self._write(self._handshake.outgoing())
                self._set_deadline(self._handshake.stage)
                if self._handshake.done:
                    self._settle()
        except ProtocolError as error:
            self._finish(Reason.PROTOCOL, str(error))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and self._end[0] is Reason.CONNECTION_LOST:
            self._end = (Reason.CONNECTION_LOST, f"the connection broke: {error}")
        self._finish(*self._end)

    # From the owner.

    def pump(self, *, answered: bool = False) -> None:
        """Write what may be written now: envelopes of new messages, bodies that were asked for, or QUIT."""
        transactions = self.transactions
        if self.closed or transactions is None:
            return
        now = self._clock.monotonic()
        silent = transactions.stage == 0
        while transactions.wants and not self._draining:
            message = self._owner.take(self)
            if message is None:
                break
            self._submit(message, now)
        if transactions.stage == 0:
            if transactions.closing:
                self._finish(Reason.NONE, "")
                return
            if self._draining or transactions.submitted >= transactions.max_messages:
                transactions.quit()
        data = transactions.outgoing()
        if data:
            begun = transactions.take_begun()
            if begun:
                self._owner.begun(self, begun)
            self._write(data)
        if transactions.stage:
            self.idle_since = None
            if answered or (silent and data):
                self._set_deadline(transactions.stage)
        elif self.idle_since is None:
            self.idle_since = now

    def drain(self) -> None:
        """Take nothing new; QUIT once what is in flight has its reply."""
        self._draining = True
        self.pump()

    def expire(self, now: float) -> None:
        """End the connection where a reply is overdue; say QUIT where it has been idle for long."""
        if self.closed:
            return
        if self.idle_since is not None:
            if now - self.idle_since >= self._timeouts.idle:
                self.drain()
        elif now >= self.deadline:
            stage = self._awaited_stage()
            quiet = stage is Stage.QUIT
            explanation = f"no reply to {stage.label} in {self._timeouts.of(stage):g} s"
            self._finish(Reason.NONE if quiet else Reason.TIMEOUT, "" if quiet else explanation)

    def abort(self) -> None:
        """Close the socket at once; nothing is reported for messages in flight beyond `lost`."""
        self._finish(*self._end)

    @property
    def said_quit(self) -> bool:
        return self.transactions is not None and self.transactions.quitting

    @property
    def in_flight(self) -> int:
        return self.transactions.in_flight if self.transactions is not None else 0

    @property
    def completed(self) -> int:
        return self.transactions.completed if self.transactions is not None else 0

    # Beneath.

    def _take_leave(self, failure: HandshakeFailure) -> None:
        """Close; after a refusal with QUIT (RFC 5321 §4.1.1.10), whose reply would change nothing."""
        if self.closed or failure.code == 421 or 300 <= failure.code < 400:
            self.abort()
            return
        self._write(command_line("QUIT"))
        self._finish(Reason.NONE, "")

    def _submit(self, message: Message, now: float) -> None:
        assert self.transactions is not None
        capabilities = self.capabilities
        limit = capabilities.size_bytes
        if limit is not None and len(message.data) > limit:
            text = f"the message has {len(message.data)} bytes, {self.host} takes {limit}"
            self._owner.unfit(self, message, Reason.TOO_LARGE, text)
            return
        if message.utf8 and not capabilities.smtputf8:
            text = f"the address needs SMTPUTF8 (RFC 6531), which {self.host} does not offer"
            self._owner.unfit(self, message, Reason.UNSUPPORTED, text)
            return
        message.started = now
        data = message.data if self.transactions.window > 1 else stuff(message.data)
        try:
            self.transactions.submit(message, message.sender, message.recipient, data, utf8=message.utf8)
        except ValueError as error:
            self._owner.unfit(self, message, Reason.BAD_ADDRESS, str(error))

    def _awaited_stage(self) -> Stage:
        if self.transactions is None:
            return self._handshake.stage
        return Stage(self.transactions.stage)

    def _set_deadline(self, stage: int) -> None:
        self.deadline = self._clock.monotonic() + self._timeouts.of(stage)

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _settle(self) -> None:
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def _finish(self, reason: Reason, explanation: str) -> None:
        if self.closed:
            return
        self.closed = True
        self._end = (reason, explanation)
        if self._transport is not None:
            if reason is Reason.NONE:
                self._transport.close()
            else:
                self._transport.abort()
        self._settle()
        left: list[Any] = self.transactions.abandon() if self.transactions is not None else []
        if self.transactions is not None:
            self._owner.lost(self, left, reason, explanation)


async def connect(
    factory: Any,
    address: str,
    port: int,
    *,
    source_address: str | None,
    timeout_seconds: float,
    tls_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
) -> Connection:
    """Open a TCP (with `tls_context`: TLS) connection; `factory` makes the Connection. Raises OSError, TimeoutError."""
    loop = asyncio.get_running_loop()
    local = (source_address, 0) if source_address else None
    async with asyncio.timeout(timeout_seconds):
        _, protocol = await loop.create_connection(
            factory,
            address,
            port,
            local_addr=local,
            ssl=tls_context,
            server_hostname=server_hostname if tls_context is not None else None,
        )
    return cast(Connection, protocol)
