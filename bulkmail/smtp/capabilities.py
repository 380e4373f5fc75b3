"""What a server offered in its reply to EHLO (RFC 5321 §4.1.1.1)."""

from msgspec import Struct


class Capabilities(Struct, frozen=True, kw_only=True):
    """`size_bytes` is the largest message the server takes (RFC 1870); None where it says nothing or 0.

    `mail_max`, `rcpt_max` and `rcpt_domain_max` are MAIL commands a session, recipients and recipients' domains a
    transaction (RFC 9422 §4); None where it says nothing of them.
    """

    pipelining: bool = False
    chunking: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    enhanced_status_codes: bool = False
    starttls: bool = False
    size: bool = False
    size_bytes: int | None = None
    dsn: bool = False
    requiretls: bool = False
    mail_max: int | None = None
    rcpt_max: int | None = None
    rcpt_domain_max: int | None = None
    auth: tuple[str, ...] = ()
    host: str = ""


def parse_ehlo(text: str) -> Capabilities:
    """Capabilities from the lines of a 250 to EHLO, joined by line feeds; unknown keywords are ignored.

    `AUTH=LOGIN`, as servers of the nineties write it, counts as `AUTH LOGIN`.
    """
    lines = text.split("\n")
    first = lines[0].split()
    keywords: dict[str, list[str]] = {}
    for line in lines[1:]:
        words = (line.replace("=", " ", 1) if line[:5].upper() == "AUTH=" else line).split()
        if words:
            keywords.setdefault(words[0].upper(), []).extend(words[1:])
    limit = keywords.get("SIZE", [])
    size_bytes = int(limit[0]) if limit and limit[0].isascii() and limit[0].isdigit() and len(limit[0]) <= 19 else 0
    limits = _limits(keywords.get("LIMITS", []))
    return Capabilities(
        pipelining="PIPELINING" in keywords,
        chunking="CHUNKING" in keywords,
        eight_bit_mime="8BITMIME" in keywords,
        smtputf8="SMTPUTF8" in keywords,
        enhanced_status_codes="ENHANCEDSTATUSCODES" in keywords,
        starttls="STARTTLS" in keywords,
        size="SIZE" in keywords,
        size_bytes=size_bytes or None,
        dsn="DSN" in keywords,
        requiretls="REQUIRETLS" in keywords,
        mail_max=limits.get("MAILMAX"),
        rcpt_max=limits.get("RCPTMAX"),
        rcpt_domain_max=limits.get("RCPTDOMAINMAX"),
        auth=tuple(mechanism.upper() for mechanism in keywords.get("AUTH", ())),
        host=first[0] if first else "",
    )


def _limits(words: list[str]) -> dict[str, int]:
    """`NAME=value` pairs; what is not from 1 to 999999 is as good as not said (RFC 9422 §3)."""
    limits = {}
    for word in words:
        name, _, value = word.partition("=")
        if value.isascii() and value.isdigit() and len(value) <= 6 and int(value):
            limits[name.upper()] = int(value)
    return limits
