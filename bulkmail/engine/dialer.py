"""Find a mail exchanger that lets us in, in the order of RFC 5321 §5.1: hosts by preference, a few addresses each."""

import asyncio
import ssl

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.engine.exchange import Exchange
from bulkmail.engine.router import Router, Unroutable
from bulkmail.model.campaign import Dsn, TlsMode
from bulkmail.model.delivery import Reason, Reply, Stage
from bulkmail.net.connection import Connection, HandshakeError, connect
from bulkmail.net.owner import Owner
from bulkmail.net.timeouts import Timeouts
from bulkmail.net.tls import client_context
from bulkmail.smtp.handshake import Handshake, HandshakeFailure
from bulkmail.smtp.replies import parse_text
from bulkmail.smtp.sasl import Credentials

# RFC 5321 §5.1 asks for at least two addresses; a bound keeps a long list from eating hours of timeouts.
MAX_ADDRESSES = 5
DEAD_SECONDS = 60.0
# How long a host whose TLS broke is sent to in clear before TLS is tried again.
NO_TLS_SECONDS = 3600.0
# How long a host that closes over EHLO is greeted with HELO; and where that may be, for HELO offers no TLS.
NO_EHLO_SECONDS = 3600.0
HELO_ALLOWED = ("none", "opportunistic")


class Transport(Struct, frozen=True, kw_only=True):
    """How the connections of a run are made; with `implicit_tls` TLS begins with the first byte (RFC 8314)."""

    port: int
    tls: TlsMode
    implicit_tls: bool = False
    verify: bool = False
    credentials: Credentials | None = None
    dsn: Dsn | None = None
    requiretls: bool = False
    timeouts: Timeouts = Timeouts()


class Refusal(Struct, frozen=True, kw_only=True):
    """Why the last host that was tried did not let us in."""

    stage: Stage
    host: str
    reason: Reason = Reason.NONE
    reply: Reply | None = None
    explanation: str = ""


