"""Two ends of a connection in memory: bytes arrive in order, after the time they travel, until one end is gone."""

import asyncio
from collections import deque
from typing import Any

# What stands in a pipe for the end of the bytes.
_EOF = b""


class Wire(asyncio.Transport):
    """One end. What is written arrives at the `peer` after `latency_seconds`; `pair` makes both.

    `drop_after_bytes` more bytes that arrive here, the connection breaks; `lose` swallows everything from now on, as a
    router that died does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, address: tuple[str, int], other: tuple[str, int]) -> None:
        super().__init__({"peername": other, "sockname": address})
        self._loop = loop
        self._protocol: asyncio.BaseProtocol | None = None
        self.peer: Wire
        self.latency_seconds = 0.0
        self.drop_after_bytes: int | None = None
        self.lose = False
        self._arriving: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._closing = False
        self._lost = False
        self._said_eof = False

    def open(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    # asyncio.Transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self._closing and not self._said_eof:
            self._send(bytes(data))

    def write_eof(self) -> None:
        if not self._said_eof:
            self._said_eof = True
            self._send(_EOF)

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.write_eof()
            self._loop.call_soon(self._end, None)

    def abort(self) -> None:
        """The socket is closed: what was written still arrives, then the end does."""
        self.close()

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._schedule()

    def is_reading(self) -> bool:
        return not self._paused

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    # What the network does

    def sever(self, error: Exception | None = None) -> None:
        """The connection breaks, for both ends at once; what is on the way is gone."""
        for end in (self, self.peer):
            end._arriving.clear()
            if not end._closing:
                end._closing = True
                self._loop.call_soon(end._end, error or ConnectionResetError(104, "Connection reset by peer"))

    def deafen(self) -> None:
        """Nothing arrives here any more, and nothing that is written leaves: the process is dead, its kernel is not.

        What it had written arrives at the other end, and then the end of it.
        """
        self._arriving.clear()
        self.lose = True
        if not self._said_eof:
            self.write_eof()
        self._closing = True

    def _send(self, data: bytes) -> None:
        if not self.lose or data == _EOF:
            self.peer._arrive(self._loop.time() + self.peer.latency_seconds, data)

    def _arrive(self, when: float, data: bytes) -> None:
        if not self._lost and not self.lose:
            self._arriving.append((when, data))
            self._schedule()

    def _schedule(self) -> None:
        if self._arriving and self._timer is None and not self._paused:
            self._timer = self._loop.call_at(self._arriving[0][0], self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        if self._paused or self._closing:
            return
        now = self._loop.time() + 1e-9
        data = b""
        while self._arriving and self._arriving[0][0] <= now and (piece := self._arriving[0][1]) != _EOF:
            self._arriving.popleft()
            data += piece
        protocol: Any = self._protocol
        if data:
            if self.drop_after_bytes is not None:
                if len(data) > self.drop_after_bytes:
                    data = data[: self.drop_after_bytes]
                    self._loop.call_soon(self.sever)
                self.drop_after_bytes -= len(data)
            if data:
                protocol.data_received(data)
        elif self._arriving and self._arriving[0][0] <= now:
            self._arriving.popleft()
            if not protocol.eof_received():
                self.close()
        self._schedule()

    def _end(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._arriving.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(error)


def pair(
    loop: asyncio.AbstractEventLoop, client: tuple[str, int], server: tuple[str, int], *, latency_seconds: float
) -> tuple[Wire, Wire]:
    """Both ends of a connection, neither open yet."""
    here, there = Wire(loop, client, server), Wire(loop, server, client)
    here.peer, there.peer = there, here
    here.latency_seconds = there.latency_seconds = latency_seconds
    return here, there
