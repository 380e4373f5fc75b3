"""The connections of one lane: opened as limits allow, fed, watched, closed."""

import asyncio
import ssl
from collections.abc import Callable, Sequence

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.engine.composer import Composer
from bulkmail.engine.courier import Courier
from bulkmail.engine.lane import LOW_WATER, Lane
from bulkmail.engine.recorder import Recorder
from bulkmail.engine.router import Router, Unroutable
from bulkmail.model.campaign import TlsMode
from bulkmail.model.delivery import Reason, Reply, Stage
from bulkmail.model.message import Message
from bulkmail.net.connection import Connection, HandshakeError, Left, Result, connect
from bulkmail.net.timeouts import Timeouts
from bulkmail.net.tls import client_context
from bulkmail.smtp.handshake import Credentials, Handshake
from bulkmail.smtp.replies import parse_text

# RFC 5321 §5.1 asks for at least two addresses; a bound keeps a long list from eating hours of timeouts.
MAX_ADDRESSES = 5
# How many waiting recipients justify one more connection.
RECIPIENTS_PER_CONNECTION = 4


class Transport(Struct, frozen=True, kw_only=True):
    """How connections of a run are made; `tls` "implicit" means TLS from the first byte (RFC 8314)."""

    port: int
    tls: TlsMode
    implicit_tls: bool = False
    verify: bool = False
    credentials: Credentials | None = None
    window: int = 1
    timeouts: Timeouts = Timeouts()


