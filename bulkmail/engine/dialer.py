"""Find a mail exchanger that lets us in, in the order of RFC 5321 §5.1: hosts by preference, a few addresses each."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from bulkmail.clock import Clock
from bulkmail.engine.encryption import Encryption
from bulkmail.engine.exchange import Exchange
from bulkmail.engine.overdue import look_after
from bulkmail.engine.router import Router, Unroutable
from bulkmail.engine.turnstile import Turnstile
from bulkmail.model.campaign import Dsn, TlsMode
from bulkmail.model.delivery import Reason, Reply, Stage
from bulkmail.net.connection import Connection, HandshakeError
from bulkmail.net.opening import connect
from bulkmail.net.owner import Owner
from bulkmail.net.reach import no_route
from bulkmail.net.timeouts import Timeouts
from bulkmail.net.tls import client_context
from bulkmail.net.tokens import TokenError, TokenSource
from bulkmail.policy.encryption import Barred, Demand, failure_result
from bulkmail.smtp.handshake import Handshake, HandshakeFailure
from bulkmail.smtp.replies import parse_text
from bulkmail.smtp.sasl import Credentials

Name = TypeVar("Name", str, tuple[str | None, str])

# RFC 5321 §5.1 asks for at least two addresses; a bound keeps a long list from eating hours of timeouts, and one for
# each host leaves some to the next.
MAX_ADDRESSES = 6
MAX_ADDRESSES_OF_HOST = 4
DEAD_SECONDS = 60.0
# How long a host may keep one connection waiting before the next is tried with another, where there is one.
WAITING_SECONDS = 5.0
# How long a host whose TLS broke is sent to in clear before TLS is tried again; and one whose proof failed, without it.
NO_TLS_SECONDS = 3600.0
# How long a host that closes over EHLO is greeted with HELO; and where that may be, for HELO offers no TLS.
NO_EHLO_SECONDS = 3600.0
# How long a host that took EHLO is known to: a connection of its that is lost there says nothing else.
EHLO_SECONDS = 86400.0
MOST_REMEMBERED = 100_000
# Dials with TLS under way, and for how long one counts as such. A handshake takes the loop a millisecond with what
# belongs to it: no more than a few are answered together, and no more are begun than it can do.
DIALS_AT_ONCE = 16
DIAL_SECONDS = 0.02
HELO_ALLOWED = ("none", "opportunistic")


class Transport(Struct, frozen=True, kw_only=True):
    """How connections are made; with `implicit_tls` TLS begins with the first byte (RFC 8314).

    `host` is the name of what the campaign itself names; "" for mail exchangers, of which `Encryption` knows what TLS
    has to prove. For the others `tls`, `verify` and the PEM files say it. `tokens` give `credentials` theirs.
    """

    host: str = ""
    port: int
    tls: TlsMode
    authorities: str | None = None
    certificate: str | None = None
    key: str | None = None
    implicit_tls: bool = False
    verify: bool = False
    credentials: Credentials | None = None
    tokens: TokenSource | None = None
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

    def __init__(
        self,
        transport: Transport,
        router: Router,
        encryption: Encryption,
        *,
        transports: Mapping[str, Transport],
        clock: Clock,
    ) -> None:
        self._transport = transport
        self._transports = transports
        self._router = router
        self._encryption = encryption
        self._clock = clock
        self._dead_hosts: dict[tuple[str | None, str], float] = {}
        # Since when each dial has been waiting for which host, the oldest first.
        self._waits: dict[tuple[str | None, str], dict[object, float]] = {}
        self._without_tls: dict[str, float] = {}
        self._unproven: dict[str, float] = {}
        self._without_ehlo: dict[str, float] = {}
        self._with_ehlo: dict[str, float] = {}
        self._turnstile = Turnstile(DIALS_AT_ONCE, DIAL_SECONDS)
        self._any_tls = any(one.tls != "none" for one in (transport, *transports.values()))

    async def dial(
        self, owner: Owner, exchange: Exchange, establishing: dict[Connection, None]
    ) -> Connection | Refusal:
        """A connection ready for transactions. `establishing` holds it before, so that overdue ones can be ended."""
        if not self._any_tls:
            return await self._dial(owner, exchange, establishing)
        admission = await self._turnstile.enter()
        try:
            return await self._dial(owner, exchange, establishing)
        finally:
            admission.leave()

    async def _dial(
        self, owner: Owner, exchange: Exchange, establishing: dict[Connection, None]
    ) -> Connection | Refusal:
        hosts = self._router.hosts(exchange.hosts)
        now = self._clock.monotonic()
        source = exchange.lane.source.address
        alive = [
            host
            for host in hosts
            if self._dead_hosts.get((source, host), 0.0) <= now and not self._is_slow((source, host), now)
        ]
        refusal = Refusal(stage=Stage.CONNECT, host=hosts[0], reason=Reason.UNSUPPORTED)
        tried = 0
        for host in alive or hosts:
            wanted = await self._wanted(exchange, host)
            if isinstance(wanted, Barred):
                refusal = self._barred(wanted, exchange, host)
                continue
            addresses = await self._router.addresses(host)
            if isinstance(addresses, Unroutable):
                unknown = Refusal(
                    stage=Stage.DNS, host=host, reason=addresses.reason, explanation=addresses.explanation
                )
                refusal = _more_hopeful(refusal, unknown)
                continue
            tried_of_host = 0
            for address in addresses:
                if tried == MAX_ADDRESSES:
                    return refusal
                if tried_of_host == MAX_ADDRESSES_OF_HOST:
                    break
                obstacle = no_route(address, source)
                if obstacle is not None:
                    # Costs nothing to find out, and no try: an exchanger with six of those may have a seventh.
                    explanation = f"{host} [{address}]: {obstacle}"
                    barred = Refusal(stage=Stage.CONNECT, host=host, reason=Reason.NETWORK, explanation=explanation)
                    refusal = _more_hopeful(refusal, barred)
                    continue
                tried += 1
                tried_of_host += 1
                dial = object()
                waits = self._waits.setdefault((source, host), {})
                waits[dial] = self._clock.monotonic()
                try:
                    outcome = await self._try(owner, exchange, host, address, wanted, establishing)
                finally:
                    del waits[dial]
                    if not waits:
                        self._waits.pop((source, host), None)
                if isinstance(outcome, Connection):
                    self._dead_hosts.pop((source, host), None)
                    return outcome
                refusal = _more_hopeful(refusal, outcome)
            _remember(self._dead_hosts, (source, host), self._clock.monotonic(), DEAD_SECONDS)
        return refusal

    def _is_slow(self, where: tuple[str | None, str], now: float) -> bool:
        """Whether a dial has been waiting for the host for long."""
        waits = self._waits.get(where)
        return waits is not None and now - next(iter(waits.values())) >= WAITING_SECONDS

    async def _try(
        self,
        owner: Owner,
        exchange: Exchange,
        name: str,
        address: str,
        wanted: Demand,
        establishing: dict[Connection, None],
    ) -> Connection | Refusal:
        """One address of a host; where its relay refuses a token that was kept, once more with a new one."""
        transport = self._transports.get(name, self._transport)
        host, tokens = transport.host or name, transport.tokens
        if tokens is None or transport.credentials is None:
            return await self._enter(owner, exchange, transport, host, address, wanted, establishing)
        outcome: Connection | Refusal
        kept = tokens.kept
        while True:
            try:
                token = await tokens.token()
            except TokenError as error:
                return Refusal(stage=Stage.AUTH, host=host, reason=Reason.AUTHENTICATION, explanation=str(error))
            fitted = replace(transport, credentials=replace(transport.credentials, token=token))
            outcome = await self._enter(owner, exchange, fitted, host, address, wanted, establishing)
            if isinstance(outcome, Connection) or outcome.reply is None or outcome.reply.code != 535:
                return outcome
            tokens.refuse(token)
            if not kept:
                return outcome
            kept = False

    async def _enter(
        self,
        owner: Owner,
        exchange: Exchange,
        transport: Transport,
        host: str,
        address: str,
        wanted: Demand,
        establishing: dict[Connection, None],
    ) -> Connection | Refusal:
        lane = exchange.lane
        where = f"{host} [{address}]:{transport.port}"
        now = self._clock.monotonic()
        tls = wanted.mode
        if tls == "opportunistic" and self._without_tls.get(address, 0.0) > now:
            tls = "none"
        proving = not wanted.lenient or self._unproven.get(address, 0.0) <= now
        clear = tls == "none" and not transport.implicit_tls
        context = None if clear else self._context(transport, wanted, proving=proving)
        handshake = Handshake(
            ehlo_name=lane.source.ehlo or "localhost",
            tls="none" if transport.implicit_tls else tls,
            encrypted=transport.implicit_tls,
            credentials=transport.credentials,
            requiretls=transport.requiretls,
            helo=tls in HELO_ALLOWED and self._without_ehlo.get(address, 0.0) > now,
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
        establishing[connection] = None
        look_after(connection, self._clock)
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
                    return await self._enter(owner, exchange, transport, host, address, wanted, establishing)
            if tls == "opportunistic" and _tls_is_broken(found):
                # RFC 7435: a peer whose TLS is broken is sent to in clear, and remembered.
                _remember(self._without_tls, address, self._clock.monotonic(), NO_TLS_SECONDS)
                return await self._enter(owner, exchange, transport, host, address, wanted, establishing)
            strange = max(self._without_ehlo.get(address, 0.0), self._with_ehlo.get(address, 0.0)) <= now
            if strange and _closed_over_ehlo(found) and tls in HELO_ALLOWED:
                _remember(self._without_ehlo, address, self._clock.monotonic(), NO_EHLO_SECONDS)
                return await self._enter(owner, exchange, transport, host, address, wanted, establishing)
            reply = parse_text(found.code, found.text) if found.code else None
            return Refusal(
                stage=found.stage, host=host, reason=found.reason, reply=reply, explanation=f"{where}: {error}"
            )
        except asyncio.CancelledError:
            connection.abort()
            raise
        finally:
            establishing.pop(connection, None)
        if self._with_ehlo.get(address, 0.0) <= now and self._without_ehlo.get(address, 0.0) <= now:
            _remember(self._with_ehlo, address, now, EHLO_SECONDS)
        if connection.tls is None:
            self._count(wanted, exchange, host, result="starttls-not-supported")
        elif proving:
            self._count(wanted, exchange, host, result="validation-failure" if wanted.note else "", reason=wanted.note)
        return connection

    async def _wanted(self, exchange: Exchange, host: str) -> Demand | Barred:
        transport = self._transports.get(host)
        if transport is None:
            return await self._encryption.demand(exchange.protection, host)
        verify = transport.verify or transport.tls == "verified"
        return Demand(mode=transport.tls, proof="verified" if verify else "")

    def _context(self, transport: Transport, wanted: Demand, *, proving: bool) -> ssl.SSLContext | None:
        if not transport.host:
            return self._encryption.context(wanted, proving=proving)
        return client_context(
            verify=wanted.proof == "verified",
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


def _more_hopeful(before: Refusal, now: Refusal) -> Refusal:
    """The last word, but what a host cannot do for good counts only where no other may yet do better."""
    return before if now.reason is Reason.UNSUPPORTED and before.reason is not Reason.UNSUPPORTED else now


def _closed_over_ehlo(failure: HandshakeFailure) -> bool:
    """RFC 5321 §3.2 knows servers that do not survive EHLO; they get HELO on a new connection."""
    return failure.stage is Stage.EHLO and failure.reason is Reason.CONNECTION_LOST


def _remember(until: dict[Name, float], name: Name, now: float, seconds: float) -> None:
    """`name` for `seconds`. What is over stands in front and goes, for all of a dict are remembered equally long."""
    until.pop(name, None)
    until[name] = now + seconds
    while until[first := next(iter(until))] <= now or len(until) > MOST_REMEMBERED:
        del until[first]
