"""Messages out of a stream of bytes: up to CRLF.CRLF after DATA, by count after BDAT."""

_END = b"\r\n.\r\n"


class DottedBody:
    """The message after DATA (RFC 5321 §4.5.2); never more than `limit_bytes` of it are kept."""

    __slots__ = ("_begun", "_limit", "_scanned", "oversize")

    def __init__(self, limit_bytes: int) -> None:
        self.oversize = False
        self._limit = limit_bytes
        self._begun = False
        self._scanned = 0

    def take(self, buffer: bytearray) -> bytes | None:
        """Remove the message from the buffer once its end is there; dot-stuffing undone. None: not yet."""
        if not self._begun:
            # The CRLF of the DATA line is the first half of an end that follows at once (RFC 5321 §4.1.1.4).
            buffer[:0] = b"\r\n"
            self._begun = True
        end = buffer.find(_END, self._scanned)
        if end < 0:
            if len(buffer) > self._limit + 8:
                # Only enough is kept to find the end.
                self.oversize = True
                del buffer[:-4]
            self._scanned = max(0, len(buffer) - 4)
            return None
        self.oversize = self.oversize or end > self._limit
        message = bytes(memoryview(buffer)[2 : end + 2])
        del buffer[: end + len(_END)]
        if message[:1] == b".":
            message = message[1:]
        return message.replace(b"\r\n.", b"\r\n")


class ChunkedBody:
    """The message in BDAT chunks (RFC 3030 §2), exactly as they come; a `limit_bytes` of 0 keeps nothing."""

    __slots__ = ("_left", "_limit", "content", "last", "oversize")

    def __init__(self, limit_bytes: int) -> None:
        self.content = bytearray()
        self.oversize = False
        self.last = False
        self._limit = limit_bytes
        self._left = 0

    def begin(self, size_bytes: int, *, last: bool) -> None:
        """A chunk of this size follows."""
        self._left = size_bytes
        self.last = last

    def take(self, buffer: bytearray) -> bool:
        """Remove from the buffer what belongs to the chunk; True once it is whole."""
        taken = min(self._left, len(buffer))
        self._left -= taken
        if self.oversize or len(self.content) + taken > self._limit:
            self.oversize = True
            self.content.clear()
        else:
            self.content += memoryview(buffer)[:taken]
        del buffer[:taken]
        return not self._left
