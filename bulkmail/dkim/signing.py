"""Sign messages: the DKIM-Signature lines to put in front of a header (RFC 6376 §3.5, §3.7, RFC 8463).

All that does not change from message to message is computed once for each set of header names: which lines are
signed, the h= tag, and each key's header with slots for t= and bh=. What is left is to canonicalise, hash and sign: one
native call a batch, without the GIL.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bulkmail.errors import CampaignError, InternalError
from bulkmail.model.campaign import DkimKey
from bulkmail.native.canonical import relaxed_body
from bulkmail.native.signing import Batch, Layout

if TYPE_CHECKING:
    from bulkmail.dkim.keys import SigningKey
    from bulkmail.native.lanes import LaneKey

# Named in h= once more than the message has them, even when it has none: nobody can add one unnoticed (RFC 6376 §8.15).
_SEALED = (
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
)
# The same once present; when absent, they are left to those who relay the message.
_SEALED_IF_PRESENT = ("Sender", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Feedback-ID")

_LINE_COLUMNS = 77
_LAYOUTS_KEPT = 256

_Pieces = tuple[bytes, bytes, bytes]


class Signer:
    """Signs with every one of its keys, in their order; without keys it signs nothing. Safe to share among threads."""

    def __init__(self, keys: "Iterable[SigningKey]") -> None:
        self.keys = tuple(keys)
        # A race makes a layout twice, which does no harm.
        self._layouts: tuple[Layout, ...] = ()
        self._idle: list[Batch] = []

    def accelerate(self) -> None:
        """Sign batches eight at a time with every key for which this machine can."""
        for key in self.keys:
            key.try_to_accelerate()

    def go_without_interpreter(self) -> None:
        """Sign without the interpreter's lock with every key for which this machine can."""
        for key in self.keys:
            key.go_without_interpreter()

    def sign(self, header: bytes, body: bytes, *, now: int) -> bytes:
        """The DKIM-Signature lines, one a key, to put in front of the header; b"" without keys.

        The header ends with the CRLF of its last line, the body begins after the blank line. `now`: Unix seconds, for
        t=. Raises `InternalError` unless the header has exactly one From.
        """
        if not self.keys:
            return b""
        batch = self._worked([b"%b\r\n%b" % (header, body)], now)
        lines = batch.lines()[0]
        self._let_go(batch)
        return lines

    def seal(self, messages: list[bytes], *, now: int) -> list[bytes]:
        """Each of these whole messages with its signatures in front; without keys as it is. Otherwise as `sign`."""
        return self.collect(self._worked(messages, now)) if self.keys else messages

    def prepare(self, messages: list[bytes], *, now: int) -> Batch:
        """The first step of `seal`; what follows is `work` of the batch, `complete`, `collect`, on any threads.

        `complete` may be left out where the batch is all done. Wants keys.
        """
        try:
            batch = self._idle.pop()
        except IndexError:
            batch = Batch()
        batch.load(self._layouts, self._lanes(), messages, b"%d" % now)
        batch.tag = messages, now
        return batch

    def complete(self, batch: Batch) -> None:
        """Whatever of a batch that was worked on cannot be done natively."""
        messages, now = batch.tag
        layouts = self._layouts
        while (names := batch.trouble()) is not None:
            layouts = (*layouts, self._layout(names))
            self._layouts = layouts if len(layouts) <= _LAYOUTS_KEPT else layouts[-1:]
            batch.load(layouts, self._lanes(), messages, b"%d" % now)
            batch.tag = messages, now
            batch.work()
        for number, key in enumerate(self.keys):
            if batch.failed(number):
                key.slow_down()
            if digests := batch.digests(number):
                batch.put(number, key.sign_digests(digests))

    def collect(self, batch: Batch) -> list[bytes]:
        """The signed messages of a batch that is complete."""
        signed = batch.signed()
        self._let_go(batch)
        return signed

    def _worked(self, messages: list[bytes], now: int) -> Batch:
        batch = self.prepare(messages, now=now)
        batch.work()
        self.complete(batch)
        return batch

    def _lanes(self) -> "tuple[LaneKey | None, ...]":
        return tuple([key.native for key in self.keys])

    def _let_go(self, batch: Batch) -> None:
        batch.release()
        self._idle.append(batch)

    @staticmethod
    def body_hash(body: bytes) -> bytes:
        """The value of bh=: base64 of the SHA-256 of the relaxed body (RFC 6376 §3.4.4)."""
        return base64.b64encode(hashlib.sha256(relaxed_body(body)).digest())

    def records(self) -> list[tuple[str, str]]:
        """The TXT records to publish, as (name, text)."""
        return [(key.record_name, key.record) for key in self.keys]

    def _layout(self, names: tuple[bytes, ...]) -> Layout:
        positions: dict[bytes, list[int]] = {}
        for index, lowered in enumerate(names):
            positions.setdefault(lowered, []).append(index)
        if len(positions.get(b"from", ())) != 1:
            raise InternalError("a message to sign needs exactly one From (RFC 5322 §3.6, RFC 6376 §5.4)")
        listed: list[str] = []
        lines: list[int] = []
        for name in _SEALED + _SEALED_IF_PRESENT:
            present = positions.get(name.lower().encode(), [])
            if present or name in _SEALED:
                listed += [name] * (len(present) + 1)
                # Verifiers take equal names from the bottom of the header upwards (RFC 6376 §5.4.2).
                lines += reversed(present)
        return Layout(names, tuple(lines), tuple([_template(key, listed) for key in self.keys]))


def load_keys(entries: Sequence[DkimKey]) -> Signer:
    """A signer over the keys of a campaign. Raises `CampaignError` for the first key that cannot be used."""
    if not entries:
        return Signer(())
    # Loads a library for cryptography, which mail that is not signed needs nowhere else.
    from bulkmail.dkim.keys import load_key

    keys = [load_key(entry) for entry in entries]
    seen: set[str] = set()
    for key in keys:
        if key.record_name in seen:
            raise CampaignError(
                f"two keys are to be published as {key.record_name}", path="dkim", hint="give each key its own selector"
            )
        seen.add(key.record_name)
    return Signer(keys)


def _template(key: "SigningKey", listed: Sequence[str]) -> tuple[_Pieces, _Pieces]:
    """A key's header up to the b= tag, in pieces around the values of t= and bh=: as sent, and canonical."""
    names = [f"{name}:" for name in listed[:-1]] + [f"{listed[-1]};"]
    # Words are what folding never cuts; the number is the width of a slot's value beyond that of the slot itself.
    words = [
        ("DKIM-Signature:", 0),
        (" v=1;", 0),
        (f" a={key.algorithm};", 0),
        (" c=relaxed/relaxed;", 0),
        (f" d={key.domain};", 0),
        (f" s={key.selector};", 0),
        (" t=%d;", len("1700000000") - len("%d")),
        (" bh=%b;", 44 - len("%b")),
        (f" h={names[0]}", 0),
        *((name, 0) for name in names[1:]),
    ]
    folded, column = "", 0
    for word, more in words:
        width = len(word) + more
        if column + width > _LINE_COLUMNS:
            word = word.lstrip(" ")
            folded += "\r\n\t"
            column, width = 1, len(word) + more
        folded += word
        column += width
    folded += "\r\n\tb="
    canonical = folded.replace("\r\n\t", " ").replace("DKIM-Signature: ", "dkim-signature:", 1)
    return _pieces(folded), _pieces(canonical)


def _pieces(template: str) -> _Pieces:
    before, _, rest = template.encode().partition(b"%d")
    between, _, after = rest.partition(b"%b")
    return before, between, after
