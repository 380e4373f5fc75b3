"""Bearer tokens for AUTH from a command of the user's: run when needed, kept until the server refuses them."""

import asyncio
import shlex
from contextlib import suppress

TIMEOUT_SECONDS = 30.0
MAX_TOKEN_BYTES = 8192


class TokenError(Exception):
    """The command gave no token; says how it failed, and nothing of what it printed."""


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
        try:
            process = await asyncio.create_subprocess_exec(
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
                assert process.stdout is not None
                output = await process.stdout.read(MAX_TOKEN_BYTES + 1)
                if len(output) > MAX_TOKEN_BYTES:
                    raise TokenError(f"the token command {name} printed more than {MAX_TOKEN_BYTES} bytes")
                output += await process.stdout.read(MAX_TOKEN_BYTES + 1)
                status = await process.wait()
        except TimeoutError:
            raise TokenError(f"the token command {name} did not end in {self._timeout_seconds:g} s") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if status != 0:
            raise TokenError(f"the token command {name} failed with exit code {status}; run it by hand to see why")
        token = output.decode("ascii", "replace").strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise TokenError(f"the token command {name} printed no token: one line without spaces is needed")
        return token
