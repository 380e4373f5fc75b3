"""Where a mailbox is, as a URL says it, and what every kind of mailbox can do."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from bulkmail.errors import RemoteError

IMAPS_PORT, POP3S_PORT = 993, 995
TIMEOUT_SECONDS = 60.0
BATCH = 50


class MailboxError(RemoteError):
    """The server cannot be reached, refuses us, or broke its protocol; `final` where trying again cannot help."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        self.final = final
        super().__init__(message)


class MailboxPlace(Struct, frozen=True, kw_only=True):
    """A mailbox on a server; `folder` is of IMAP alone."""

    protocol: Literal["imaps", "pop3s"]
    host: str
    port: int
    user: str
    folder: str = "INBOX"

    def __str__(self) -> str:
        folder = f"/{self.folder}" if self.protocol == "imaps" else ""
        return f"{self.protocol}://{self.user}@{self.host}{folder}"


class Fetched(Struct, frozen=True, kw_only=True):
    """One message; `data` is None where it is larger than was asked for, and was left where it is."""

    ident: str
    size: int
    data: bytes | None


class Mailbox(Protocol):
    """A mailbox that is open. Every call may raise MailboxError; then it is of no more use but to `close`."""

    def batches(self, size_limit: int) -> Iterator[list[Fetched]]:
        """All messages there are now, some at a time; those of a batch may be removed before the next is asked for."""

    def remove(self, idents: Sequence[str]) -> None:
        """Delete (or move) these messages of the last batch; with POP3 it holds once `commit` returns."""

    def commit(self) -> None:
        """What was removed is gone for good."""

    def close(self) -> None:
        """Let go, whatever state it is in."""


def parse_place(url: str) -> MailboxPlace:
    """`imaps://user@host[:port]/folder` or `pop3s://user@host[:port]`; ValueError with a sentence for all else.

    A password has no place in it, where process lists and histories would show it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme not in ("imaps", "pop3s"):
        raise ValueError(
            f"{parts.scheme or 'nothing'}:// is not fetched from; write imaps://user@host/INBOX or pop3s://user@host"
        )
    if parts.password is not None:
        raise ValueError("has a password in it, where others can see it; use --password-env or --password-file")
    if not parts.hostname or not parts.username:
        raise ValueError("has no user or no host; write imaps://user@host/INBOX")
    return MailboxPlace(
        protocol="imaps" if parts.scheme == "imaps" else "pop3s",
        host=parts.hostname,
        port=port or (IMAPS_PORT if parts.scheme == "imaps" else POP3S_PORT),
        user=unquote(parts.username),
        folder=unquote(parts.path.strip("/")) or "INBOX",
    )


@contextmanager
def told_of(place: MailboxPlace, its_own: type[Exception]) -> Iterator[None]:
    """Failures of the connection, and the library's own, as a MailboxError that names the place."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise MailboxError(f"{place}: its certificate is not good: {error.verify_message}", final=True) from None
    except (its_own, OSError, ValueError) as error:
        first = error.args[0] if error.args else None
        said = first.decode("utf-8", "replace") if isinstance(first, bytes) else error
        raise MailboxError(f"{place}: {said}") from None


def verified_context(ca_file: str | None) -> ssl.SSLContext:
    """TLS 1.2 or better, the certificate checked against the system's authorities, or those in `ca_file`."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise MailboxError(f"{ca_file}: no certificates: {error}", final=True) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
