"""Make the command lines of the handshake; those of transactions are made where they are paired, by the same rule."""

from bulkmail.native.commands import command_line as write_line


def command_line(verb: str, argument: str = "") -> bytes:
    """`VERB argument CRLF`; ValueError where the argument could end the line, is not ASCII, or too long."""
    line = f"{verb} {argument}" if argument else verb
    if not line.isascii():
        raise ValueError(f"not fit for an SMTP command line: {line[:80]!r}")
    return write_line(line.encode())
