"""The MIME tree of a campaign: which parts there are, their headers, files encoded once (RFC 2045, 2046, 2387).

Each boundary is `=_TOKEN_N`: "=_" occurs in no quoted-printable or base64 text, so no content can contain it.
"""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from hashlib import blake2b
from mimetypes import MimeTypes
from pathlib import Path
from typing import Any

from msgspec import Struct

from bulkmail.content.environment import nearest
from bulkmail.content.headers import parameter
from bulkmail.content.template import Source, Template
from bulkmail.errors import CampaignError
from bulkmail.native.assembly import Assembler

ENCODINGS = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}

REFERENCE = re.compile(
    r"""(?P<before>\b(?:src|background)\s*=\s*(?P<quote>["'])|\burl\(\s*["']?)(?P<target>[^"'()<>{}]+?)(?=["'\s)])""",
    re.IGNORECASE,
)
CID = re.compile(r"""\bcid:(?P<name>[^"'()<>{}\s]+)""", re.IGNORECASE)


class File(Struct, frozen=True, kw_only=True):
    """An inline image or attachment, read."""

    name: str
    content_type: str
    data: bytes
    content_id: str | None = None


class TextPart(Struct, frozen=True, kw_only=True):
    """A body: `subtype` is plain, html, x-amp-html or calendar; `parameters` of its Content-Type beside charset."""

    subtype: str
    template: Template
    parameters: str = ""


class OwnFiles(Struct, frozen=True, kw_only=True):
    """Attachments that differ between recipients: `make` gives them from the values of a message."""

    make: Callable[[list[Any]], Iterable[File]]


class Multipart(Struct, frozen=True, kw_only=True):
    """Parts in one; `number` tells its boundary from the others'; `parameters` stand before it in Content-Type."""

    subtype: str
    number: int
    parts: "tuple[Part, ...]"
    parameters: str = ""


Part = TextPart | File | Multipart | OwnFiles


def read_text(path: str, *, key: str) -> str:
    """A template file's text. Fails with CampaignError: unreadable, or not UTF-8 (with the line)."""
    data = read_bytes(path, key=key)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{data[error.start]:02X} is not UTF-8"
        raise CampaignError(found, file=path, line=line, hint="save the file as UTF-8") from None


