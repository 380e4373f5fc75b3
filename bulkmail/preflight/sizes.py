"""Judge how large messages are: against what receivers take, where Gmail cuts, and what a line may hold."""

from collections.abc import Iterator

from bulkmail.preflight.finding import Finding, found

MIB = 1024 * 1024
CLIPPED_BYTES = 102 * 1024
LINE_OCTETS = 998  # RFC 5321 §4.5.3.1.6, without CRLF
HEADER_BYTES = 64 * 1024
HEAVY_BYTES = 1_000_000
# What receivers publish of the largest message they take, or offer as SIZE.
TAKEN_BYTES = {"iCloud": 20 * MIB, "Gmail": 25 * MIB, "Yahoo": 25 * MIB, "Outlook.com": 25 * MIB, "Orange": 45 * MIB}


def size_findings(sizes: tuple[int, int], largest: str, where: str) -> Iterator[Finding]:
    """`sizes` are the least and the most bytes of all messages; `largest` says whose is the largest."""
    least, most = sizes
    refusing = [name for name, limit in TAKEN_BYTES.items() if most > limit]
    if refusing:
        what = f"the message for {largest} has {most:,} bytes, more than {', '.join(refusing)} take"
        yield found("size.receiver", what, where=where, remedy="put large files on the web and link to them")
    between = f"{most:,} bytes" if least == most else f"{least:,} to {most:,} bytes"
    yield found("message.size", f"messages have {between}")


def message_size_findings(header: bytes, body: bytes, html: str | None, where: str) -> Iterator[Finding]:
    """One finished message."""
    if html is not None and (size := len(html.encode())) > CLIPPED_BYTES:
        what = f"the page has {size:,} bytes; Gmail shows the first {CLIPPED_BYTES:,} and hides the rest"
        yield found("size.clipped", what, where=where, remedy="shorten it; the unsubscribe link is at the end")
    if len(header) > HEADER_BYTES:
        what = f"the headers have {len(header):,} bytes"
        yield found("size.header", what, where=where, remedy="shorten them: receivers refuse more than 64 KiB")
    longest = max(map(len, (header + body).split(b"\r\n")), default=0)
    if longest > LINE_OCTETS:
        what = f"a line has {longest:,} octets, SMTP carries {LINE_OCTETS}"
        yield found("size.line", what, where=where, remedy="break the long word in that header or part")
