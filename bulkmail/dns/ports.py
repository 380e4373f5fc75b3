"""UDP sockets to one DNS server, shared by the questions that are out at the same time.

A forger of answers has to guess port, id and question (RFC 5452 §9.2). A port is drawn by the system, takes at most
QUESTIONS_A_PORT questions, each with a random id of its own, and is given up as soon as none of them is out, so that
nobody gets to know one by asking.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from bulkmail.dns.servers import Server

T = TypeVar("T")

QUESTIONS_A_PORT = 64
_DATAGRAM_BYTES = 16384  # room for servers that send more than they were asked to
_DATAGRAMS_AT_ONCE = 64


class Ports:
    """The sockets of one server; of one event loop at a time. None is open while nothing is asked."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._current: _Port | None = None

    async def ask(self, wire: bytes, accept: Callable[[bytes], T | None], *, seconds: float) -> T:
        """What `accept` makes of the first datagram that it does not return None for, or raises for it.

        `wire` is the question behind its id. Raises OSError where the server cannot be reached, TimeoutError.
        """
        port = self._current
        if port is None or port.asked >= QUESTIONS_A_PORT:
            port = self._current = _Port(self._server)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        number = port.number()
        port.waiting[number] = answer, accept
        limit = loop.call_later(seconds, _give_up, answer)
        try:
            port.send(number + wire)
            return await answer
        finally:
            limit.cancel()
            del port.waiting[number]
            if answer.done() and not answer.cancelled():
                # Looked at, should a timeout have been faster by a hair.
                answer.exception()
            # An exception of its own would know this frame, and the two keep each other until the collector comes.
            del answer
            if not port.waiting:
                port.close()
                if self._current is port:
                    self._current = None


def _give_up(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


class _Port:
    def __init__(self, server: Server) -> None:
        self.asked = 0
        self.waiting: dict[bytes, tuple[asyncio.Future[Any], Callable[[bytes], Any]]] = {}
        self._socket = socket.socket(server.family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            # Connected: the kernel drops datagrams of others and reports a closed port as an error.
            self._socket.connect(server.address)
        except OSError:
            self._socket.close()
            raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._read)

    def number(self) -> bytes:
        """An id that is not out."""
        while (number := os.urandom(2)) in self.waiting:
            pass
        return number

    def send(self, data: bytes) -> None:
        self.asked += 1
        self._socket.send(data)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        try:
            for _ in range(_DATAGRAMS_AT_ONCE):
                self._take(self._socket.recv(_DATAGRAM_BYTES))
        except BlockingIOError:
            return
        except OSError as error:
            for answer, _ in self.waiting.values():
                if not answer.done():
                    answer.set_exception(type(error)(*error.args))

    def _take(self, data: bytes) -> None:
        answer, accept = self.waiting.get(data[:2], (None, None))
        if answer is None or accept is None or answer.done():
            return
        try:
            accepted = accept(data)
        except Exception as error:
            answer.set_exception(error)
        else:
            if accepted is not None:
                answer.set_result(accepted)
