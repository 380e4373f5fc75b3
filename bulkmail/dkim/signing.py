"""Sign messages: the DKIM-Signature lines to put in front of a header (RFC 6376 §3.5, §3.7, RFC 8463).

All that does not change from message to message is computed once for each set of header names: which lines are
signed, the h= tag, and each key's header with slots for t= and bh=. What is left is to canonicalise, hash and sign.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from bulkmail.errors import CampaignError, InternalError
from bulkmail.model.campaign import DkimKey
from bulkmail.native.canonical import relaxed_body, relaxed_headers

if TYPE_CHECKING:
    from bulkmail.dkim.keys import SigningKey

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
_BASE64_COLUMNS = 72
_SHAPES_KEPT = 256


class _Template(Struct, frozen=True):
    """One key's header with slots `%d` for t= and `%b` for bh=, up to the b= tag: as sent, and canonical."""

    key: "SigningKey"
    folded: bytes
    canonical: bytes


class _Shape(Struct, frozen=True):
    """What follows from the names of a message's header lines: the lines to hash, in order, and the templates."""

    lines: tuple[int, ...]
    templates: tuple[_Template, ...]


class Signer:
    """Signs with every one of its keys, in their order; without keys it signs nothing. Safe to share among threads."""

    def __init__(self, keys: "Iterable[SigningKey]") -> None:
        self.keys = tuple(keys)
        # Keyed by the sequence of header names. A race computes a shape twice, which does no harm.
        self._shapes: dict[tuple[bytes, ...], _Shape] = {}

    def accelerate(self) -> None:
        """Sign batches eight at a time with every key for which this machine can."""
        for key in self.keys:
            key.try_to_accelerate()

    def sign(self, header: bytes, body: bytes, *, now: int) -> bytes:
        """`sign_batch` of a single message."""
        return self.sign_batch([(header, body)], now=now)[0]

    def sign_batch(self, messages: Sequence[tuple[bytes, bytes]], *, now: int) -> list[bytes]:
        """For each (header, body) the DKIM-Signature lines, one a key, to put in front of the header; b"" without keys.

        A header ends with the CRLF of its last line, a body begins after the blank line. `now`: Unix seconds, for t=.
        Raises `InternalError` unless each header has exactly one From.
        """
        if not self.keys:
            return [b""] * len(messages)
        digests: list[list[bytes]] = [[] for _ in self.keys]
        unsigned: list[list[bytes]] = []
        hashed: bytes | None = None
        for header, body in messages:
            lines = relaxed_headers(header)
            names = tuple([name for name, _ in lines])
            shape = self._shapes.get(names) or self._shape(names)
            signed = b"".join([lines[index][1] for index in shape.lines])
            # A body without personal parts is one object for all.
            if body is not hashed:
                body_hash, hashed = self.body_hash(body), body
            for template, of_key in zip(shape.templates, digests, strict=True):
                of_key.append(hashlib.sha256(signed + template.canonical % (now, body_hash)).digest())
            unsigned.append([template.folded % (now, body_hash) for template in shape.templates])
        signatures = [key.sign_digests(of_key) for key, of_key in zip(self.keys, digests, strict=True)]
        return [
            b"".join([line + _fold_base64(signature) for line, signature in zip(own, of_message, strict=True)])
            for own, of_message in zip(unsigned, zip(*signatures, strict=True), strict=True)
        ]

    @staticmethod
    def body_hash(body: bytes) -> bytes:
        """The value of bh=: base64 of the SHA-256 of the relaxed body (RFC 6376 §3.4.4)."""
        return base64.b64encode(hashlib.sha256(relaxed_body(body)).digest())

    def records(self) -> list[tuple[str, str]]:
        """The TXT records to publish, as (name, text)."""
        return [(key.record_name, key.record) for key in self.keys]

    def _shape(self, names: tuple[bytes, ...]) -> _Shape:
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
        shape = _Shape(tuple(lines), tuple(_template(key, listed) for key in self.keys))
        if len(self._shapes) >= _SHAPES_KEPT:
            self._shapes.clear()
        self._shapes[names] = shape
        return shape


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


def _template(key: "SigningKey", listed: Sequence[str]) -> _Template:
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
    return _Template(key, folded.encode(), canonical.encode())


def _fold_base64(signature: bytes) -> bytes:
    text = base64.b64encode(signature)
    pieces = [text[start : start + _BASE64_COLUMNS] for start in range(0, len(text), _BASE64_COLUMNS)]
    return b"\r\n\t".join(pieces) + b"\r\n"
