def command_line(text: bytes, utf8: bool = False) -> bytes:
    """`text` and its CRLF; ValueError where a control character is in it, or 8-bit text without `utf8`."""
