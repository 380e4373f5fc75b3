"""Inputs from a seed: bytes of a corpus with pieces changed, cut out, doubled, exchanged; and plain noise."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

# Pieces where parsers of mail take a turn.
WORDS = [
    *(b"\r\n", b"\n", b"\r", b"\r\n.\r\n", b".", b"..", b" ", b"-", b"\t", b"\0", b"\x7f", b"\xff", b":", b";", b"="),
    *(b"220 ", b"250 ", b"250-", b"250", b"354 ", b"421 ", b"334 ", b"235 ", b"550 5.1.1 ", b"2", b"999 ", b"199 "),
    *(b"220 2.0.0 go\r\n", b"250 ok\r\n", b"250-ok\r\n", b"354 go on\r\n", b"421 4.3.2 bye\r\n", b"503 no\r\n"),
    *(b"<", b">", b"@", b'"', b"'", b"\\", b"%", b"%{", b",", b"/", b"*", b"0", b"4294967296", b"-1", b"5.1.1"),
    *("é".encode(), "\u2028".encode(), "\ud800".encode("utf-8", "surrogatepass"), b"\xc2", b"\xe2\x80", b"\xf0\x9f"),
]


class Mutator:
    """All that is random in the inputs of one block; the same seed gives the same inputs."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self.chance = self._random.random
        self._operations: list[Callable[[bytes], bytes]] = [
            self._flip,
            self._insert,
            self._insert,
            self._cut,
            self._double,
            self._exchange,
            self._end,
        ]

    def below(self, bound: int) -> int:
        """0 to `bound` - 1."""
        return int(self.chance() * bound)

    def one(self, of: Sequence[T]) -> T:
        return of[int(self.chance() * len(of))]

    def noise(self, most: int) -> bytes:
        return self._random.randbytes(self.below(most + 1))

    def mutated(self, corpus: Sequence[bytes], other: Sequence[bytes] | None = None) -> bytes:
        """One of the corpus, changed up to four times; one in sixteen is noise."""
        if self.chance() < 1 / 16:
            return self.noise(200)
        data = corpus[int(self.chance() * len(corpus))]
        for _ in range(int(self.chance() * 5)):
            data = self._operations[int(self.chance() * 7)](data)
        if other is None and self.chance() < 0.1:
            # The beginning of one and the end of another.
            second = corpus[int(self.chance() * len(corpus))]
            data = data[: self.below(len(data) + 1)] + second[self.below(len(second) + 1) :]
        return data

    def pieces(self, data: bytes) -> list[bytes]:
        """`data` cut at up to five places, seldom after every byte."""
        if self.chance() < 0.02 and len(data) < 2000:
            return [data[at : at + 1] for at in range(len(data))]
        edges = sorted(int(self.chance() * (len(data) + 1)) for _ in range(int(self.chance() * 6)))
        parts, start = [], 0
        for edge in edges:
            parts.append(data[start:edge])
            start = edge
        parts.append(data[start:])
        return parts

    def text(self, data: bytes) -> str:
        """As text: with what is no UTF-8 replaced, or byte by byte."""
        return data.decode("utf-8", "replace") if self.chance() < 0.5 else data.decode("latin-1")

    def _span(self, data: bytes) -> tuple[int, int]:
        start = int(self.chance() * (len(data) + 1))
        return start, start + int(self.chance() ** 3 * (len(data) - start + 1))

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return data
        at = int(self.chance() * len(data))
        return data[:at] + bytes((int(self.chance() * 256),)) + data[at + 1 :]

    def _insert(self, data: bytes) -> bytes:
        at = int(self.chance() * (len(data) + 1))
        word = WORDS[int(self.chance() * len(WORDS))]
        # Seldom very many of them: limits are where limits break.
        times = int(2 ** (self.chance() * 14)) // len(word) + 1 if self.chance() < 0.004 else 1
        return data[:at] + word * times + data[at:]

    def _cut(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:start] + data[end:]

    def _double(self, data: bytes) -> bytes:
        start, end = self._span(data)
        return data[:end] + data[start:end] * (1 + int(self.chance() ** 4 * 8)) + data[end:]

    def _exchange(self, data: bytes) -> bytes:
        lines = data.split(b"\n")
        if len(lines) < 2:
            return data
        one, other = int(self.chance() * len(lines)), int(self.chance() * len(lines))
        lines[one], lines[other] = lines[other], lines[one]
        return b"\n".join(lines)

    def _end(self, data: bytes) -> bytes:
        return data[: int(self.chance() * (len(data) + 1))]
