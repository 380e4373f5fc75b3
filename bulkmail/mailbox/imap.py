"""An IMAP4 folder over TLS (RFC 9051, RFC 3501): fetched by UID, emptied by UID, watched with IDLE (RFC 2177)."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError, LoginError

from bulkmail.mailbox.place import (
    BATCH,
    TIMEOUT_SECONDS,
    Fetched,
    MailboxError,
    MailboxPlace,
    told_of,
    verified_context,
)


class ImapMailbox:
    """See `Mailbox`. Removed messages are deleted, or with `move_to` moved into that folder."""

    def __init__(
        self, place: MailboxPlace, password: str, *, ca_file: str | None = None, move_to: str | None = None
    ) -> None:
        self._place = place
        self._move_to = move_to
        with self._errors():
            self._client = IMAPClient(
                place.host,
                place.port,
                ssl=True,
                ssl_context=verified_context(ca_file),
                timeout=TIMEOUT_SECONDS,
            )
        try:
            with self._errors():
                self._log_in(password)
        except BaseException:
            self.close()
            raise

    def _log_in(self, password: str) -> None:
        try:
            if self._client.has_capability("AUTH=PLAIN"):
                # LOGIN has no character outside ASCII (RFC 3501 §6.2.3), PLAIN has UTF-8 (RFC 4616).
                answer = f"\0{self._place.user}\0{password}".encode()
                self._client.sasl_login("PLAIN", lambda challenge: answer)
            else:
                self._client.login(self._place.user, password)
        except LoginError:
            raise MailboxError(f"{self._place}: user or password is refused", final=True) from None
        if not self._client.folder_exists(self._place.folder):
            raise MailboxError(f"{self._place}: no such folder", final=True)
        if self._move_to is not None and not self._client.folder_exists(self._move_to):
            self._client.create_folder(self._move_to)
        self._client.select_folder(self._place.folder)
        self._idles = self._client.has_capability("IDLE")

    def batches(self, size_limit: int) -> Iterator[list[Fetched]]:
        with self._errors():
            found = sorted(self._client.search(["NOT", "DELETED"]))
        for start in range(0, len(found), BATCH):
            with self._errors():
                batch = self._batch(found[start : start + BATCH], size_limit)
            yield batch

    def _batch(self, uids: list[int], size_limit: int) -> list[Fetched]:
        sizes = {uid: data[b"RFC822.SIZE"] for uid, data in self._client.fetch(uids, ["RFC822.SIZE"]).items()}
        fitting = [uid for uid, size in sizes.items() if size <= size_limit]
        fetched = []
        for uid in uids:
            if uid not in sizes:
                continue  # somebody else has deleted it meanwhile
            data = None
            if uid in fitting:
                # One by one: a batch of the largest would fill the memory.
                answer = self._client.fetch([uid], ["BODY.PEEK[]"]).get(uid)
                if answer is None:
                    continue
                data = answer[b"BODY[]"]
            fetched.append(Fetched(ident=str(uid), size=sizes[uid], data=data))
        return fetched

    def remove(self, idents: Sequence[str]) -> None:
        uids = [int(ident) for ident in idents]
        if not uids:
            return
        with self._errors():
            if self._move_to is not None and self._client.has_capability("MOVE"):
                self._client.move(uids, self._move_to)
                return
            if self._move_to is not None:
                self._client.copy(uids, self._move_to)
            self._client.delete_messages(uids)
            if self._client.has_capability("UIDPLUS"):
                # Not what others have marked as deleted.
                self._client.uid_expunge(uids)
            else:
                self._client.expunge()

    def commit(self) -> None:
        """IMAP removes at once."""

    def wait(self, seconds: float, stopping: Callable[[], bool]) -> bool:
        """News may also be told by the answers before and after: what is told anywhere counts."""
        with self._errors():
            until = time.monotonic() + seconds
            news = _tells_of_mail(self._client.noop()[1])
            if news:
                return True
            self._client.idle()
            try:
                while not news and not stopping() and time.monotonic() < until:
                    news = _tells_of_mail(self._client.idle_check(timeout=1.0))
            finally:
                told = self._client.idle_done()[1]
            return news or _tells_of_mail(told)

    @property
    def idles(self) -> bool:
        """Whether the server tells of news by itself."""
        return bool(self._idles)

    def close(self) -> None:
        with suppress(IMAPClientError, OSError):
            self._client.logout()
        with suppress(IMAPClientError, OSError):
            self._client.shutdown()

    def _errors(self) -> AbstractContextManager[None]:
        return told_of(self._place, IMAPClientError)


def _tells_of_mail(answers: Sequence[object]) -> bool:
    return any(isinstance(answer, tuple) and b"EXISTS" in answer for answer in answers)
