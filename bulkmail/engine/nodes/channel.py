"""Carry messages between an owner and a node over a pair of sockets: those of one tick together, in order.

A frame is `u32 length | MessagePack array of messages`.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

import msgspec

from bulkmail.engine.nodes.messages import ENCODER

HEAD = struct.Struct("<I")

Incoming = TypeVar("Incoming")


class Channel(asyncio.Protocol, Generic[Incoming]):
    """One end. `on_messages` gets those of one frame at a time; `on_closed` is called once, after the last of them.

    What `on_messages` raises goes to `on_error`, and the channel is closed.
    """

    def __init__(
        self,
        decoder: "msgspec.msgpack.Decoder[list[Incoming]]",
        *,
        on_messages: Callable[[Sequence[Incoming]], None],
        on_closed: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._decoder = decoder
        self._on_messages = on_messages
        self._on_closed = on_closed
        self._on_error = on_error
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._outgoing: list[object] = []
        self._scheduled = False

    @classmethod
    async def over(
        cls,
        sock: socket.socket,
        decoder: "msgspec.msgpack.Decoder[list[Incoming]]",
        *,
        on_messages: Callable[[Sequence[Incoming]], None],
        on_closed: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> "Channel[Incoming]":
        """The channel over one end of a socket pair, which it closes."""
        channel = cls(decoder, on_messages=on_messages, on_closed=on_closed, on_error=on_error)
        sock.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=sock)
        return channel

    def post(self, message: object) -> None:
        """Send it at the end of this tick; nothing where the other side is gone."""
        self._outgoing.append(message)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Hand what was posted to the socket now."""
        self._scheduled = False
        messages, self._outgoing = self._outgoing, []
        if messages and self._transport is not None and not self._transport.is_closing():
            frame = ENCODER.encode(messages)
            self._transport.write(HEAD.pack(len(frame)) + frame)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        start = 0
        try:
            while len(received) - start >= HEAD.size:
                end = start + HEAD.size + HEAD.unpack_from(received, start)[0]
                if end > len(received):
                    break
                frame = bytes(received[start + HEAD.size : end])
                start = end
                self._on_messages(self._decoder.decode(frame))
        except Exception as error:
            self._on_error(error)
            self.close()
        finally:
            del received[:start]

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._on_closed()
