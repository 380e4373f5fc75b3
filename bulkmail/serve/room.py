"""Room for connections: how many there may be, of one peer and in all, and which one goes when there are too many.

A connection that has said nothing yet costs a socket and one small object, its `Caller`. It becomes a session with
its first byte. Where there is no room, whoever has been silent longest goes: an attacker's ten thousand idle
connections push out each other, and nobody who says something.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, cast

from bulkmail.clock import Clock


class Room:
    """The connections of one listener. `trusted` peers (proxies) may have as many as there is room for."""

    def __init__(
        self, *, connections: int, per_peer: int, idle_seconds: float, trusted: frozenset[str], clock: Clock
    ) -> None:
        self._limit, self._per_peer, self._trusted = connections, per_peer, trusted
        self.idle_seconds = idle_seconds
        self._clock = clock
        # In the order in which they were last heard; a dict keeps it, and finds any at once.
        self._silent: dict[Caller, None] = {}
        self._of_peer: dict[str, dict[Caller, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._silent)

    def enter(self, caller: "Caller") -> bool:
        """False where there is no room, not even by sending away somebody who is silent."""
        of_peer = self._of_peer.setdefault(caller.peer, {})
        if len(of_peer) >= self._per_peer and caller.peer not in self._trusted and not self._send_away(of_peer):
            return False
        if len(self._silent) >= self._limit and not self._send_away(self._silent):
            return False
        of_peer = self._of_peer.setdefault(caller.peer, {})
        of_peer[caller] = self._silent[caller] = None
        caller.heard = self._clock.monotonic()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.idle_seconds, self._sweep)
        return True

    def leave(self, caller: "Caller") -> None:
        self._silent.pop(caller, None)
        of_peer = self._of_peer.get(caller.peer)
        if of_peer is not None:
            of_peer.pop(caller, None)
            if not of_peer:
                del self._of_peer[caller.peer]

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for caller in list(self._silent):
            caller.send_away()

    def _send_away(self, callers: "dict[Caller, None]") -> bool:
        for caller in callers:
            if not caller.begun:
                caller.send_away()
                self.leave(caller)
                return True
        return False

    def _sweep(self) -> None:
        """End those who said nothing for too long; sessions have a watch of their own."""
        self._timer = None
        oldest = self._clock.monotonic() - self.idle_seconds
        for caller in list(self._silent):
            if caller.heard > oldest:
                break
            if not caller.begun:
                caller.send_away()
                self.leave(caller)
        if self._silent:
            self._timer = asyncio.get_running_loop().call_later(max(self.idle_seconds / 4, 0.05), self._sweep)


class Session(Protocol):
    """What a caller becomes."""

    def connection_made(self, transport: Any) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class Caller(asyncio.Protocol):
    """A connection from its first moment: greeted with `greeting`, made a session with its first byte."""

    __slots__ = ("_farewell", "_greeting", "_make", "_room", "_session", "_transport", "begun", "heard", "peer")

    def __init__(
        self, room: Room, make: Callable[[], Session], *, greeting: bytes = b"", farewell: bytes = b""
    ) -> None:
        self._room, self._make = room, make
        self._greeting, self._farewell = greeting, farewell
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self.begun = False
        self.heard = 0.0
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = name[0] if isinstance(name, tuple) else "local"
        if not self._room.enter(self):
            self.send_away()
        elif self._greeting:
            self._transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        session = self._session
        if session is None:
            assert self._transport is not None
            if self._transport.is_closing():
                return
            self.begun = True
            session = self._session = self._make()
            session.connection_made(self._transport)
        session.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._session is None else self._session.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self)
        if self._session is not None:
            self._session.connection_lost(exc)
        self._session = self._transport = None

    def pause_writing(self) -> None:
        if self._session is not None:
            self._session.pause_writing()

    def resume_writing(self) -> None:
        if self._session is not None:
            self._session.resume_writing()

    def send_away(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if self._farewell and not self.begun:
                self._transport.write(self._farewell)
            self._transport.close()
