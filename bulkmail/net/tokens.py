"""Bearer tokens for AUTH from a command of the user's: run when needed, kept until the server refuses them."""

import asyncio
import os
import shlex
import signal
from contextlib import suppress

TIMEOUT_SECONDS = 30.0
MAX_TOKEN_BYTES = 8192


class TokenError(Exception):
    """The command gave no token; says how it failed, and nothing of what it printed."""


class _Output(asyncio.SubprocessProtocol):
    """What a command prints; `over` once it has ended and nobody can print more, or has printed too much."""

    def __init__(self, over: asyncio.Future[None], exited: asyncio.Future[None]) -> None:
        self.data = bytearray()
        self.closed = False
        self.over = over
        self.exited = exited

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if len(self.data) <= MAX_TOKEN_BYTES:
            self.data += data
        if len(self.data) > MAX_TOKEN_BYTES:
            self._end()

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._end()

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class TokenSource:
    """One relay's tokens. Connections that want one at the same time wait for the same run of the command."""

    def __init__(self, command: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._words = shlex.split(command)
        self._timeout_seconds = timeout_seconds
        self._token: str | None = None
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"TokenSource({self._words[0]!r}, ...)"

    @property
    def kept(self) -> bool:
        """Whether there is a token from before, which may be too old."""
        return self._token is not None

    async def token(self) -> str:
        """The token, from the command where there is none yet. Raises TokenError."""
        async with self._lock:
            if self._token is None:
                self._token = await self._run()
            return self._token

    def refuse(self, token: str) -> None:
        """The server did not take this one: the next is fetched anew, unless that has been done already."""
        if self._token == token:
            self._token = None

    async def _run(self) -> str:
        name = self._words[0]
        loop = asyncio.get_running_loop()
        try:
            transport, output = await loop.subprocess_exec(
                lambda: _Output(loop.create_future(), loop.create_future()),
                *self._words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise TokenError(f"the token command {name} cannot be run: {error.strerror or error}") from None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await output.over
        except TimeoutError:
            raise TokenError(f"the token command {name} did not end in {self._timeout_seconds:g} s") from None
        finally:
            if not output.closed:
                # With what it has started itself: that would outlive it, and keep its output open.
                with suppress(ProcessLookupError):
                    os.killpg(transport.get_pid(), signal.SIGKILL)
            await output.exited
            transport.close()
        if len(output.data) > MAX_TOKEN_BYTES:
            raise TokenError(f"the token command {name} printed more than {MAX_TOKEN_BYTES} bytes")
        status = transport.get_returncode()
        if status != 0:
            raise TokenError(f"the token command {name} failed with exit code {status}; run it by hand to see why")
        token = output.data.decode("ascii", "replace").strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise TokenError(f"the token command {name} printed no token: one line without spaces is needed")
        return token
