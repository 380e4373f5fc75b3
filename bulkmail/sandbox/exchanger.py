"""Mail exchangers on real sockets: each connection drives one dialogue: its delays, its TLS, its way to close."""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from bulkmail.clock import Clock
from bulkmail.sandbox.counts import Counts
from bulkmail.sandbox.dialogue import Dialogue
from bulkmail.sandbox.doorman import Doorman
from bulkmail.sandbox.ledger import Ledger
from bulkmail.sandbox.reception import Reception
from bulkmail.sandbox.zone import Listener, Zone

LINGER_SECONDS = 2.0
HANDSHAKE_SECONDS = 10.0
_READ_AHEAD_BYTES = 1 << 20


class House:
    """What all exchangers of a sandbox share."""

    def __init__(
        self,
        zone: Zone,
        ledger: Ledger,
        counts: Counts,
        clock: Clock,
        *,
        tls_context: ssl.SSLContext | None,
        doorman: Callable[..., Doorman] = Doorman,
    ) -> None:
        self.zone, self.ledger, self.counts, self.clock, self.tls_context = zone, ledger, counts, clock, tls_context
        # In the order that they came, so that a simulated run can be repeated.
        self.open: dict[Exchanger, None] = {}
        self._doormen = {name: doorman(manners, seed=zone.seed) for name, manners in zone.profiles.manners.items()}
        self._connections = 0

    def exchanger(self, listener: Listener) -> Callable[[], "Exchanger"]:
        """A factory of protocols for the connections to one listener."""
        return lambda: Exchanger(self, listener)

    def receive_guest(self, listener: Listener, peer: str) -> Reception:
        """Let a connection in, or note that it is refused."""
        self._connections += 1
        return Reception(
            listener,
            peer,
            connection=self._connections,
            zone=self.zone,
            doorman=self._doormen[listener.manners],
            ledger=self.ledger,
            counts=self.counts,
            clock=self.clock,
            tls_ready=self.tls_context is not None,
        )

    def sweep(self) -> None:
        """Close connections that have been idle for too long."""
        now = self.clock.monotonic()
        for exchanger in list(self.open):
            exchanger.expire(now)

    def close(self) -> None:
        """Cut every connection."""
        for exchanger in list(self.open):
            exchanger.abort()


class Exchanger(asyncio.Protocol):
    """The server's side of one connection."""

    def __init__(self, house: House, listener: Listener) -> None:
        self._house = house
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._tls_task: asyncio.Task[None] | None = None
        self._secured_first: list[bytes] = []
        self._greeted = False
        self._closing = False
        self._read_ahead = 0
        self._reception: Reception
        self._dialogue: Dialogue
        self._transport: asyncio.Transport
        self._heard = 0.0

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._reception = self._house.receive_guest(self._listener, peer[0] if peer else "unknown")
        self._dialogue = Dialogue(self._reception)
        self._heard = self._house.clock.monotonic()
        self._house.open[self] = None
        manners = self._reception.manners
        if manners.silent:
            return
        if manners.greeting_delay_seconds:
            self._timer = self._loop.call_later(manners.greeting_delay_seconds, self._greet)
        else:
            self._greet()

    def data_received(self, data: bytes) -> None:
        self._heard = self._house.clock.monotonic()
        if self._closing or self._reception.manners.silent:
            return None
        if self._tls_task is not None:
            # Reading stopped before the handshake, so this came through TLS; the task that awaits it has yet to run.
            self._secured_first.append(data)
            return None
        if not self._greeted:
            self._cancel_timer()
            self._greeted = True
            return self._act(self._dialogue.speak_early())
        if self._dialogue.hold_seconds:
            self._read_ahead += len(data)
            if self._read_ahead > _READ_AHEAD_BYTES:
                self._transport.pause_reading()
        return self._act(self._dialogue.receive(data))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._cancel_timer()
        self._house.open.pop(self, None)
        self._leave()

    # What the house calls

    def expire(self, now: float) -> None:
        """Say goodbye to a client that has been idle for longer than the manners allow."""
        busy = self._closing or self._dialogue.hold_seconds or self._dialogue.starting_tls or not self._greeted
        if not busy and now - self._heard > self._reception.manners.idle_seconds:
            self._act(self._dialogue.expire())

    def abort(self) -> None:
        """Cut the connection."""
        self._closing = True
        if self._tls_task is not None:
            self._tls_task.cancel()
        self._transport.abort()
        self.connection_lost(None)

    # What follows a step of the dialogue

    def _greet(self) -> None:
        self._greeted = True
        self._timer = None
        self._act(self._dialogue.greet())

    def _act(self, out: bytes) -> None:
        dialogue, ledger = self._dialogue, self._house.ledger
        if ledger.urgent:
            # A message is on file before the client hears so; where it cannot be, the client hears nothing.
            try:
                ledger.flush()
            except OSError:
                return self.abort()
        if out:
            self._transport.write(out)
        if dialogue.hold_seconds:
            if self._timer is None:
                self._timer = self._loop.call_later(dialogue.hold_seconds, self._resume)
        elif dialogue.closing:
            self._close()
        elif dialogue.starting_tls and self._tls_task is None:
            self._transport.pause_reading()
            self._tls_task = self._loop.create_task(self._start_tls())
        return None

    def _resume(self) -> None:
        self._timer = None
        if self._read_ahead > _READ_AHEAD_BYTES:
            self._transport.resume_reading()
        self._read_ahead = 0
        self._act(self._dialogue.resume())

    async def _start_tls(self) -> None:
        context = self._house.tls_context
        assert context is not None
        plain = self._transport
        try:
            secured = await self._loop.start_tls(
                plain, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError:
            secured = None
        if secured is None:
            self._tls_task = None
            self._dialogue.close_reason = "tls"
            return self.abort()
        self._transport = secured
        session = secured.get_extra_info("ssl_object")
        self._dialogue.secured(session.version() or "TLS")
        self._tls_task = None
        first, self._secured_first = b"".join(self._secured_first), []
        return self.data_received(first) if first else None

    def _leave(self) -> None:
        dialogue = self._dialogue
        self._reception.leave(
            reason=dialogue.close_reason,
            commands=dialogue.commands,
            messages=dialogue.messages,
            unfinished=dialogue.unfinished,
        )

    def _close(self) -> None:
        """Close so that what was written arrives.

        Closing a socket that holds unread bytes resets the connection and may destroy the last reply on its way, so the
        output ends first and input is thrown away for a while.
        """
        if self._closing:
            return
        self._closing = True
        self._leave()
        if self._dialogue.abrupt:
            self._transport.abort()
        elif self._transport.can_write_eof():
            self._transport.write_eof()
            self._timer = self._loop.call_later(LINGER_SECONDS, self._transport.abort)
        else:
            self._transport.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
