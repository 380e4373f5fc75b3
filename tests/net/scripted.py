"""A mail exchanger that plays a script over a real socket: what it must hear, what it says, when it cuts."""

import asyncio
import re
from collections.abc import Sequence

Step = str | bytes


class ScriptedServer:
    """Steps: `S: text` says a line, `C: regex` waits for a line, `D` waits for the end of data, `X` closes, `R` resets.

    `heard` has all lines received outside of data, `messages` the data; `error` what did not fit the script.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self.heard: list[str] = []
        self.messages: list[bytes] = []
        self.error: str | None = None
        self.connections = 0
        self.done = asyncio.Event()
        self.port = 0

    async def __aenter__(self) -> "ScriptedServer":
        self._server = await asyncio.start_server(self._play, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            for step in self._steps:
                if isinstance(step, bytes):
                    writer.write(step)
                elif step.startswith("S: "):
                    writer.write(step[3:].encode() + b"\r\n")
                elif step.startswith("C: "):
                    line = (await reader.readuntil(b"\r\n"))[:-2].decode()
                    self.heard.append(line)
                    if not re.fullmatch(step[3:], line):
                        self.error = f"heard {line!r}, expected {step[3:]!r}"
                        return
                elif step == "D":
                    data = await reader.readuntil(b"\r\n.\r\n")
                    self.messages.append(data[:-3])
                elif step == "X":
                    return
                elif step == "R":
                    writer.transport.abort()
                    return
            while await reader.read(4096):
                pass
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.error = f"the client left at a step of the script: {error}"
        finally:
            writer.close()
            self.done.set()
