"""Takes a message apart into headers and leaf parts, in linear time, whatever it is made of.

No grammar is enforced, since half of what comes back breaks it: a header line that is none ends the header, a missing
boundary is looked for in the body, a part that lacks its end ends with its parent. What is over a limit is refused.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

from bulkmail.feedback.report import FeedbackError

MESSAGE_LIMIT = 10 << 20
DEPTH_LIMIT = 20
PART_LIMIT = 1000
HEADER_LIMIT = 256 << 10

_FOLD = re.compile(rb"\n[ \t]+")
_NAME = re.compile(rb"[!-9;-~]{1,100}[ \t]*:").match
_BOUNDARY = re.compile(r"""boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))""", re.IGNORECASE)
_STRAY_BOUNDARY = re.compile(rb"(?:\A|\n)--([!-~]{6,70})\nContent-[A-Za-z-]{4,30}:", re.IGNORECASE)
_STRAY_WITHIN = 4096


class Headers:
    """Header fields by lower-case name, unfolded, in the order in which they stand."""

    __slots__ = ("fields",)

    def __init__(self, fields: dict[str, list[str]]) -> None:
        self.fields = fields

    def get(self, name: str) -> str:
        """The first of that name, or ""."""
        found = self.fields.get(name)
        return found[0] if found else ""

    def all(self, name: str) -> list[str]:
        return self.fields.get(name, [])

    def __contains__(self, name: str) -> bool:
        return name in self.fields


class Part(Struct, frozen=True):
    """A leaf: `type` in lower case (`text/plain`), the body still encoded."""

    type: str
    headers: Headers
    body: bytes


class Taken(Struct, frozen=True):
    """A message taken apart."""

    headers: Headers
    type: str
    parts: tuple[Part, ...]


class _Budget:
    """What all headers and parts of one message may be in all."""

    __slots__ = ("header_bytes", "parts")

    def __init__(self) -> None:
        self.header_bytes = HEADER_LIMIT
        self.parts = PART_LIMIT

    def headers(self, size: int) -> None:
        self.header_bytes -= size
        if self.header_bytes < 0:
            raise FeedbackError(f"more than {HEADER_LIMIT >> 10} KB of headers")

    def part(self) -> None:
        self.parts -= 1
        if self.parts < 0:
            raise FeedbackError(f"more than {PART_LIMIT} parts")


def take_apart(data: bytes) -> Taken:
    """The message's headers and leaf parts; messages within the message are leaves. Raises FeedbackError."""
    if len(data) > MESSAGE_LIMIT:
        raise FeedbackError(f"larger than {MESSAGE_LIMIT >> 20} MB")
    data = data.replace(b"\r\n", b"\n").lstrip(b"\n")
    if data.startswith((b"From ", b">From ")):
        data = data.partition(b"\n")[2]
    budget = _Budget()
    headers, body = _split(data, budget)
    kind = media_type(headers)
    return Taken(headers, kind, tuple(_leaves(kind, headers, body, budget)))


def headers_of(data: bytes) -> Headers:
    """The headers that `data` starts with; those beyond the limit are left out."""
    data = data[:HEADER_LIMIT].replace(b"\r\n", b"\n").lstrip(b"\n")
    if data.startswith((b"From ", b">From ")):
        data = data.partition(b"\n")[2]
    return _split(data, _Budget())[0]


def media_type(headers: Headers) -> str:
    """`type/subtype` in lower case; `text/plain` where nothing is said (RFC 2045 §5.2)."""
    value = headers.get("content-type").partition(";")[0].strip().lower()
    return value if "/" in value else "text/plain"


def _leaves(kind: str, headers: Headers, body: bytes, budget: _Budget) -> Iterator[Part]:
    stack = [(kind, headers, body, 0)]
    while stack:
        kind, headers, body, depth = stack.pop()
        boundary = _boundary(kind, headers, body, depth)
        pieces = list(_pieces(body, boundary, budget)) if boundary else []
        if not pieces:
            yield Part("text/plain" if kind.startswith("multipart/") else kind, headers, body)
            continue
        if depth == DEPTH_LIMIT:
            raise FeedbackError(f"parts within parts, more than {DEPTH_LIMIT} deep")
        inner = []
        for piece in pieces:
            inner_headers, inner_body = _split(piece, budget)
            inner.append((media_type(inner_headers), inner_headers, inner_body, depth + 1))
        stack.extend(reversed(inner))


def _boundary(kind: str, headers: Headers, body: bytes, depth: int) -> bytes:
    if kind.startswith("multipart/"):
        match = _BOUNDARY.search(headers.get("content-type"))
        if match is not None:
            found = (match[1] or match[2]).rstrip()
            if found:
                return found.encode("utf-8", "surrogateescape")
    elif depth or kind != "text/plain":
        return b""
    stray = _STRAY_BOUNDARY.search(body, 0, _STRAY_WITHIN)
    return stray[1] if stray is not None else b""


def _pieces(body: bytes, boundary: bytes, budget: _Budget) -> Iterator[bytes]:
    """What stands between the delimiter lines; a line that only begins like one is none."""
    delimiter = b"\n--" + boundary
    size = len(delimiter)
    body = b"\n" + body
    start = -1
    at = body.find(delimiter)
    while at >= 0:
        end = body.find(b"\n", at + size)
        line = body[at + size : len(body) if end < 0 else end]
        closing = line.startswith(b"--")
        if not closing and line.strip():
            at = body.find(delimiter, at + size)
            continue
        if start >= 0:
            budget.part()
            yield body[start:at]
        if closing or end < 0:
            return
        # The line feed that ends this delimiter may begin the next.
        start = end + 1
        at = body.find(delimiter, end)
    if 0 <= start < len(body):
        budget.part()
        yield body[start:]


def _split(data: bytes, budget: _Budget) -> tuple[Headers, bytes]:
    """Header and body; without a header, all is body."""
    if data.startswith(b"\n"):
        return Headers({}), data[1:]
    end = data.find(b"\n\n")
    block, body = (data, b"") if end < 0 else (data[:end], data[end + 2 :])
    if not _NAME(block):
        return Headers({}), data
    budget.headers(len(block))
    fields: dict[str, list[str]] = {}
    for line in _FOLD.sub(b" ", block).split(b"\n"):
        if _NAME(line):
            name, _, value = line.partition(b":")
            key = name.strip().decode("ascii", "replace").lower()
            fields.setdefault(key, []).append(value.strip().decode("utf-8", "surrogateescape"))
        elif not line.startswith(b">From "):
            # No header any more: the body began without an empty line.
            rest = block.find(b"\n" + line)
            return Headers(fields), data[rest + 1 :] if rest >= 0 else body
    return Headers(fields), body
