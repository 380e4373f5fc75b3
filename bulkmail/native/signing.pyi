"""Sign batches of messages with the interpreter left alone: canonical forms, hashes, signatures, header lines.

It takes the GIL only where SHA-256 has to be `hashlib`'s.
"""

from typing import Any

from bulkmail.native.lanes import LaneKey

class Layout:
    """Messages whose headers have these lower-case `names`, in this order.

    `lines` are those to sign, by number, in order. Of each key a template as sent and one as signed (canonical and
    without its line end), each as three pieces around the values of t= and bh=, the last with "b=" at its end.
    """

    def __new__(
        cls,
        names: tuple[bytes, ...],
        lines: tuple[int, ...],
        templates: tuple[tuple[tuple[bytes, bytes, bytes], tuple[bytes, bytes, bytes]], ...],
    ) -> Layout: ...

class Batch:
    """Memory for signing many messages, to be used over and over; by one thread at a time.

    First `load` and `work`, on whatever thread; then `trouble`; then `digests` and `put` for each key whose signatures
    are not made natively; then `lines`.
    """

    tag: Any
    "Whatever belongs to it."
    error: Exception | None
    "What went wrong on another thread, outside."
    seconds: float
    "CPU time that `work` took since `load`."

    def __new__(cls, lanes: int = 16) -> Batch:
        """`lanes`: the most that SHA-256 may use."""

    def load(
        self, layouts: tuple[Layout, ...], keys: tuple[LaneKey | None, ...], messages: list[bytes], now: bytes
    ) -> None:
        """Begin with these whole messages; `now` is what t= says."""

    def work(self) -> None:
        """Canonicalise, hash and, with the keys that are given, sign. Runs without the GIL, and fails in `trouble`."""

    def trouble(self) -> tuple[bytes, ...] | None:
        """None; or the names of the first header that no layout fits, and nothing is done.

        ValueError for a header field that does not begin with a name and a colon.
        """

    def digests(self, key: int) -> list[bytes]:
        """What the key of this number still has to sign: all, none, or what is left beside full eights."""

    def failed(self, key: int) -> bool:
        """Whether a signature of this key did not verify; none of them is there then."""

    def put(self, key: int, signatures: list[bytes]) -> None:
        """The signatures over `digests`, in order."""

    def lines(self) -> list[bytes]:
        """Of each message, its signatures as header lines. RuntimeError while signatures are missing."""

    def release(self) -> None:
        """Let go of the messages; what most batches need of the memory is kept."""
