from collections.abc import Sequence
from typing import Any

class Transactions:
    """The transactions of one greeted SMTP connection: parsed replies in, bytes out.

    `wants` says when an envelope would leave at once; `submit` begins a transaction; `answer` pairs replies with
    commands and returns results (message, stage, code, text); `take_begun` names the messages whose end is in the
    bytes that `outgoing` hands out next; `abandon` returns what is left without a result when the connection is gone.
    """

    pipelining: bool
    size: bool
    window: int
    max_messages: int
    submitted: int
    completed: int
    chunking: bool
    proven: int
    written_bytes: int
    anomaly: str | None
    closing: bool
    dismissed: bool
    quitting: bool
    error: str | None

    def __init__(
        self,
        *,
        pipelining: bool,
        chunking: bool = False,
        size: bool = False,
        window: int = 1,
        max_messages: int = 100,
    ) -> None: ...
    @property
    def wants(self) -> bool: ...
    @property
    def stage(self) -> int: ...
    @property
    def asked(self) -> bool: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def finished(self) -> bool: ...
    @property
    def oldest(self) -> Any: ...
    @property
    def may_be_taken(self) -> bool: ...
    @property
    def windowed(self) -> bool: ...
    def set_window(self, window: int) -> None: ...
    def give_up_chunking(self) -> None: ...
    def submit(
        self,
        message: Any,
        sender: bytes,
        recipient: bytes,
        data: bytes,
        *,
        utf8: bool = False,
        size_bytes: int = -1,
        mail: bytes = b"",
        rcpt: bytes = b"",
        head: bytes = b"",
    ) -> None: ...
    def answer(self, replies: list[tuple[int, bytes]]) -> list[tuple[Any, int, int, bytes]]: ...
    def quit(self) -> None: ...
    def abandon(self, *, closed: bool = False, unwritten_bytes: int = 0) -> list[tuple[Any, int, bool]]: ...
    def outgoing(self) -> bytes: ...
    def take_begun(self) -> Sequence[Any]: ...
    def take_misunderstood(self) -> list[Any]: ...
