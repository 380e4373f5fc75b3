"""An HTTPS server on loopback that says, byte for byte, what it is told to."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


def says(body: bytes, *, status: str = "200 OK", kind: str = "text/plain", **headers: str) -> Script:
    """One answer, whole, at once; `location="..."` and the like become headers."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode()

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(head + body)

    return script


def endless(piece: bytes) -> Script:
    """A body without end, as fast as it is read."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()

    return script


def dripping(seconds: float) -> Script:
    """A body of one byte every `seconds`."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"v")
            await asyncio.sleep(seconds)

    return script


class HttpsServer:
    """`scripts` by host and path (`mta-sts.a.example/.well-known/mta-sts.txt`); anything else is 404.

    `asked` lists what was asked for, `heads` and `bodies` what came with it.
    """

    def __init__(self, context: ssl.SSLContext, *, address: str = "127.0.0.1") -> None:
        self.scripts: dict[str, Script] = {}
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.port = 0
        self.address = address
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.address, 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            host = next(line[6:] for line in head.split("\r\n") if line.lower().startswith("host: "))
            url = host.partition(":")[0] + path
            length = next(
                (line[16:] for line in head.split("\r\n") if line.lower().startswith("content-length: ")), "0"
            )
            self.bodies.append(await reader.readexactly(int(length)))
            self.heads.append(head)
            self.asked.append(url)
            await self.scripts.get(url, says(b"", status="404 Not Found"))(writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
