"""Frame one column of a chunk: version, codec, count, compressed bytes, CRC.

u8 version | u8 codec | u32 count | u32 plain length | content | u32 CRC-32 of all before
"""

import struct
import threading
import zlib
from collections.abc import Sequence

import zstandard
from msgspec import Struct

from bulkmail.errors import StateError

VERSION = 1
PLAIN, ZSTD = 0, 1
ZSTD_LEVEL = 1  # 31 B a recipient against 33 at level 3, and a fifth less time

_HEAD = struct.Struct("<BBII")
_CRC = struct.Struct("<I")
# What zlib takes without giving the interpreter away, which would have to be waited for.
_CRC_BYTES = 4096


class Packed(Struct, frozen=True, gc=False):
    """A frame as it was stored, how many items it should hold, and what it is called in an error."""

    blob: bytes
    count: int
    what: str


class _Machines(threading.local):
    """Making one costs as much as compressing a chunk; none serves two threads at once."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_machines = _Machines()


def pack(content: bytes, count: int) -> bytes:
    """`content`, holding `count` items, framed and compressed where that makes it smaller."""
    return pack_all([(content, count)])[0]


def pack_all(contents: Sequence[tuple[bytes, int]]) -> list[bytes]:
    """`pack` of each; whatever their number, the interpreter is given away once."""
    if not contents:
        return []
    compressed = _machines.compressor.multi_compress_to_buffer([content or b"\0" for content, _ in contents])
    framed = []
    for place, (content, count) in enumerate(contents):
        codec, stored = ZSTD, compressed[place].tobytes()
        if len(stored) >= len(content):
            codec, stored = PLAIN, content
        frame = _HEAD.pack(VERSION, codec, count, len(content)) + stored
        framed.append(frame + _CRC.pack(_checksum(frame)))
    return framed


def unpack(blob: bytes, count: int, what: str) -> bytes:
    """The content of a frame of `count` items. StateError naming `what` if it is damaged or of another version."""
    return unpack_all([Packed(blob, count, what)])[0]


def unpack_all(frames: Sequence[Packed]) -> list[bytes]:
    """`unpack` of each; whatever their number, the interpreter is given away once."""
    contents: list[bytes] = []
    compressed: list[int] = []
    sizes: list[int] = []
    for place, frame in enumerate(frames):
        codec, length, content = _opened(frame)
        contents.append(content)
        if codec == ZSTD:
            compressed.append(place)
            sizes.append(length)
        elif len(content) != length:
            raise damaged(frame.what, f"{len(content)} bytes where {length} are expected")
    for place, plain in zip(compressed, _decompressed([contents[place] for place in compressed], sizes), strict=True):
        if plain is None:
            raise damaged(frames[place].what, "it cannot be decompressed")
        contents[place] = plain
    return contents


def _opened(frame: Packed) -> tuple[int, int, bytes]:
    """Codec, plain length and content as it stands in the frame."""
    blob, what = frame.blob, frame.what
    if len(blob) < _HEAD.size + _CRC.size or _CRC.unpack_from(blob, len(blob) - _CRC.size)[0] != _checksum(
        memoryview(blob)[: -_CRC.size]
    ):
        raise damaged(what, "its checksum does not fit")
    version, codec, items, length = _HEAD.unpack_from(blob)
    if version != VERSION or codec not in (PLAIN, ZSTD):
        raise damaged(what, f"its format {version}.{codec} is unknown")
    if items != frame.count:
        raise damaged(what, f"{items} items where {frame.count} are expected")
    return codec, length, blob[_HEAD.size : -_CRC.size]


def _decompressed(contents: list[bytes], sizes: list[int]) -> Sequence[bytes | None]:
    """None for what cannot be."""
    if not contents:
        return []
    try:
        packed_sizes = struct.pack(f"={len(sizes)}Q", *sizes)
        whole = _machines.decompressor.multi_decompress_to_buffer([*contents], decompressed_sizes=packed_sizes)
        plain = [whole[place].tobytes() for place in range(len(whole))]
        if list(map(len, plain)) == sizes:
            return plain
    except (zstandard.ZstdError, ValueError):
        pass
    return [_one_decompressed(content, size) for content, size in zip(contents, sizes, strict=True)]


def _one_decompressed(content: bytes, size: int) -> bytes | None:
    try:
        plain = zstandard.decompress(content, max_output_size=size)
    except zstandard.ZstdError:
        return None
    return plain if len(plain) == size else None


def _checksum(data: bytes | memoryview) -> int:
    checksum = 0
    for start in range(0, len(data), _CRC_BYTES):
        checksum = zlib.crc32(data[start : start + _CRC_BYTES], checksum)
    return checksum


def joined(lines: Sequence[bytes]) -> bytes:
    """A column of `lines`, none of which has a line feed (ValueError)."""
    content = b"\n".join(lines)
    if not lines or content.count(b"\n") != len(lines) - 1:
        raise ValueError("a chunk needs at least one line, and none with a line feed")
    return content


def split(content: bytes, count: int, what: str) -> list[bytes]:
    """The lines of what `joined` has made; StateError naming `what` where they are not `count`."""
    lines = content.split(b"\n")
    if len(lines) != count:
        raise damaged(what, f"{len(lines)} lines where {count} are expected")
    return lines


def damaged(what: str, why: str) -> StateError:
    """The error for a stored column that cannot be what was written."""
    return StateError(f"{what} is damaged: {why}", hint="restore the state directory from a backup")
