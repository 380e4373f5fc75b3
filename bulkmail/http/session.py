"""One HTTP session whose names are looked up by us, and whose addresses are checked before they are used.

A name in a URL is somebody else's to choose. What it resolves to is judged here, and the connection goes to the very
address that was judged: a second look-up, which could say something else, never happens.
"""

import asyncio
import socket
import ssl
from ipaddress import ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from bulkmail.http.client import AddressLookup, HttpAnswer
from bulkmail.http.errors import HttpError
from bulkmail.policy.reach import forbidden_address

_MOST_ADDRESSES = 4
# For each address; a host that answers nothing must not hold a place for as long as one that is slow.
CONNECT_SECONDS = 10.0


class _Pinned(AbstractResolver):
    def __init__(self, look_up: AddressLookup, *, allow_private: bool) -> None:
        self._look_up = look_up
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = await self._look_up(host)
        if not addresses:
            raise OSError(f"{host} has no address")
        if not self._allow_private:
            allowed = [address for address in addresses if forbidden_address(address) is None]
            if not allowed:
                raise HttpError("address", f"{host} is {addresses[0]}, {forbidden_address(addresses[0])}")
            addresses = allowed
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses[:_MOST_ADDRESSES]
        ]

    async def close(self) -> None:
        pass


class Session:
    """Makes the requests of an `HttpClient`, as that says."""

    def __init__(
        self, look_up: AddressLookup, *, allow_private: bool, context: ssl.SSLContext, connections: int
    ) -> None:
        self._allow_private = allow_private
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_Pinned(look_up, allow_private=allow_private),
                use_dns_cache=False,
                ssl=context,
                limit=connections,
                force_close=True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "bulkmail", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            trust_env=False,
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        timeout_seconds: float,
        limit_bytes: int,
        body: bytes | None,
        headers: dict[str, str] | None,
    ) -> HttpAnswer:
        host = _host_of(url)
        self._refuse_literal(host)
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                self._session.request(method, url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                content = await _read(response, limit_bytes)
                return HttpAnswer(response.status, response.content_type, content)
        except TimeoutError:
            raise HttpError("time", f"{host} took more than {timeout_seconds:g} s") from None
        except aiohttp.ClientConnectorDNSError as error:
            raise HttpError("dns", f"{host}: {error.os_error}") from None
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
            raise HttpError("tls", f"{host}: {_tls_words(error)}") from None
        except aiohttp.ClientConnectionError as error:
            raise HttpError("connect", f"{host}: {error}") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise HttpError("protocol", f"{host}: {error or type(error).__name__}") from None

    async def close(self) -> None:
        await self._session.close()
        # Transports that were cut close their sockets in the loop's next turns.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _refuse_literal(self, host: str) -> None:
        """An address in place of a name never reaches the resolver."""
        try:
            ip_address(host)
        except ValueError:
            return
        if not self._allow_private and (reason := forbidden_address(host)) is not None:
            raise HttpError("address", f"{host} is {reason}")


async def _read(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit_bytes:
            raise HttpError("size", f"{response.url.raw_host} sent more than {limit_bytes:,} bytes")
    return bytes(body)


def _host_of(url: str) -> str:
    """The host in a URL, as A-labels. Raises HttpError where it is no URL."""
    try:
        return URL(url).raw_host or ""
    except ValueError as error:
        raise HttpError("protocol", f"{url[:200]!r} is no URL: {error}") from None


def _tls_words(error: Exception) -> str:
    for cause in (getattr(error, "certificate_error", None), getattr(error, "os_error", None)):
        if cause is not None:
            return getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or str(cause)
    return str(error)