def read_bytes(path: str, *, key: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CampaignError(f"cannot be read: {error.strerror or error}", file=path, path=key) from None


def read_file(path: str, *, key: str, content_domain: str | None = None) -> File:
    """An attachment; an inline image where `content_domain` is given (the right side of its Content-ID)."""
    data = read_bytes(path, key=key)
    content_id = f"{blake2b(data, digest_size=12).hexdigest()}@{content_domain}" if content_domain else None
    name = Path(path).name
    return File(name=name, content_type=guess_type(name), data=data, content_id=content_id)


def guess_type(name: str) -> str:
    kind, encoding = _types().guess_type(name, strict=False)
    if encoding is not None:
        return ENCODINGS.get(encoding, "application/octet-stream")
    # RFC 2046 §5.2.1 and §5.1 allow no base64 on these.
    if kind is None or kind.startswith(("message/", "multipart/")):
        return "application/octet-stream"
    return kind


@cache
def _types() -> MimeTypes:
    """Python's own table, not the machine's /etc/mime.types: the same campaign gives the same bytes everywhere."""
    return MimeTypes()


def refer_to_inline(html: Source, images: Sequence[File]) -> Source:
    """The HTML with `cid:NAME`, `src="NAME"` and `url(NAME)` of inline images made their Content-IDs.

    Fails with CampaignError on a `cid:` that no inline file answers.
    """
    ids = {image.name: image.content_id for image in images}

    def from_name(found: re.Match[str]) -> str:
        target = found["target"]
        name = target.rpartition("/")[2]
        relative = ":" not in target and not target.startswith("/")
        return f"{found['before']}cid:{ids[name]}" if relative and name in ids else found[0]

    def from_cid(found: re.Match[str]) -> str:
        name = found["name"]
        if name in ids.values():
            return found[0]
        if name not in ids:
            line = html.text.count("\n", 0, found.start()) + 1
            raise html.error(
                f"cid:{name} is not in content.inline{nearest(name, ids)}", line=line, hint="add the file's path there"
            )
        return f"cid:{ids[name]}"

    text = REFERENCE.sub(from_name, CID.sub(from_cid, html.text))
    return Source(text=text, mode=html.mode, file=html.file, path=html.path)


def arrange(
    bodies: Sequence[TextPart],
    images: Sequence[File],
    attachments: Sequence[File | OwnFiles],
    report_type: str | None = None,
) -> Part:
    """mixed(alternative(text, related(html, images)), attachments), without the levels that would hold one part.

    With a `report_type` the outermost is a multipart/report (RFC 6522).
    """
    pages: list[Part] = [
        Multipart(subtype="related", number=3, parts=(body, *images), parameters=' type="text/html";')
        if images and body.subtype == "html"
        else body
        for body in bodies
    ]
    body = pages[0] if len(pages) == 1 else Multipart(subtype="alternative", number=2, parts=tuple(pages))
    if not attachments:
        return body
    parts = (body, *attachments)
    if report_type is not None:
        return Multipart(subtype="report", number=1, parts=parts, parameters=f" report-type={report_type};")
    return Multipart(subtype="mixed", number=1, parts=parts)


WriteTemplate = Callable[[Assembler, TextPart], None]


class Skeleton(Struct, frozen=True, kw_only=True):
    """Writes a tree into assemblers.

    `token` is the index of the boundary's slot, `write_template` fills a body, `add` gives a step's result an index.
    """

    token: int
    write_template: WriteTemplate
    add: Callable[[Callable[[list[Any]], str]], int]

    def header(self, out: Assembler, part: Part) -> None:
        """The Content-* header lines of a part."""
        if isinstance(part, Multipart):
            out.copy(f'Content-Type: multipart/{part.subtype};{part.parameters}\r\n boundary="=_'.encode())
            out.copy_slot(self.token)
            out.copy(f'_{part.number}"\r\n'.encode())
        elif isinstance(part, TextPart):
            out.copy(f"Content-Type: text/{part.subtype}; charset=utf-8{part.parameters}\r\n".encode())
            out.copy(b"Content-Transfer-Encoding: quoted-printable\r\n")
        elif isinstance(part, File):
            out.copy(file_header(part))

    def body(self, out: Assembler, part: Part) -> None:
        """The content of a part; the line break before the next boundary is not part of it (RFC 2046 §5.1.1)."""
        if isinstance(part, TextPart):
            out.begin()
            self.write_template(out, part)
            out.end()
        elif isinstance(part, File):
            out.copy(base64_lines(part.data))
        elif isinstance(part, Multipart):
            for child in part.parts:
                if isinstance(child, OwnFiles):
                    out.copy_slot(self.add(self.own_files(child, part.number)))
                    continue
                self.boundary(out, part)
                out.copy(b"\r\n")
                self.header(out, child)
                out.copy(b"\r\n")
                self.body(out, child)
                out.copy(b"\r\n")
            self.boundary(out, part)
            out.copy(b"--")

    def own_files(self, files: OwnFiles, number: int) -> Callable[[list[Any]], str]:
        """The step that gives the parts of one recipient's own files, each from its boundary to its line break."""
        token, make = self.token, files.make

        def parts(values: list[Any]) -> str:
            start = b"--=_%b_%d\r\n" % (values[token].encode(), number)
            return b"".join(
                piece
                for file in make(values)
                for piece in (start, file_header(file), b"\r\n", base64_lines(file.data), b"\r\n")
            ).decode()

        return parts

    def boundary(self, out: Assembler, part: Multipart) -> None:
        out.copy(b"--=_")
        out.copy_slot(self.token)
        out.copy(f"_{part.number}".encode())


def file_header(file: File) -> bytes:
    charset = ""
    if file.content_type.startswith("text/") and is_utf8(file.data):
        charset = "; charset=utf-8"
    lines = [f"Content-Type: {file.content_type}{charset}", "Content-Transfer-Encoding: base64"]
    kind = "attachment"
    if file.content_id is not None:
        lines.append(f"Content-ID: <{file.content_id}>")
        kind = "inline"
    lines.append(f"Content-Disposition: {kind}{parameter('filename', file.name)}")
    return "".join(line + "\r\n" for line in lines).encode()


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def base64_lines(data: bytes) -> bytes:
    """Lines of 76 columns, CRLF between them, none at the end (RFC 2045 §6.8)."""
    return base64.encodebytes(data).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
