"""Turn message bytes into SMTP lines: CRLF line ends (RFC 5321 §2.3.8) and doubled leading dots (RFC 5321 §4.5.2)."""

def normalize(data: bytes, /) -> bytes:
    """`data` with every bare CR and bare LF made CRLF; the same object if there is none.

    Releases the GIL above 64 KiB.
    """

def stuff(data: bytes, /) -> bytes:
    r"""`data` as it goes between DATA's reply and the final `.\r\n`; the same object if that changes nothing.

    Normalised, a dot put before every line that begins with one, CRLF added to a last line without an end. Begins at a
    line's beginning. Nothing is added to empty data. Releases the GIL above 64 KiB.
    """
