"""Write command lines: the one place where text becomes an SMTP command, outside the native transactions."""

# RFC 5321 §4.5.3.1.4 has 512 octets; RFC 4954 §4 lets an AUTH line have 12288.
MAX_LINE_BYTES = 12288


def command_line(verb: str, argument: str = "") -> bytes:
    """`VERB argument CRLF`; ValueError where the argument could end the line or is not ASCII."""
    line = f"{verb} {argument}" if argument else verb
    if not line.isascii() or not line.isprintable() or len(line) + 2 > MAX_LINE_BYTES:
        raise ValueError(f"not fit for an SMTP command line: {line[:80]!r}")
    return line.encode() + b"\r\n"
