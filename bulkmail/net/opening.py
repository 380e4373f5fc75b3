"""Open a socket for a connection: from where, to where, for how long, with TLS from the first byte or without."""

import asyncio
import ssl
from collections.abc import Callable

from bulkmail.net.connection import Connection


async def connect(
    factory: Callable[[], Connection],
    address: str,
    port: int,
    *,
    source_address: str | None,
    timeout_seconds: float,
    tls_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
) -> Connection:
    """Open a TCP (with `tls_context`: TLS) connection; `factory` makes the Connection. Raises OSError, TimeoutError."""
    loop = asyncio.get_running_loop()
    local = (source_address, 0) if source_address else None
    async with asyncio.timeout(timeout_seconds):
        _, protocol = await loop.create_connection(
            factory,
            address,
            port,
            local_addr=local,
            ssl=tls_context,
            server_hostname=server_hostname if tls_context is not None else None,
        )
    return protocol
