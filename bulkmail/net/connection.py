"""Pump bytes between one socket and one SMTP session; everything that needs a decision goes to the owner.

    data_received -> parse replies -> pair them -> results to the owner -> next messages from the owner -> write

Rules: an intent is given to the owner (`begun`) before the last byte of its message is written. The deadline is per
command: a byte that completes no reply does not move it. While a message is being taken by the network, each block of
it has a deadline instead, and the one of the reply begins with the last byte. A connection ends once, through `lost`.
"""

import asyncio
import ssl
from typing import Any, cast

from bulkmail.clock import Clock
from bulkmail.errors import ProtocolError, RemoteError
from bulkmail.model.campaign import Dsn
from bulkmail.model.delivery import Reason, Stage
from bulkmail.native.conveyor import Conveyor
from bulkmail.native.reply import ReplyParser
from bulkmail.native.session import Transactions
from bulkmail.net.envelopes import Envelopes
from bulkmail.net.owner import Owner
from bulkmail.net.timeouts import Timeouts, WriteWatch
from bulkmail.net.tls import describe, keep_session, tls_problem
from bulkmail.net.wire import Wire
from bulkmail.policy.window import Window
from bulkmail.smtp.capabilities import Capabilities
from bulkmail.smtp.commands import command_line
from bulkmail.smtp.handshake import Handshake, HandshakeFailure


class HandshakeError(RemoteError):
    """The server refused, or broke off, before the first transaction; `failure` says how."""

    def __init__(self, failure: HandshakeFailure) -> None:
        self.failure = failure
        text = failure.text.decode("utf-8", "replace").replace("\n", " ")
        super().__init__(failure.explanation or f"{failure.code} {text}".strip())


