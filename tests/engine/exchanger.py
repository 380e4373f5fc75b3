"""A mail exchanger that behaves as a function says, and writes down what it saw."""

import asyncio
import base64
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from msgspec import Struct
from scramp import ScramException

CLOSE, RESET, HANG = "!close", "!reset", "!hang"
EXTENSIONS = ("PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")

# What is said at a stage (connect, ehlo, starttls, auth, mail, rcpt, data, message), to whom, about which address or
# argument: a reply, CLOSE, RESET, HANG (only at message), or None for the usual yes. A 421 closes, as it must.
Behaviour = Callable[[str, "Guest", str], str | None]

_YES = {
    "connect": "220 mx.example ESMTP",
    "mail": "250 2.1.0 ok",
    "rcpt": "250 2.1.5 ok",
    "data": "354 go on",
    "message": "250 2.0.0 queued",
    "starttls": "220 go on",
    "auth": "235 2.7.0 welcome",
}


class Accepted(Struct, frozen=True):
    """A message that was told 250, or was kept although the reply was cut off."""

    time: float
    connection: int
    recipient: str
    data: bytes


class Guest:
    """One connection."""

    def __init__(self, number: int, peer: str) -> None:
        self.number = number
        self.peer = peer
        self.messages = 0
        self.encrypted = False
        self.opened = time.monotonic()
        self.closed: float | None = None
        self.commands: list[str] = []


def yes(stage: str, guest: Guest, argument: str) -> str | None:
    return None


