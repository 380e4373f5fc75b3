from typing import Any

class Message:
    """The bytes after DATA or BDAT, with their envelope, for one recipient.

    `data` is the message but for its `signature`, the header lines in front of it; `size_bytes` is that of both.
    `chunk` and `index` name the recipient in the store; `attempt` counts from 1; `started` is the monotonic time at
    which its transaction began; `utf8` is True where the envelope needs SMTPUTF8.
    """

    @property
    def chunk(self) -> Any: ...
    @property
    def index(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def address(self) -> str: ...
    @property
    def sender(self) -> bytes: ...
    @property
    def recipient(self) -> bytes: ...
    @property
    def message_id(self) -> str: ...
    @property
    def utf8(self) -> bool: ...
    @property
    def data(self) -> bytes: ...
    signature: bytes
    started: float

    def __init__(
        self,
        *,
        chunk: Any,
        index: int,
        attempt: int,
        address: str,
        sender: bytes,
        recipient: bytes,
        data: bytes,
        message_id: str,
        utf8: bool = False,
    ) -> None: ...
    @property
    def size_bytes(self) -> int: ...
