"""Make a `Reply` value of a reply's code and text (RFC 5321 §4.2, RFC 2034)."""

from bulkmail.model.delivery import Reply
from bulkmail.native.reply import enhanced_code

# What is kept of a reply's text: enough for a person and the rules, bounded for the log.
MAX_TEXT_CHARACTERS = 1000


def parse_text(code: int, raw: bytes) -> Reply:
    """The reply whose lines (without code, joined by line feeds) are `raw`.

    The enhanced code, repeated on every line by most servers, is taken off; control characters become spaces.
    """
    enhanced = enhanced_code(raw, code)
    text = raw.decode("utf-8", "replace")
    lines = [line.strip() for line in text.split("\n")]
    if enhanced is not None:
        lines = [line.removeprefix(enhanced).lstrip() for line in lines]
    joined = " ".join(line for line in lines if line)[:MAX_TEXT_CHARACTERS]
    if not joined.isprintable():
        joined = "".join(character if character.isprintable() else " " for character in joined)
    return Reply(code=code, enhanced=enhanced, text=joined)
