"""Canonical forms of header fields and bodies for DKIM (RFC 6376 §3.4).

Line ends are CRLF; a bare CR or LF in a body is a byte like any other. All return the same object if nothing changes.
"""

def relaxed_body(body: bytes, /) -> bytes:
    r"""RFC 6376 §3.4.4: white space runs become one SP, none ends a line, no empty line ends the body, CRLF does.

    A last line without an end is taken as ended, as it will be on the wire. A body without a line left is `b""`.
    Releases the GIL above 64 KiB.
    """

def simple_body(body: bytes, /) -> bytes:
    r"""RFC 6376 §3.4.3: no empty line ends the body, CRLF does; an empty body is `\r\n`."""

def relaxed_header(field: bytes, /) -> bytes:
    r"""RFC 6376 §3.4.2: one field, folded or not, with or without its line end, as `name:value\r\n`.

    Raises ValueError for a field that does not begin with a name and a colon.
    """

def relaxed_headers(block: bytes, /) -> list[tuple[bytes, bytes]]:
    r"""(lower-case name, `relaxed_header` of the field) of each field, in order, up to an empty line or the end.

    Raises ValueError for a field that does not begin with a name and a colon.
    """