class Exchanger:
    """Listens on one address. `accepted` are the messages it took, `guests` its connections, `told` all refusals.

    A message whose reply is CLOSE, RESET or HANG is taken: the sender cannot know.
    """

    def __init__(
        self,
        behaviour: Behaviour = yes,
        *,
        extensions: tuple[str, ...] = EXTENSIONS,
        tls_context: ssl.SSLContext | None = None,
        esmtp: bool = True,
        scram: Callable[[str], Any] | None = None,
    ) -> None:
        self.behaviour = behaviour
        self.extensions = extensions
        self.accepted: list[Accepted] = []
        self.guests: list[Guest] = []
        self.told: list[tuple[str, str]] = []
        self.most_at_once = 0
        self.address = ""
        self._tls_context = tls_context
        self._esmtp = esmtp
        self._scram = scram
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def recipients(self) -> list[str]:
        return [message.recipient for message in self.accepted]

    async def start(self, address: str, port: int) -> int:
        self.address = address
        self._server = await asyncio.start_server(self._serve, address, port, limit=1 << 24)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        guest = Guest(len(self.guests) + 1, writer.get_extra_info("peername")[0])
        self.guests.append(guest)
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        try:
            await self._talk(guest, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            self._open -= 1
            guest.closed = time.monotonic()
            self._tasks.discard(task)
            writer.close()

    def _say(self, writer: asyncio.StreamWriter, stage: str, guest: Guest, argument: str) -> str:
        """The reply's code; "" where the conversation is over."""
        reply = self.behaviour(stage, guest, argument) or _YES[stage]
        if reply == RESET:
            writer.transport.abort()
            return ""
        if reply == CLOSE:
            return ""
        writer.write(reply.encode() + b"\r\n")
        if reply[0] in "45":
            self.told.append((stage, argument))
        return "" if reply.startswith("421") else reply[:3]

    async def _talk(self, guest: Guest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._say(writer, "connect", guest, ""):
            return
        sender, recipient = False, ""
        while True:
            line = (await reader.readuntil(b"\r\n"))[:-2].decode("utf-8", "replace")
            guest.commands.append(line)
            verb = line.partition(" ")[0].upper()
            code = "250"
            if verb in ("EHLO", "HELO"):
                code = self._greet(writer, guest, verb)
            elif verb == "STARTTLS":
                code = self._say(writer, "starttls", guest, "")
                if code == "220" and self._tls_context is None:
                    # What begins as TLS and is none.
                    await reader.read(1024)
                    writer.write(b"500 5.5.1 what is that?\r\n")
                    return
                if code == "220":
                    await writer.start_tls(self._tls_context)  # type: ignore[arg-type]
                    guest.encrypted = True
            elif verb == "AUTH":
                code = self._say(writer, "auth", guest, await self._secret(line, reader, writer))
            elif verb == "MAIL":
                code = self._say(writer, "mail", guest, line[line.index("<") + 1 : line.index(">")])
                sender, recipient = code.startswith("2"), ""
            elif verb == "RCPT" and not sender:
                writer.write(b"503 5.5.1 no sender\r\n")
            elif verb == "RCPT":
                address = line[line.index("<") + 1 : line.rindex(">")]
                code = self._say(writer, "rcpt", guest, address)
                recipient = address if code.startswith("2") else recipient
            elif verb == "DATA":
                if not recipient:
                    writer.write(b"503 5.5.1 no recipient\r\n")
                    continue
                code = self._say(writer, "data", guest, recipient)
                if code == "354":
                    lines = []
                    while (text := await reader.readuntil(b"\r\n")) != b".\r\n":
                        lines.append(text)
                    code = self._take(writer, guest, recipient, b"".join(lines))
                    if code == HANG:
                        await reader.read()
                        return
            elif verb == "BDAT":
                # One chunk a message, as the client writes them.
                data = await reader.readexactly(int(line.split()[1]))
                if not recipient:
                    writer.write(b"503 5.5.1 no recipient\r\n")
                    continue
                code = self._take(writer, guest, recipient, data)
                sender, recipient = False, ""
            elif verb == "QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                return
            else:
                if verb == "RSET":
                    sender, recipient = False, ""
                writer.write(b"250 2.0.0 ok\r\n")
            if not code:
                return
            if not reader._buffer:  # type: ignore[attr-defined]  # replies of one flight travel together
                await writer.drain()

    async def _secret(self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """User name and password as AUTH PLAIN writes them."""
        if line.startswith("AUTH PLAIN "):
            return base64.b64decode(line.split(" ")[2]).decode()
        if line.startswith("AUTH XOAUTH2 "):
            return base64.b64decode(line.split(" ")[2]).decode()
        if line.startswith("AUTH SCRAM-SHA-256"):
            assert self._scram is not None
            server = self._scram(line.split(" ")[1])
            try:
                server.set_client_first(base64.b64decode(line.split(" ")[2]).decode())
            except ScramException as error:
                return f"e={error.server_error}"
            writer.write(b"334 " + base64.b64encode(server.get_server_first().encode()) + b"\r\n")
            with suppress(ScramException):  # which the last challenge says
                server.set_client_final(base64.b64decode(await reader.readuntil(b"\r\n")).decode())
            writer.write(b"334 " + base64.b64encode(server.get_server_final().encode()) + b"\r\n")
            return (await reader.readuntil(b"\r\n")).decode()
        words = []
        for prompt in (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"):
            writer.write(prompt)
            words.append(base64.b64decode(await reader.readuntil(b"\r\n")).decode())
        return "\0" + "\0".join(words)

    def _greet(self, writer: asyncio.StreamWriter, guest: Guest, verb: str) -> str:
        reply = self.behaviour("ehlo", guest, verb)
        if reply is None and verb == "EHLO" and not self._esmtp:
            reply = "502 5.5.1 what"
        if reply is not None:
            if reply == RESET:
                writer.transport.abort()
            elif reply != CLOSE:
                writer.write(reply.encode() + b"\r\n")
            return "" if reply in (RESET, CLOSE) or reply.startswith("421") else reply[:3]
        offers = list(self.extensions) if verb == "EHLO" else []
        if self._tls_context is not None and not guest.encrypted and verb == "EHLO":
            offers.append("STARTTLS")
        lines = ["mx.example", *offers]
        for line in lines[:-1]:
            writer.write(f"250-{line}\r\n".encode())
        writer.write(f"250 {lines[-1]}\r\n".encode())
        return "250"

    def _take(self, writer: asyncio.StreamWriter, guest: Guest, recipient: str, data: bytes) -> str:
        reply = self.behaviour("message", guest, recipient)
        if reply is None or reply[0] in "2!":
            guest.messages += 1
            self.accepted.append(Accepted(time.monotonic(), guest.number, recipient, data))
        if reply == RESET:
            writer.transport.abort()
            return ""
        if reply == CLOSE:
            return ""
        if reply == HANG:
            return HANG
        writer.write((reply or _YES["message"]).encode() + b"\r\n")
        return "" if reply is not None and reply.startswith("421") else "250"
