"""A message that is ready for the wire, and whose delivery it is."""

from typing import Any


class Message:
    """The bytes after DATA or BDAT, with their envelope, for one recipient.

    `chunk` and `index` name the recipient in the store; `attempt` counts from 1; `started` is the monotonic time at
    which its transaction began; `utf8` is True where the envelope needs SMTPUTF8.
    """

    __slots__ = (
        "address",
        "attempt",
        "chunk",
        "data",
        "index",
        "message_id",
        "recipient",
        "sender",
        "started",
        "utf8",
    )

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
    ) -> None:
        self.chunk = chunk
        self.index = index
        self.attempt = attempt
        self.address = address
        self.sender = sender
        self.recipient = recipient
        self.data = data
        self.message_id = message_id
        self.utf8 = utf8
        self.started = 0.0
