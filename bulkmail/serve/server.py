"""Puts the listeners together over one state directory, and stops them in order."""

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import h11
import uvicorn
from msgspec import Struct
from uvicorn.protocols.http.h11_impl import H11Protocol

from bulkmail.clock import Clock
from bulkmail.engine.incoming import Taken
from bulkmail.engine.returns import Reader
from bulkmail.engine.unsubscribing import Wish
from bulkmail.errors import CampaignError
from bulkmail.serve.page import Pages
from bulkmail.serve.recipients import Mailboxes
from bulkmail.serve.room import Caller, Room
from bulkmail.serve.room import Session as AnySession
from bulkmail.serve.settings import ServeFile, addresses_of
from bulkmail.serve.smtp import TOO_BUSY, Desk, Session
from bulkmail.serve.web import Site
from bulkmail.serve.worker import Worker

STOP_SECONDS = 20.0
BACKLOG = 1024
KEEP_ALIVE_SECONDS = 15
_SPARE_FILES = 256


class Where(Struct, frozen=True):
    """An address to listen on; port 0 takes a free one."""

    host: str
    port: int


class Notes(Struct, frozen=True):
    """Who is told what came in."""

    mail: Callable[[Taken], None]
    wish: Callable[[Wish, Reader], None]


class Listeners:
    """The listeners, as an async context manager: entered, they take connections; left, what was begun is finished."""

    def __init__(
        self,
        directory: Path,
        settings: ServeFile,
        clock: Clock,
        *,
        smtp: Where | None,
        http: Where | None,
        notes: Notes,
    ) -> None:
        self._directory, self._settings, self._clock = directory, settings, clock
        self._smtp_where, self._http_where = smtp, http
        self._notes = notes
        self._stack = contextlib.AsyncExitStack()
        self.smtp_port = self.http_port = 0

    async def __aenter__(self) -> "Listeners":
        settings = self._settings
        try:
            _allow_files(2 * settings.limits.connections + _SPARE_FILES)
            # aiosmtpd formats a line for each command, whether anybody reads it or not, unless it is told not to.
            logging.getLogger("mail.log").setLevel(logging.CRITICAL)
            tls = tls_context(settings)
            self._worker = Worker(self._directory, self._clock)
            self._stack.push_async_callback(self._worker.close)
            if self._smtp_where is not None:
                await self._listen_smtp(self._smtp_where, tls)
            if self._http_where is not None:
                await self._listen_http(self._http_where)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _room(self, trusted: frozenset[str] = frozenset()) -> Room:
        limits = self._settings.limits
        room = Room(
            connections=limits.connections,
            per_peer=limits.connections_per_peer,
            idle_seconds=limits.idle,
            trusted=trusted,
            clock=self._clock,
        )
        self._stack.callback(room.close)
        return room

    async def _listen_smtp(self, where: Where, tls: ssl.SSLContext | None) -> None:
        settings = self._settings
        parsers = ThreadPoolExecutor(2, thread_name_prefix="bulkmail-reader")
        self._stack.callback(parsers.shutdown)
        desk = Desk(
            mailboxes=Mailboxes(addresses_of(settings)),
            worker=self._worker,
            parsers=parsers,
            clock=self._clock,
            name=settings.name or socket.getfqdn(),
            messages_per_second=settings.limits.messages_per_peer,
            told=self._notes.mail,
            idle=asyncio.Event(),
        )
        desk.idle.set()
        room = self._room()

        def session() -> AnySession:
            made = Session(desk, size_limit=settings.limits.message_size, idle_seconds=settings.limits.idle, tls=tls)
            return cast(AnySession, made)

        greeting = f"220 {desk.name} ESMTP\r\n".encode()
        server = await asyncio.get_running_loop().create_server(
            lambda: Caller(room, session, greeting=greeting, farewell=TOO_BUSY), sock=bound(where, "--smtp")
        )
        self.smtp_port = server.sockets[0].getsockname()[1]

        async def stop() -> None:
            desk.stopping = True
            server.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await desk.idle.wait()
            room.close()

        self._stack.push_async_callback(stop)

    async def _listen_http(self, where: Where) -> None:
        settings = self._settings
        site = Site(Pages(settings.sender, settings.lists), self._worker, self._notes.wish)
        room = self._room(frozenset(settings.proxies))
        config = uvicorn.Config(
            site.application(),
            http=cast(Any, _callers(room)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies),
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(STOP_SECONDS),
            h11_max_incomplete_event_size=16 << 10,
        )
        config.load()
        listening = bound(where, "--http")
        self.http_port = listening.getsockname()[1]
        server = _Web(config)
        running = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))

        async def stop() -> None:
            room.close()
            server.should_exit = True
            await running

        self._stack.push_async_callback(stop)
        await server.ready.wait()


class _Web(uvicorn.Server):
    """uvicorn's, which leaves signals to whoever runs the listeners."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.ready.set()


class _Patient(H11Protocol):
    """uvicorn's protocol, which waits for a request, once begun, no longer than it is told."""

    def __init__(self, *arguments: Any, patience_seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._patience_seconds = patience_seconds
        self._watch: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._unwatch()
        elif self._watch is None:
            self._watch = self.loop.call_later(self._patience_seconds, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


def _callers(room: Room) -> Callable[..., Caller]:
    """What uvicorn makes for each connection."""

    def make(**named: Any) -> Caller:
        return Caller(room, lambda: cast(AnySession, _Patient(patience_seconds=room.idle_seconds, **named)))

    return make


def bound(where: Where, option: str) -> socket.socket:
    """A listening socket; CampaignError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((where.host, where.port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        hint = "below 1024 it needs the right to: CAP_NET_BIND_SERVICE" if isinstance(error, PermissionError) else None
        raise CampaignError(
            f"cannot listen on {where.host}:{where.port}: {error.strerror}", path=option, hint=hint
        ) from None
    return listening


def tls_context(settings: ServeFile) -> ssl.SSLContext | None:
    """For STARTTLS, where the settings name a certificate. CampaignError where it cannot be used."""
    if settings.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls.certificate, settings.tls.key)
    except (OSError, ssl.SSLError) as error:
        raise CampaignError(f"{settings.tls.certificate}: cannot be used: {error}", path="tls") from None
    return context


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if limit > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
