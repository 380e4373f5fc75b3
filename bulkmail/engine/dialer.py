"""Find a mail exchanger that lets us in, in the order of RFC 5321 §5.1: hosts by preference, a few addresses each."""

import asyncio
import ssl

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.engine.encryption import Encryption
from bulkmail.engine.exchange import Exchange
from bulkmail.engine.router import Router, Unroutable
from bulkmail.model.campaign import TlsMode
from bulkmail.model.delivery import Reason, Reply, Stage
from bulkmail.net.connection import Connection, HandshakeError, Owner, connect
from bulkmail.net.timeouts import Timeouts
from bulkmail.net.tls import client_context
from bulkmail.policy.encryption import Barred, Demand, failure_result
from bulkmail.smtp.handshake import Handshake, HandshakeFailure
from bulkmail.smtp.replies import parse_text
from bulkmail.smtp.sasl import Credentials

# RFC 5321 §5.1 asks for at least two addresses; a bound keeps a long list from eating hours of timeouts.
MAX_ADDRESSES = 5
DEAD_SECONDS = 60.0
# How long a host whose TLS broke is sent to in clear before TLS is tried again; and one whose proof failed, without it.
NO_TLS_SECONDS = 3600.0


class Transport(Struct, frozen=True, kw_only=True):
    """How the connections of a run are made; with `implicit_tls` TLS begins with the first byte (RFC 8314).

    `tls`, `verify`, and the PEM files `authorities`, `certificate` and `key`, are for a relay; what mail exchangers
    have to prove is the business of `Encryption`.
    """

    port: int
    tls: TlsMode
    relay: bool = False
    authorities: str | None = None
    certificate: str | None = None
    key: str | None = None
    implicit_tls: bool = False
    verify: bool = False
    credentials: Credentials | None = None
    window: int = 1
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

    def __init__(self, transport: Transport, router: Router, encryption: Encryption, *, clock: Clock) -> None:
        self._transport = transport
        self._router = router
        self._encryption = encryption
        self._clock = clock
        self._dead_hosts: dict[str, float] = {}
        self._without_tls: dict[str, float] = {}
        self._unproven: dict[str, float] = {}

    async def dial(self, owner: Owner, exchange: Exchange, establishing: set[Connection]) -> Connection | Refusal:
        """A connection ready for transactions. `establishing` holds it before, so that overdue ones can be ended."""
        hosts = self._router.hosts(exchange.hosts)
        now = self._clock.monotonic()
        alive = [host for host in hosts if self._dead_hosts.get(host, 0.0) <= now]
        refusal = Refusal(stage=Stage.CONNECT, host=hosts[0], reason=Reason.NETWORK)
        tried = 0
        for host in alive or hosts:
            wanted = await self._wanted(exchange, host)
            if isinstance(wanted, Barred):
                refusal = self._barred(wanted, exchange, host)
                continue
            addresses = await self._router.addresses(host)
            if isinstance(addresses, Unroutable):
                refusal = Refusal(
                    stage=Stage.DNS, host=host, reason=addresses.reason, explanation=addresses.explanation
                )
                continue
            for address in addresses:
                if tried == MAX_ADDRESSES:
                    return refusal
                tried += 1
                outcome = await self._try(owner, exchange, host, address, wanted, establishing)
                if isinstance(outcome, Connection):
                    self._dead_hosts.pop(host, None)
                    return outcome
                refusal = outcome
            _remember(self._dead_hosts, host, self._clock.monotonic(), DEAD_SECONDS)
        return refusal

    async def _try(
        self,
        owner: Owner,
        exchange: Exchange,
        host: str,
        address: str,
        wanted: Demand,
        establishing: set[Connection],
    ) -> Connection | Refusal:
        transport, lane = self._transport, exchange.lane
        where = f"{host} [{address}]:{transport.port}"
        now = self._clock.monotonic()
        tls = wanted.mode
        if tls == "opportunistic" and self._without_tls.get(address, 0.0) > now:
            tls = "none"
        proving = not wanted.lenient or self._unproven.get(address, 0.0) <= now
        context = None if tls == "none" else self._context(wanted, proving=proving)
        handshake = Handshake(
            ehlo_name=lane.source.ehlo or "localhost",
            tls="none" if transport.implicit_tls else tls,
            encrypted=transport.implicit_tls,
            credentials=transport.credentials,
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
                window=transport.window,
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
            if _tls_is_broken(found):
                code = getattr(error.__cause__, "verify_code", None)
                result = failure_result(code, offered=handshake.capabilities.starttls)
                self._count(wanted, exchange, host, result=result, reason=str(error))
                if wanted.lenient and proving:
                    # RFC 8461 §5: a policy that is being tested is reported on, and changes nothing else.
                    _remember(self._unproven, address, self._clock.monotonic(), NO_TLS_SECONDS)
                    return await self._try(owner, exchange, host, address, wanted, establishing)
            if tls == "opportunistic" and _tls_is_broken(found):
                # RFC 7435: a peer whose TLS is broken is sent to in clear, and remembered.
                _remember(self._without_tls, address, self._clock.monotonic(), NO_TLS_SECONDS)
                return await self._try(owner, exchange, host, address, wanted, establishing)
            reply = parse_text(found.code, found.text) if found.code else None
            return Refusal(
                stage=found.stage, host=host, reason=found.reason, reply=reply, explanation=f"{where}: {error}"
            )
        except asyncio.CancelledError:
            connection.abort()
            raise
        finally:
            establishing.discard(connection)
        if connection.tls is None:
            self._count(wanted, exchange, host, result="starttls-not-supported")
        elif proving:
            self._count(wanted, exchange, host, result="validation-failure" if wanted.note else "", reason=wanted.note)
        return connection

    async def _wanted(self, exchange: Exchange, host: str) -> Demand | Barred:
        transport = self._transport
        if not transport.relay:
            return await self._encryption.demand(exchange.protection, host)
        return Demand(mode=transport.tls, proof="verified" if transport.verify else "")

    def _context(self, wanted: Demand, *, proving: bool) -> ssl.SSLContext | None:
        transport = self._transport
        if not transport.relay:
            return self._encryption.context(wanted, proving=proving)
        return client_context(
            verify=transport.verify,
            authorities=transport.authorities,
            certificate=transport.certificate,
            key=transport.key,
        )

    def _barred(self, barred: Barred, exchange: Exchange, host: str) -> Refusal:
        self._count(barred, exchange, host, result=barred.result, reason=barred.explanation)
        return Refusal(stage=Stage.STARTTLS, host=host, reason=Reason.TLS, explanation=barred.explanation)

    def _count(
        self, wanted: Demand | Barred, exchange: Exchange, host: str, *, result: str = "", reason: str = ""
    ) -> None:
        if wanted.counted:
            source = exchange.lane.source.address
            self._encryption.count(
                wanted, exchange.protection, exchange.domains, result=result, host=host, source=source, reason=reason
            )


def _tls_is_broken(failure: HandshakeFailure) -> bool:
    """Whether the peer failed at TLS itself, be it by hanging up on STARTTLS; a refusal in words is none of it."""
    return failure.reason is Reason.TLS or (
        failure.stage is Stage.STARTTLS and failure.reason in (Reason.CONNECTION_LOST, Reason.TIMEOUT)
    )


def _remember(until: dict[str, float], name: str, now: float, seconds: float) -> None:
    """`name` for `seconds`. What is over stands in front and goes, for all of a dict are remembered equally long."""
    until.pop(name, None)
    until[name] = now + seconds
    while until[first := next(iter(until))] <= now:
        del until[first]
