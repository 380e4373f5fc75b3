"""A mail exchanger that plays a script over a real socket: what it must hear, what it says, when it cuts."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

Step = str | bytes

# How often the loop turns in a pause: both ends run on it, so that all that was written has been read by then.
TURNS = 8
# Of one message.
MOST_BYTES = 1 << 23


class Cut(NamedTuple):
    """The server's side ends after so many bytes, whatever the script goes on with."""

    bytes_said: int
    how: Literal["FIN", "RST"]


class Body(NamedTuple):
    """A message that came in whole, and how much the server had said by then."""

    data: bytes
    said: int


class _Over(Exception):
    """The script ends here."""


class ScriptedServer:
    """Steps, one connection:

        S: text     says a line               C: regex   waits for a line, which must match
        b"..."      says these bytes          D          waits for the end of data
        P           lets the client read      B          waits for BDAT n LAST and its n bytes
        E           ends its output (FIN)     T          begins TLS as the server
        X           closes                    R          resets
        F           begins TLS, which the client breaks off
        ! word      calls `act` with the word

    `heard` has all lines received outside of data, `messages` the data, `bodies` the same with the point in time,
    `said` all bytes said; `error` what did not fit the script. With `chunk`, all is said in pieces of so many bytes.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        act: Callable[[str], Awaitable[None]] | None = None,
        tls: ssl.SSLContext | None = None,
        cut: Cut | None = None,
        chunk: int | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self._steps = steps
        self._address = address
        self._act = act
        self._tls = tls
        self._cut = cut
        self._chunk = chunk
        self.heard: list[str] = []
        self.bodies: list[Body] = []
        self.said = bytearray()
        self.error: str | None = None
        self.cut_off = False
        self.connections = 0
        self.done = asyncio.Event()
        self.port = 0

    @property
    def messages(self) -> list[bytes]:
        return [body.data for body in self.bodies]

    async def __aenter__(self) -> "ScriptedServer":
        self._server = await asyncio.start_server(self._play, self._address, 0, limit=MOST_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            for step in self._steps:
                await self._step(step, reader, writer)
            while await reader.read(65536):
                pass
        except _Over:
            pass
        except (asyncio.IncompleteReadError, OSError) as error:
            self.error = f"the client left at a step of the script: {error}"
        finally:
            writer.close()
            self.done.set()

    async def _step(self, step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(step, bytes):
            await self._say(step, reader, writer)
        elif step.startswith("S: "):
            await self._say(step[3:].encode() + b"\r\n", reader, writer)
        elif step.startswith("C: "):
            line = (await reader.readuntil(b"\r\n"))[:-2].decode()
            self.heard.append(line)
            if not re.fullmatch(step[3:], line):
                self.error = f"heard {line!r}, expected {step[3:]!r}"
                raise _Over
        elif step == "D":
            data = await reader.readuntil(b"\r\n.\r\n")
            self.bodies.append(Body(data[:-3], len(self.said)))
        elif step == "B":
            line = (await reader.readuntil(b"\r\n"))[:-2].decode()
            self.heard.append(line)
            if (found := re.fullmatch(r"BDAT (\d+) LAST", line)) is None:
                self.error = f"heard {line!r}, expected BDAT n LAST"
                raise _Over
            self.bodies.append(Body(await reader.readexactly(int(found[1])), len(self.said)))
        elif step == "P":
            await pause()
        elif step == "T":
            assert self._tls is not None, "a script with TLS needs a context"
            await writer.start_tls(self._tls)
        elif step == "F":
            assert self._tls is not None, "a script with TLS needs a context"
            with suppress(ConnectionError, ssl.SSLError):
                await writer.start_tls(self._tls)
            raise _Over
        elif step.startswith("! "):
            assert self._act is not None, "a script that acts needs an actor"
            await self._act(step[2:])
        elif step == "E":
            await self._finish(reader, writer)
        elif step == "X":
            raise _Over
        elif step == "R":
            writer.transport.abort()
            raise _Over
        else:
            raise AssertionError(f"no such step: {step!r}")

    async def _say(self, data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = self._cut
        if cut is not None and len(self.said) + len(data) >= cut.bytes_said:
            data = data[: cut.bytes_said - len(self.said)]
            self.cut_off = True
        for start in range(0, len(data), self._chunk or len(data) or 1):
            writer.write(data[start : start + self._chunk] if self._chunk else data)
            if self._chunk:
                await pause(2)
        self.said += data
        if cut is not None and self.cut_off:
            if cut.how == "FIN":
                await self._finish(reader, writer)
            writer.transport.abort()
            raise _Over

    async def _finish(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """FIN, and no RST from what the client still writes."""
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()
        while await reader.read(65536):
            pass
        raise _Over


async def pause(turns: int = TURNS) -> None:
    """Let the other end, which runs on the same loop, read and answer."""
    for _ in range(turns):
        await asyncio.sleep(0)
