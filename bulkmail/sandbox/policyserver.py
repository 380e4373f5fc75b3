"""The web server of the sandbox: it has one page for each domain, its MTA-STS policy, and knows no other."""

import asyncio
import ssl
from typing import cast

from bulkmail.sandbox.zone import Zone

PATH = "/.well-known/mta-sts.txt"
HEAD_BYTES = 8192
HEAD_SECONDS = 10.0


class PolicyServer:
    """Answers one request a connection, over TLS."""

    def __init__(self, zone: Zone, context: ssl.SSLContext) -> None:
        self._zone = zone
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, address: str) -> int:
        """Listen at a free port, which is returned; OSError where none can be had."""
        self._server = await asyncio.start_server(self._serve, address, 0, ssl=self._context, limit=HEAD_BYTES)
        return cast(int, self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening, and cut the connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(self.answer(head.decode("latin-1")))
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    def answer(self, head: str) -> bytes:
        """The whole answer to the head of a request."""
        request, *lines = head.split("\r\n")
        method, _, rest = request.partition(" ")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        host = fields.get("host", "").partition(":")[0].lower()
        policy = self._zone.sts_policy(host.removeprefix("mta-sts.")) if host.startswith("mta-sts.") else None
        if method != "GET" or rest.partition(" ")[0] != PATH or policy is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        body = policy.encode()
        head_lines = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        return head_lines.encode() + b"Connection: close\r\n\r\n" + body
