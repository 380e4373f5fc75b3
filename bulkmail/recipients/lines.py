"""The lines of a list file as UTF-8, whatever it was saved as: plain or gzip, with or without a byte order mark."""

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from bulkmail.errors import CampaignError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# The longest piece of a line held in memory; a longer row is refused whole.
MAX_LINE_BYTES = 1 << 20

# How far into a list its encoding is looked at before anything is sent.
MAX_PROBED_BYTES = 1 << 26

_BUFFER_BYTES = 1 << 17
_GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def reading(path: str) -> Iterator["Lines"]:
    """The lines of a file with their line ends. Raises CampaignError, also in the middle of the iteration."""
    try:
        with _opened(path) as stream:
            yield Lines(stream, path)
    except OSError as error:
        raise CampaignError(f"cannot be read: {error.strerror or error}", file=path) from None


class Lines:
    """An iterator of lines, which also shows the block that they are cut from: `block` from offset `at` on.

    `taken` counts the lines given so far; who takes lines out of the block moves `at` and `taken`. A line longer than
    MAX_LINE_BYTES arrives in pieces, of which only the last ends in a line feed.
    """

    def __init__(self, stream: BinaryIO, path: str) -> None:
        self._path = path
        self.block = b""
        self.at = 0
        self.taken = 0
        with self._errors():
            self._read = _utf8_reader(stream, path)

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> bytes:
        end = self.block.find(b"\n", self.at)
        while end < 0:
            if len(self.block) - self.at >= MAX_LINE_BYTES:
                end = self.at + MAX_LINE_BYTES - 1
                break
            searched = len(self.block) - self.at
            if not self.fill():
                if not self.block:
                    raise StopIteration
                end = len(self.block) - 1
                break
            end = self.block.find(b"\n", searched)
        line = self.block[self.at : end + 1]
        self.at = end + 1
        self.taken += 1
        return line

    def fill(self) -> bool:
        """Read more behind what is left of the block; False at the end of the file."""
        with self._errors():
            more = self._read(_BUFFER_BYTES)
        self.block = self.block[self.at :] + more
        self.at = 0
        return bool(more)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except EOFError:
            raise self._error("the gzip data ends too early", hint="copy it again") from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise self._error(f"the gzip data is damaged: {error}") from None
        except UnicodeDecodeError as error:
            raise self._error(f"is not valid UTF-16: {error.reason}") from None

    def _error(self, text: str, hint: str | None = None) -> CampaignError:
        return CampaignError(text, file=self._path, line=self.taken + 1, hint=hint)


def _opened(path: str) -> BinaryIO:
    with open(path, "rb") as file:
        start = file.read(2)
    is_gzip, named_gzip = start == _GZIP_MAGIC, Path(path).suffix.lower() == ".gz"
    if not start:
        raise CampaignError("the file is empty", file=path)
    if is_gzip and not named_gzip:
        raise CampaignError("is gzip, which its name does not say", file=path, hint=f"rename it to {path}.gz")
    if named_gzip and not is_gzip:
        raise CampaignError("is not gzip, though its name ends in .gz", file=path)
    if is_gzip:
        # Buffered once more, because readline of GzipFile itself is Python and costs as much as parsing the row.
        return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(path, "rb")), _BUFFER_BYTES))
    return open(path, "rb", buffering=_BUFFER_BYTES)


def _utf8_reader(stream: BinaryIO, path: str) -> Callable[[int], bytes]:
    """What reads the stream's bytes as UTF-8, some at a time, b"" at the end."""
    buffered = cast(io.BufferedReader, stream)
    head = buffered.peek(_BUFFER_BYTES)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        buffered = io.BufferedReader(_Utf8(stream), _BUFFER_BYTES)
        head = buffered.peek(_BUFFER_BYTES)
    elif head.startswith(codecs.BOM_UTF8):
        buffered.read(len(codecs.BOM_UTF8))
    if b"\n" not in head and b"\r" in head.rstrip(b"\r"):
        raise CampaignError("the lines end in bare carriage returns", file=path, hint="save it with line feeds")
    return buffered.read1


class _Utf8(io.RawIOBase):
    """The UTF-8 of a stream in UTF-16. Lone surrogates pass, so that the row they stand in is refused and no other."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        while not self._ready:
            data = self._stream.read(_BUFFER_BYTES)
            self._ready = self._decoder.decode(data, final=not data).encode("utf-8", "surrogatepass")
            if not data:
                break
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


def decoded(line: bytes, rest: Iterator[bytes]) -> tuple[str, str | None]:
    """The line as text, and why it cannot be used, if it cannot; `rest` gives the other pieces of too long a line."""
    if len(line) >= MAX_LINE_BYTES and not line.endswith(b"\n"):
        for piece in rest:
            if piece.endswith(b"\n"):
                break
        return "\n", "the row is longer than 1 MiB"
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        # Replaced, so that the rest of the row can be told from its neighbours.
        return line.decode("utf-8", "replace"), f"byte 0x{line[error.start]:02X} is not UTF-8"
    return text, "a NUL byte" if "\0" in text else None


def refuse_foreign_encoding(path: str) -> None:
    """Raise CampaignError for a list that has lines beyond ASCII, none of which is UTF-8.

    A list in Latin-1 would otherwise go out to everybody but those with an accent in their names. A single broken
    line among good ones costs its own row only. No line after the first good one is looked at.
    """
    probed, first = 0, None
    with reading(path) as lines:
        while probed <= MAX_PROBED_BYTES:
            whole = lines.block.rfind(b"\n") + 1
            if lines.at < whole and lines.block.isascii():
                # Nothing to see in any line of the block.
                lines.taken += lines.block.count(b"\n", lines.at)
                probed += whole - lines.at
                lines.at = whole
            line = next(lines, None)
            if line is None:
                break
            probed += len(line)
            if line.isascii():
                continue
            try:
                line.decode()
            except UnicodeDecodeError as error:
                first = first or (lines.taken, line[error.start])
            else:
                return
    if first is not None:
        raise CampaignError(
            f"byte 0x{first[1]:02X} is not UTF-8, and neither is any other letter beyond ASCII in the list",
            file=path,
            line=first[0],
            hint="save it as UTF-8; lists from Windows are often WINDOWS-1252: iconv -f WINDOWS-1252 -t UTF-8",
        )