class Connection(asyncio.Protocol):
    """One connection to one mail exchanger or relay, from the greeting to QUIT.

    `host` is the exchanger's name, `address` its IP; `window` is that of its site. `dsn` is asked for where it is
    offered, REQUIRETLS of every message with `requiretls`. After `establish` the owner's `take` feeds it; `pump` is
    called whenever the owner may have something new for it.
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
        window: Window | None = None,
        dsn: Dsn | None = None,
        requiretls: bool = False,
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
        self._window = window or Window()
        self._dsn = dsn
        self._requiretls = requiretls
        self._proven = 0
        self._waiting_since = clock.monotonic()
        self._write_watch = WriteWatch(timeouts)
        self._closed_by_peer = False
        self._parser = ReplyParser()
        self._conveyor: Conveyor | None = None
        self._wire = Wire()
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
        if self.tls is not None and self._wire.transport is not None:
            keep_session(self._wire.transport.get_extra_info("ssl_object"))
        self.capabilities = capabilities = handshake.capabilities
        self._envelopes = Envelopes(capabilities, self.host, dsn=self._dsn, requiretls=self._requiretls)
        self.transactions = Transactions(
            pipelining=capabilities.pipelining,
            chunking=capabilities.chunking and self._window.wants_chunks,
            size=capabilities.size,
            window=self._window.size,
            max_messages=min(self._max_messages, capabilities.mail_max or self._max_messages),
        )
        if not handshake.tells_secrets:
            self._conveyor = self._owner.conveyor(self, self._parser, plain=self._envelopes.plain)
        self.idle_since = self._clock.monotonic()

    def _end_of_handshake(self) -> HandshakeFailure:
        reason, explanation = self._end
        stage = self._handshake.stage
        if self._wire.upgraded and stage is Stage.EHLO and reason is Reason.CONNECTION_LOST:
            # Nothing was said under TLS: the peer, which has the last word in a handshake of TLS 1.3, refused it.
            return HandshakeFailure(
                Stage.STARTTLS, reason=Reason.TLS, explanation=f"after TLS handshake: {explanation}"
            )
        return HandshakeFailure(stage, reason=reason, explanation=explanation)

    async def _start_tls(self, context: ssl.SSLContext | None) -> None:
        handshake = self._handshake
        beneath = self._wire.transport
        assert beneath is not None
        if self._parser.pending or self._parser.failure is not None:
            # Came between the reply and now; it would be read on as if it had come under TLS (RFC 3207 §6).
            self.abort()
            explanation = "bytes behind the reply to STARTTLS"
            raise HandshakeError(HandshakeFailure(Stage.STARTTLS, reason=Reason.PROTOCOL, explanation=explanation))
        assert context is not None, "TLS was asked for without a context"
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(
                beneath,
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
        self._wire.upgrade(transport)
        self._secured(transport)
        handshake.tls_started()
        self._wire.write(handshake.outgoing())
        self._set_deadline(handshake.stage, self._clock.monotonic())

    # From the socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire.open(cast(asyncio.Transport, transport))
        if self.tls is None:
            self._secured(transport)

    def _secured(self, transport: asyncio.BaseTransport) -> None:
        """Note what TLS there is, if any."""
        ssl_object = transport.get_extra_info("ssl_object")
        self.tls = describe(ssl_object)
        if ssl_object is not None and self._handshake.binds:
            # Loads a library for certificates, which only a login of this kind needs.
            from bulkmail.net.binding import end_point_binding

            self._handshake.binding = end_point_binding(ssl_object)

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        try:
            conveyor = self._conveyor
            if conveyor is None:
                if replies := self._parser.feed(data):
                    self._answer(replies)
                return
            now = self._clock.monotonic()
            answer = conveyor.receive(data, now) if self._draining else conveyor.turn(data, now)
            if answer is None:
                return
            if isinstance(answer, bytes):
                assert self.transactions is not None
                self._wire.write(answer)
                self._set_deadline(self.transactions.stage, now)
                return
            if answer:
                self._owner.results(self, answer)
            if conveyor.well or self._is_well():
                self.pump(answered=True)
        except ProtocolError as error:
            self._finish(Reason.PROTOCOL, self._handshake.discreet(str(error)))

    def _answer(self, replies: list[tuple[int, bytes]]) -> None:
        """Take replies the general way, or those of the handshake."""
        handshake = self._handshake
        if self.transactions is not None:
            if handshake.tells_secrets:
                replies = [(code, handshake.blotted(text)) for code, text in replies]
            results = self.transactions.answer(replies)
            if results:
                self._owner.results(self, results)
            if self._is_well():
                self.pump(answered=True)
            return
        handshake.answer(replies, pending_bytes=self._parser.pending)
        if self._parser.failure is not None:
            raise ProtocolError(self._parser.failure)
        self._wire.write(handshake.outgoing())
        self._set_deadline(handshake.stage, self._clock.monotonic())
        if handshake.done:
            self._settle()

    def _is_well(self) -> bool:
        """After replies: learn what they say of the window, and end the connection where they make no sense."""
        transactions = self.transactions
        assert transactions is not None
        if transactions.chunking or transactions.anomaly is not None:
            self._learn(transactions)
        error = transactions.error
        if error is None and self._parser.failure is not None:
            error = self._handshake.discreet(self._parser.failure)
        foreseen = transactions.asked or transactions.closing
        if error is None and self._parser.pending and not foreseen:
            error = "the beginning of a reply that nothing asked for"
        if error is not None:
            self._finish(Reason.PROTOCOL, error)
        return error is None

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._closed_by_peer = not self.closed
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
        if transactions.chunking:
            self._follow_window(transactions)
        conveyor = self._conveyor
        if conveyor is not None and not self._draining:
            conveyor.fill(now)
        while transactions.wants and not self._draining:
            message = self._owner.take(self)
            if message is None:
                break
            if (problem := self._envelopes.begin(transactions, message, now)) is not None:
                self._owner.unfit(self, message, *problem)
        if transactions.stage == 0:
            if transactions.closing:
                self._finish(Reason.NONE, "")
                return
            if self._draining or transactions.submitted >= transactions.max_messages:
                transactions.quit()
        data = transactions.outgoing()
        if data:
            if conveyor is None or not conveyor.intend():
                begun = transactions.take_begun()
                if begun and self._owner.begun(self, begun):
                    self._wire.hold()
            self._wire.write(data)
        if transactions.stage:
            self.idle_since = None
            if answered or (silent and data):
                self._set_deadline(transactions.stage, now)
        elif self.idle_since is None:
            self.idle_since = now

    def release(self) -> None:
        """What one `begun` of the owner held back may be written now."""
        if not self.closed:
            self._wire.release()

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
            return
        stage = self._awaited_stage()
        if self.transactions is not None and (explanation := self._slow_writing(self.transactions, stage, now)):
            self._finish(Reason.TIMEOUT, explanation)
        elif now >= self.deadline:
            quiet = stage is Stage.QUIT
            explanation = f"no reply to {stage.label} in {self._timeouts.of(stage):g} s"
            self._finish(Reason.NONE if quiet else Reason.TIMEOUT, "" if quiet else explanation)

    def seconds_to_look(self, now: float) -> float:
        """For how long `expire` would do nothing, and nothing that begins meanwhile could be overdue."""
        due = self.deadline if self.idle_since is None else self.idle_since + self._timeouts.idle
        return min(due - now, self._timeouts.shortest)

    def give_way(self, seconds: float) -> None:
        """Others need what it occupies: end it as if the reply, waited for so long, were overdue."""
        explanation = f"too slow while others waited: no reply to {self._awaited_stage().label} in {seconds:.1f} s"
        self._finish(Reason.TIMEOUT, explanation)

    def stalled_seconds(self, now: float) -> float:
        """How long a reply has been waited for; 0 where none is."""
        transactions = self.transactions
        return 0.0 if transactions is not None and not transactions.stage else now - self._waiting_since

    @property
    def in_doubt(self) -> bool:
        """Whether ending the connection now would leave a message of which nobody knows if it was taken."""
        return self.transactions is not None and self.transactions.may_be_taken

    def abort(self) -> None:
        """Close the socket at once; nothing is reported for messages in flight beyond `lost`."""
        self._finish(*self._end)

    @property
    def said_quit(self) -> bool:
        return self.transactions is not None and self.transactions.quitting

    @property
    def dismissed(self) -> bool:
        """The server's last word was 421."""
        return self.transactions is not None and self.transactions.dismissed

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
        self._wire.write(command_line("QUIT"))
        self._finish(Reason.NONE, "")

    def _follow_window(self, transactions: Transactions) -> None:
        """What other connections have learned of the site holds here, too."""
        if self._window.anomaly:
            transactions.give_up_chunking()
        elif transactions.window != self._window.size:
            transactions.set_window(self._window.size)

    def _learn(self, transactions: Transactions) -> None:
        """Let the site's window grow by what was answered right, or fall for good."""
        if transactions.anomaly is not None:
            self._window.distrust(f"{self.host}: {transactions.anomaly}")
            if messages := transactions.take_misunderstood():
                self._owner.again(self, messages)
        elif transactions.proven != self._proven:
            self._window.grow(transactions.proven - self._proven)
            self._proven = transactions.proven

    def _slow_writing(self, transactions: Transactions, stage: Stage, now: float) -> str:
        """Why the message that is being written has taken too long, if it has (RFC 5321 §4.5.3.2.5)."""
        unwritten = self._wire.unwritten_bytes
        explanation = self._write_watch.complaint(transactions.written_bytes - unwritten, unwritten, now)
        if explanation:
            return explanation
        if unwritten and stage is Stage.MESSAGE:
            self.deadline = max(self.deadline, now + self._timeouts.message)
        oldest, most = transactions.oldest, self._timeouts.transaction
        # Once it is written, only its reply is waited for, and that has a time of its own.
        if oldest is not None and (unwritten or stage is not Stage.MESSAGE) and now - oldest.started >= most:
            return f"the transaction was not over in {most:g} s"
        return ""

    def _awaited_stage(self) -> Stage:
        if self.transactions is None:
            return self._handshake.stage
        return Stage(self.transactions.stage)

    def _set_deadline(self, stage: int, now: float) -> None:
        self._waiting_since = now
        self.deadline = now + self._timeouts.of(stage)

    def _settle(self) -> None:
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def _finish(self, reason: Reason, explanation: str) -> None:
        if self.closed:
            return
        self.closed = True
        self._end = (reason, explanation)
        transactions = self.transactions
        unwritten = self._wire.unwritten_bytes
        if self.tls is not None:
            # What it adds to the bytes of messages is less than half, however short they are.
            unwritten //= 2
        unwritten += self._wire.held_bytes
        self._wire.close(gently=reason is Reason.NONE)
        self._settle()
        if transactions is None:
            return
        windowed = transactions.windowed
        left: list[Any] = transactions.abandon(
            closed=self._closed_by_peer, unwritten_bytes=0 if reason is Reason.NONE else unwritten
        )
        if windowed and (reason in (Reason.PROTOCOL, Reason.TIMEOUT) or any(ended for _, _, ended in left)):
            self._window.distrust(f"{self.host}: {explanation} with {len(left)} messages in flight")
        self._owner.lost(self, left, reason, explanation)