class Pool:
    """Owner of a lane's connections (see `bulkmail.net.connection.Owner`).

    `may_begin` is asked before each message: False stops the flow (stopping, disk full) and lets replies drain.
    `on_low` is called when the lane has few recipients left waiting.
    """

    def __init__(
        self,
        lane: Lane,
        *,
        transport: Transport,
        router: Router,
        composer: Composer,
        courier: Courier,
        recorder: Recorder,
        clock: Clock,
        may_begin: Callable[[], bool],
        on_low: Callable[[], None],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self.lane = lane
        self._transport = transport
        self._router = router
        self._composer = composer
        self._courier = courier
        self._recorder = recorder
        self._clock = clock
        self._may_begin = may_begin
        self._on_low = on_low
        self._on_crash = on_crash
        self._wake: asyncio.TimerHandle | None = None
        self._wake_at = 0.0
        self._openings: set[asyncio.Task[None]] = set()
        self._establishing: set[Connection] = set()
        self._without_tls: set[str] = set()
        self._kicked = False

    # What the engine asks.

    def kick(self) -> None:
        """Something changed (work, a ready message, a token, a closed connection): go on with what is possible now."""
        if not self._kicked:
            self._kicked = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def sweep(self, now: float) -> None:
        """End what is overdue or idle; called a few times a second."""
        for connection in [*self.lane.connections, *self._establishing]:
            connection.expire(now)

    def drain(self) -> None:
        """Let replies come in, then QUIT everywhere."""
        for connection in list(self.lane.connections):
            connection.drain()

    async def close(self) -> None:
        """End everything at once."""
        if self._wake is not None:
            self._wake.cancel()
        for task in list(self._openings):
            task.cancel()
        if self._openings:
            await asyncio.gather(*self._openings, return_exceptions=True)
        for connection in [*self.lane.connections, *self._establishing]:
            connection.abort()

    @property
    def in_flight(self) -> int:
        return sum(connection.in_flight for connection in self.lane.connections)

    # What the connections ask (Owner).

    def take(self, connection: Connection) -> Message | None:
        lane = self.lane
        if not self._may_begin():
            return None
        while True:
            message = lane.take(self._clock.monotonic())
            if message is None:
                break
            if not self._courier.suppressed(lane, message.chunk, message.index):
                break
        if lane.composable > 0:
            self._composer.request(lane)
        if lane.waiting == LOW_WATER:
            self._on_low()
        if message is None and lane.ring:
            self._schedule(lane.wait_seconds(self._clock.monotonic()))
        return message

    def begun(self, connection: Connection, messages: Sequence[Message]) -> None:
        self._recorder.intents(messages)

    def results(self, connection: Connection, results: Sequence[Result]) -> None:
        self._courier.results(self.lane, connection, results)

    def unfit(self, connection: Connection, message: Message, reason: Reason, explanation: str) -> None:
        self._courier.unfit(self.lane, connection, message, reason, explanation)

    def lost(self, connection: Connection, left: Sequence[Left], reason: Reason, explanation: str) -> None:
        self.lane.connections.discard(connection)
        self._courier.lost(self.lane, connection, left, reason, explanation)
        self.kick()

    # Beneath.

    def _go_on(self) -> None:
        self._kicked = False
        lane = self.lane
        if not self._may_begin():
            return
        now = self._clock.monotonic()
        self._composer.request(lane)
        if lane.ring:
            for connection in list(lane.connections):
                if not lane.ring:
                    break
                connection.pump()
        self._open_more(now)
        if lane.ring or lane.backlog:
            wait = lane.wait_seconds(now)
            if wait > 0:
                self._schedule(wait)

    def _open_more(self, now: float) -> None:
        lane = self.lane
        if not lane.waiting:
            return
        open_now = len(lane.connections) + lane.opening
        allowed = lane.pacer.connections_allowed(lane.limits.connections)
        wanted = min(allowed, 1 + (lane.waiting - 1) // RECIPIENTS_PER_CONNECTION)
        if any(connection.idle_since is not None for connection in lane.connections):
            return
        for _ in range(wanted - open_now):
            wait = lane.connect_wait_seconds(now)
            if wait > 0:
                self._schedule(wait)
                return
            if lane.connects is not None:
                lane.connects.take(now)
            lane.opening += 1
            task = asyncio.get_running_loop().create_task(self._open())
            self._openings.add(task)
            task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._openings.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_crash(error)

    def _schedule(self, seconds: float) -> None:
        """Go on in `seconds`, unless that will happen earlier already."""
        loop = asyncio.get_running_loop()
        when = loop.time() + max(seconds, 0.001)
        if self._wake is not None:
            if self._wake_at <= when:
                return
            self._wake.cancel()
        self._wake_at = when
        self._wake = loop.call_later(when - loop.time(), self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._go_on()

    async def _open(self) -> None:
        """Find a host that lets us in, in the order of RFC 5321 §5.1, and put the connection to work."""
        lane = self.lane
        connection: Connection | None = None
        failure: tuple[Stage, Reply | None, Reason, str, str | None] = (Stage.CONNECT, None, Reason.NETWORK, "", None)
        tried = 0
        try:
            now = self._clock.monotonic()
            hosts = self._router.hosts(lane.site)
            alive = [host for host in hosts if lane.dead_hosts.get(host, 0.0) <= now] or hosts
            for host in alive:
                addresses = await self._router.addresses(host)
                if isinstance(addresses, Unroutable):
                    failure = (Stage.DNS, None, addresses.reason, addresses.explanation, host)
                    continue
                for address in addresses:
                    if tried == MAX_ADDRESSES or connection is not None:
                        break
                    tried += 1
                    outcome = await self._try(host, address)
                    if isinstance(outcome, Connection):
                        connection = outcome
                        break
                    failure = outcome
                if connection is not None:
                    lane.dead_hosts.pop(host, None)
                    break
                lane.dead_hosts[host] = self._clock.monotonic() + 60
        finally:
            lane.opening -= 1
        if connection is None:
            self._unreachable(failure)
        elif connection.closed:
            self.kick()
        else:
            lane.connections.add(connection)
            lane.pacer.on_connected()
            connection.pump()

    def _unreachable(self, failure: tuple[Stage, Reply | None, Reason, str, str | None]) -> None:
        stage, reply, reason, explanation, host = failure
        lane = self.lane
        if lane.connections:
            # Others are open and work: the receiver allows this many for now.
            lane.pacer.on_connection_refused_busy(self._clock.monotonic(), len(lane.connections))
            return
        if self._clock.monotonic() < lane.pacer.paused_until:
            return
        self._courier.unreachable(lane, stage, reply, reason, explanation, host)

    async def _try(self, host: str, address: str) -> Connection | tuple[Stage, Reply | None, Reason, str, str | None]:
        transport = self._transport
        tls: TlsMode = transport.tls
        if tls == "opportunistic" and address in self._without_tls:
            tls = "none"
        context = self._context(tls)
        handshake = Handshake(
            ehlo_name=self.lane.source.ehlo or "localhost",
            tls="none" if transport.implicit_tls else tls,
            encrypted=transport.implicit_tls,
            credentials=transport.credentials,
        )

        def make() -> Connection:
            return Connection(
                self,
                handshake,
                clock=self._clock,
                timeouts=transport.timeouts,
                host=host,
                address=address,
                max_messages=self.lane.pacer.messages_per_connection(self.lane.limits.messages_per_connection),
                window=transport.window,
            )

        try:
            connection = await connect(
                make,
                address,
                transport.port,
                source_address=self.lane.source.address,
                timeout_seconds=transport.timeouts.connect,
                tls_context=context if transport.implicit_tls else None,
                server_hostname=host,
            )
        except TimeoutError:
            text = f"no connection to {host} [{address}]:{transport.port} in {transport.timeouts.connect:g} s"
            return Stage.CONNECT, None, Reason.TIMEOUT, text, host
        except OSError as error:
            return Stage.CONNECT, None, Reason.NETWORK, f"{host} [{address}]:{transport.port}: {error}", host
        self._establishing.add(connection)
        try:
            await connection.establish(context)
        except HandshakeError as error:
            found = error.failure
            if found.reason is Reason.TLS and tls == "opportunistic":
                # RFC 7435: a peer whose TLS is broken is sent to in clear, and remembered.
                self._without_tls.add(address)
                return await self._try(host, address)
            reply = parse_text(found.code, found.text) if found.code else None
            return found.stage, reply, found.reason, f"{host} [{address}]: {error}", host
        finally:
            self._establishing.discard(connection)
        return connection

    def _context(self, tls: TlsMode) -> ssl.SSLContext | None:
        if tls == "none" and not self._transport.implicit_tls:
            return None
        return client_context(verify=self._transport.verify or tls == "verified")
