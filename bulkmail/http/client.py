"""A client for HTTPS that costs nothing before its first request: what a send may need, and mostly does not."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from bulkmail.http.session import Session

# The addresses of a host name; empty, or OSError with a sentence, where there are none now.
AddressLookup = Callable[[str], Awaitable[Sequence[str]]]


class HttpAnswer(Struct, frozen=True):
    """Status, media type (without parameters) and body."""

    status: int
    content_type: str
    body: bytes


class HttpClient:
    """Makes requests; of one event loop. `allow_private` is for test networks and the sandbox.

    `context` is the TLS context; None for the system's roots. Certificates are always verified by it.
    """

    def __init__(
        self,
        look_up: AddressLookup,
        *,
        allow_private: bool = False,
        context: ssl.SSLContext | None = None,
        connections: int = 20,
    ) -> None:
        self._look_up = look_up
        self._allow_private = allow_private
        self._context = context
        self._connections = connections
        self._session: Session | None = None
        self._opening = asyncio.Lock()

    async def request(
        self,
        method: str,
        url: str,
        *,
        timeout_seconds: float,
        limit_bytes: int,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> HttpAnswer:
        """One request, one answer, whatever its status; a redirect is an answer. Raises HttpError.

        `timeout_seconds` is for all of it; a body of more than `limit_bytes` is an error (`size`).
        """
        session = await self._opened()
        return await session.request(
            method, url, timeout_seconds=timeout_seconds, limit_bytes=limit_bytes, body=body, headers=headers
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def _opened(self) -> "Session":
        async with self._opening:
            if self._session is None:
                session, context = await asyncio.to_thread(_loaded, self._context)
                self._session = session(
                    self._look_up, allow_private=self._allow_private, context=context, connections=self._connections
                )
        return self._session


def _loaded(context: ssl.SSLContext | None) -> "tuple[type[Session], ssl.SSLContext]":
    # The library takes a tenth of a second to load, the system's roots a third of that: not at every start, and on a
    # thread, so that nothing else has to wait.
    from bulkmail.http.session import Session

    return Session, context if context is not None else ssl.create_default_context()
