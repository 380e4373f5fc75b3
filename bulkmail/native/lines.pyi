class DeliveredLines:
    """Event-log lines of messages that were delivered, gathered one by one; for one thread at a time."""

    def __init__(self, run: str) -> None: ...
    def __len__(self) -> int:
        """Bytes gathered."""

    def add(
        self,
        time: str,
        recipient: str,
        attempt: int,
        code: int,
        raw: bytes,
        site: str | None,
        host: str | None,
        source: str | None,
        tls: str | None,
        size_bytes: int,
        milliseconds: float,
        message_id: str,
    ) -> bool:
        """Append the line; `raw` is the reply's text as the parser gave it, `milliseconds` has one decimal.

        False, and nothing is appended, where a value is not plain printable ASCII or the reply has several lines.
        """

    def passage(self, site: str | None, host: str | None, source: str | None, tls: str | None) -> bytes | None:
        """That part of a line which is the same for all of a connection; None where it is not plain printable ASCII."""

    def take(self) -> bytes:
        """What was gathered, which is forgotten."""
