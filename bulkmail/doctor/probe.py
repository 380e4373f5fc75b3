"""Look at one SMTP server through aiosmtplib, which shares no code with the engine: greeting, EHLO, TLS, login."""

import asyncio
import socket
import ssl
from datetime import UTC, datetime
from email.utils import format_datetime

import aiosmtplib
from msgspec import Struct


class NotReached(Exception):
    """No TCP connection; the text says why."""


class Certificate(Struct, frozen=True, kw_only=True):
    """`distrust`: why it was not accepted, None where it was; `expires` Unix seconds where it is known."""

    distrust: str | None
    version: str
    expires: float | None = None

    def describe(self) -> str:
        until = f", valid until {format_datetime(datetime.fromtimestamp(self.expires, UTC))}" if self.expires else ""
        return f"{self.version}{until}"


async def connected(
    host: str, ip: str, port: int, *, source: str | None, ehlo: str, tls: ssl.SSLContext | None, seconds: float
) -> aiosmtplib.SMTP:
    """A greeted client (with `tls`: over TLS from the first byte). Raises NotReached and any of FAILURES."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if source is not None and (":" in source) == (":" in ip):
            sock.bind((source, 0))
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, (ip, port))
    except TimeoutError:
        sock.close()
        raise NotReached(f"{ip}:{port} did not answer within {seconds:g} s") from None
    except OSError as error:
        sock.close()
        raise NotReached(f"{ip}:{port}: {error.strerror or error}") from None
    client = aiosmtplib.SMTP(
        hostname=host,
        port=None,
        sock=sock,
        local_hostname=ehlo,
        start_tls=False,
        use_tls=tls is not None,
        tls_context=tls,
        timeout=seconds,
    )
    try:
        await client.connect()
        await client.ehlo()
    except BaseException:
        client.close()
        sock.close()
        raise
    return client


async def secure(client: aiosmtplib.SMTP, host: str, context: ssl.SSLContext) -> None:
    """STARTTLS and EHLO again."""
    await client.starttls(server_hostname=host, tls_context=context)
    await client.ehlo()


def certificate_of(client: aiosmtplib.SMTP, distrust: str | None) -> Certificate:
    """What the connection is secured with; `distrust` says why the certificate was not accepted at first."""
    session = client.get_transport_info("ssl_object")
    if session is None:
        return Certificate(distrust=distrust, version="in clear")
    until = (session.getpeercert() or {}).get("notAfter")
    expires = float(ssl.cert_time_to_seconds(str(until))) if until else None
    return Certificate(distrust=distrust, version=str(session.version()), expires=expires)


async def leave(client: aiosmtplib.SMTP) -> None:
    """QUIT where that works, and close."""
    try:
        async with asyncio.timeout(2.0):
            await client.quit()
    except (aiosmtplib.SMTPException, OSError, TimeoutError):
        pass
    client.close()


def why(error: BaseException) -> str:
    """One line of what went wrong: the server's reply, or the reason of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {' '.join(error.message.split())}"[:300]
    if error.__cause__ is not None and not str(error):
        return why(error.__cause__)
    return " ".join(str(error).split())[:300] or type(error).__name__


def distrust_of(error: BaseException) -> str | None:
    """Why a certificate was refused, where that is what an error is about."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return seen.verify_message
        seen = seen.__cause__ or seen.__context__
    return "certificate verify failed" if "CERTIFICATE_VERIFY_FAILED" in str(error) else None


FAILURES = (aiosmtplib.SMTPException, OSError, TimeoutError, ssl.SSLError, ValueError)
