"""A POP3 mailbox over TLS (RFC 1939, RFC 8314): what is deleted is gone with QUIT, and only then."""

import poplib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress

from bulkmail.mailbox.place import (
    BATCH,
    TIMEOUT_SECONDS,
    Fetched,
    MailboxError,
    MailboxPlace,
    told_of,
    verified_context,
)

LINE_LIMIT = 1 << 20


class _LongLines(poplib.POP3_SSL):
    """The library's client refuses lines over 2 KB, which some systems write into the messages they return."""

    def _getline(self) -> tuple[bytes, int]:
        line = self.file.readline(LINE_LIMIT + 1)
        if len(line) > LINE_LIMIT or not line:
            raise poplib.error_proto("line too long" if line else "-ERR EOF")
        return line.rstrip(b"\r\n"), len(line)


class PopMailbox:
    """See `Mailbox`. After `commit` it is closed: the next look is another connection's."""

    def __init__(self, place: MailboxPlace, password: str, *, ca_file: str | None = None) -> None:
        self._place = place
        with self._errors():
            self._client = _LongLines(
                place.host, place.port, timeout=TIMEOUT_SECONDS, context=verified_context(ca_file)
            )
        self._open = True
        try:
            with self._errors():
                self._log_in(password)
        except BaseException:
            self.close()
            raise

    def _log_in(self, password: str) -> None:
        self._client.user(self._place.user)
        try:
            self._client.pass_(password)
        except poplib.error_proto as error:
            if b"[IN-USE]" in (error.args[0] if isinstance(error.args[0], bytes) else str(error).encode()):
                raise MailboxError(f"{self._place}: in use by another program") from None
            raise MailboxError(f"{self._place}: user or password is refused", final=True) from None

    def batches(self, size_limit: int) -> Iterator[list[Fetched]]:
        with self._errors():
            sizes = [line.split() for line in self._client.list()[1]]
        for start in range(0, len(sizes), BATCH):
            with self._errors():
                batch = [
                    self._fetched(int(number), int(size), size_limit) for number, size in sizes[start : start + BATCH]
                ]
            yield batch

    def _fetched(self, number: int, size: int, size_limit: int) -> Fetched:
        data = None
        if size <= size_limit:
            data = b"".join(line + b"\r\n" for line in self._client.retr(number)[1])
        return Fetched(ident=str(number), size=size, data=data)

    def remove(self, idents: Sequence[str]) -> None:
        with self._errors():
            for ident in idents:
                self._client.dele(int(ident))

    def commit(self) -> None:
        with self._errors():
            self._open = False
            self._client.quit()

    def close(self) -> None:
        """Without QUIT: what was marked for deletion stays."""
        if self._open:
            with suppress(poplib.error_proto, OSError):
                self._client.rset()
        self._open = False
        with suppress(poplib.error_proto, OSError):
            self._client.close()

    def _errors(self) -> AbstractContextManager[None]:
        return told_of(self._place, poplib.error_proto)
