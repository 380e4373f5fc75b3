"""Find the replies in the bytes an SMTP server sends (RFC 5321 §4.2), and the enhanced code in a reply's text."""

def parse_reply(data: bytes, /) -> tuple[int, bytes] | None:
    """(code, text) of `data` that is exactly one whole one-line reply; None for anything else (then: `ReplyParser`)."""

def enhanced_code(text: bytes, code: int, /) -> str | None:
    """The `X.Y.Z` that a reply's text begins with (RFC 2034 §4, RFC 3463 §2), verbatim; None where there is none.

    None too where its class is not the first digit of `code`. Blanks before it are passed over.
    """

class ReplyParser:
    """The replies of one connection, from chunks split anywhere; time and memory are linear in what is fed.

    Accepts `250`, `250 text` and `250-text`, ended by CRLF or a bare LF. A line has at most 4096 bytes without its end,
    a reply at most 128 lines and 64 KiB of text; codes are 200 to 599, the same on all lines of a reply.
    """

    @property
    def failure(self) -> str | None:
        """Why nothing more can be parsed, as soon as it is known; None while all is well."""

    @property
    def pending(self) -> int:
        """Bytes received of a reply that is not complete; 0 between replies."""

    def feed(self, data: bytes, /) -> list[tuple[int, bytes]]:
        r"""The replies that `data` completes, as (code, text): lines joined by `\n`, without code, separator, line end.

        Raises ProtocolError for bytes that no reply can be made of, and again on every later call. Replies that came
        whole before such bytes are returned first: then `failure` says so at once and the next call raises.
        """
