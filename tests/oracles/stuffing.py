"""Line ends and dots by regular expressions: what `bulkmail.native.stuffing` must agree with."""

import re


def normalize(data: bytes) -> bytes:
    return re.sub(rb"\r\n|\r|\n", b"\r\n", data)


def stuff(data: bytes) -> bytes:
    lines = normalize(data)
    if lines and not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    return re.sub(rb"(?:(?<=\r\n)|\A)\.", b"..", lines)