class Dialer:
    """Opens connections for pools; remembers for a while which hosts are dead and whose TLS is broken."""

    def __init__(self, transport: Transport, router: Router, *, clock: Clock) -> None:
        self._transport = transport
        self._router = router
        self._clock = clock
        self._dead_hosts: dict[str, float] = {}
        self._without_tls: dict[str, float] = {}
        self._without_ehlo: dict[str, float] = {}

    async def dial(self, owner: Owner, exchange: Exchange, establishing: set[Connection]) -> Connection | Refusal:
        """A connection ready for transactions. `establishing` holds it before, so that overdue ones can be ended."""
        hosts = self._router.hosts(exchange.hosts)
        now = self._clock.monotonic()
        alive = [host for host in hosts if self._dead_hosts.get(host, 0.0) <= now]
        refusal = Refusal(stage=Stage.CONNECT, host=hosts[0], reason=Reason.UNSUPPORTED)
        tried = 0
        for host in alive or hosts:
            addresses = await self._router.addresses(host)
            if isinstance(addresses, Unroutable):
                unknown = Refusal(
                    stage=Stage.DNS, host=host, reason=addresses.reason, explanation=addresses.explanation
                )
                refusal = _more_hopeful(refusal, unknown)
                continue
            for address in addresses:
                if tried == MAX_ADDRESSES:
                    return refusal
                tried += 1
                outcome = await self._try(owner, exchange, host, address, establishing)
                if isinstance(outcome, Connection):
                    self._dead_hosts.pop(host, None)
                    return outcome
                refusal = _more_hopeful(refusal, outcome)
            _remember(self._dead_hosts, host, self._clock.monotonic(), DEAD_SECONDS)
        return refusal

    async def _try(
        self, owner: Owner, exchange: Exchange, host: str, address: str, establishing: set[Connection]
    ) -> Connection | Refusal:
        transport, lane = self._transport, exchange.lane
        where = f"{host} [{address}]:{transport.port}"
        tls: TlsMode = transport.tls
        if tls == "opportunistic" and self._without_tls.get(address, 0.0) > self._clock.monotonic():
            tls = "none"
        context = self._context(tls)
        handshake = Handshake(
            ehlo_name=lane.source.ehlo or "localhost",
            tls="none" if transport.implicit_tls else tls,
            encrypted=transport.implicit_tls,
            credentials=transport.credentials,
            requiretls=transport.requiretls,
            helo=tls in HELO_ALLOWED and self._without_ehlo.get(address, 0.0) > self._clock.monotonic(),
        )

        def make() -> Connection:
            return Connection(
                owner,
                handshake,
                clock=self._clock,
                timeouts=transport.timeouts,
                host=host,
                address=address,
                max_messages=lane.pacer.messages_per_connection(lane.limits.messages_per_connection),
                window=lane.window,
                dsn=transport.dsn,
                requiretls=transport.requiretls,
            )

        try:
            connection = await connect(
                make,
                address,
                transport.port,
                source_address=lane.source.address,
                timeout_seconds=transport.timeouts.connect,
                tls_context=context if transport.implicit_tls else None,
                server_hostname=host,
            )
        except TimeoutError:
            explanation = f"no connection to {where} in {transport.timeouts.connect:g} s"
            return Refusal(stage=Stage.CONNECT, host=host, reason=Reason.TIMEOUT, explanation=explanation)
        except OSError as error:
            explanation = f"{where}: {error.strerror or error}"
            return Refusal(stage=Stage.CONNECT, host=host, reason=Reason.NETWORK, explanation=explanation)
        establishing.add(connection)
        try:
            await connection.establish(context)
        except HandshakeError as error:
            found = error.failure
            if tls == "opportunistic" and _tls_is_broken(found):
                # RFC 7435: a peer whose TLS is broken is sent to in clear, and remembered.
                _remember(self._without_tls, address, self._clock.monotonic(), NO_TLS_SECONDS)
                return await self._try(owner, exchange, host, address, establishing)
            if _closed_over_ehlo(found) and tls in HELO_ALLOWED and address not in self._without_ehlo:
                _remember(self._without_ehlo, address, self._clock.monotonic(), NO_EHLO_SECONDS)
                return await self._try(owner, exchange, host, address, establishing)
            reply = parse_text(found.code, found.text) if found.code else None
            return Refusal(
                stage=found.stage, host=host, reason=found.reason, reply=reply, explanation=f"{where}: {error}"
            )
        except asyncio.CancelledError:
            connection.abort()
            raise
        finally:
            establishing.discard(connection)
        return connection

    def _context(self, tls: TlsMode) -> ssl.SSLContext | None:
        if tls == "none" and not self._transport.implicit_tls:
            return None
        return client_context(verify=self._transport.verify or tls == "verified")


def _tls_is_broken(failure: HandshakeFailure) -> bool:
    """Whether the peer failed at TLS itself, be it by hanging up on STARTTLS; a refusal in words is none of it."""
    return failure.reason is Reason.TLS or (
        failure.stage is Stage.STARTTLS and failure.reason in (Reason.CONNECTION_LOST, Reason.TIMEOUT)
    )


def _more_hopeful(before: Refusal, now: Refusal) -> Refusal:
    """The last word, but what a host cannot do for good counts only where no other may yet do better."""
    return before if now.reason is Reason.UNSUPPORTED and before.reason is not Reason.UNSUPPORTED else now


def _closed_over_ehlo(failure: HandshakeFailure) -> bool:
    """RFC 5321 §3.2 knows servers that do not survive EHLO; they get HELO on a new connection."""
    return failure.stage is Stage.EHLO and failure.reason is Reason.CONNECTION_LOST


def _remember(until: dict[str, float], name: str, now: float, seconds: float) -> None:
    """`name` for `seconds`. What is over stands in front and goes, for all of a dict are remembered equally long."""
    until.pop(name, None)
    until[name] = now + seconds
    while until[first := next(iter(until))] <= now:
        del until[first]
