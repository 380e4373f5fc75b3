"""SMTP replies by regular expressions: what `bulkmail.native.reply` must agree with."""

import re

from bulkmail.errors import ProtocolError

WHOLE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
BEGUN = re.compile(rb"(?:[2-5](?:[0-9](?:[0-9](?:\r|[ -].*)?)?)?)?", re.DOTALL)
ENHANCED = re.compile(rb"[ \t]*(([245])(?:\.[0-9]{1,3}){2})(?![0-9A-Za-z]|\.[0-9])")


class ReplyParser:
    def __init__(self) -> None:
        self.buffer = b""
        self.lines: list[bytes] = []
        self.code = 0
        self.pending = 0
        self.failure: str | None = None

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        replies: list[tuple[int, bytes]] = []
        self.buffer += data
        while self.failure is None and b"\n" in self.buffer:
            line, self.buffer = self.buffer.split(b"\n", 1)
            self.held_line(line, replies)
        self.check_begun(self.buffer)
        if self.failure is not None and not replies:
            raise ProtocolError(self.failure)
        self.pending = len(self.buffer) + sum(len(line) for line in self.lines)
        return replies

    def held_line(self, raw: bytes, replies: list[tuple[int, bytes]]) -> None:
        line = raw.removesuffix(b"\r")
        match = WHOLE.fullmatch(line)
        if match is None or (self.code and int(match[1]) != self.code) or len(line) > 4096:
            self.failure = "line"
            return
        self.code = int(match[1])
        self.lines.append(raw + b"\n")
        text = b"\n".join(kept.removesuffix(b"\n").removesuffix(b"\r")[4:] for kept in self.lines)
        if len(self.lines) > 128 or len(text) > 65536:
            self.failure = "reply"
        elif match[2] != b"-":
            replies.append((self.code, text))
            self.lines, self.code = [], 0

    def check_begun(self, begun: bytes) -> None:
        """Garbage is told before its line ends."""
        other_code = self.code and len(begun) >= 3 and begun[:3] != b"%d" % self.code
        if self.failure is None and (not BEGUN.fullmatch(begun) or other_code or len(begun.removesuffix(b"\r")) > 4096):
            self.failure = "line"


def parse_reply(data: bytes) -> tuple[int, bytes] | None:
    match = re.fullmatch(rb"([2-5][0-9][0-9])(?: ([^\n]*?))?\r?\n", data, re.DOTALL)
    if match is None or len(data.removesuffix(b"\n").removesuffix(b"\r")) > 4096:
        return None
    return int(match[1]), match[2] or b""


def enhanced_code(text: bytes, code: int) -> str | None:
    match = ENHANCED.match(text)
    return match[1].decode() if match and int(match[2]) == code // 100 else None
