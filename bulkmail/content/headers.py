"""Header values as they go on the wire: RFC 2047 words where needed, folded, never a control character."""

import base64
import re
from collections.abc import Iterator

from bulkmail.content.errors import ContentError

LINE = 78  # RFC 5322 §2.1.1: SHOULD
ENCODED_LINE = 76  # RFC 2047 §2: a line with encoded-words
ENCODED_WORD = 75
HARD_LIMIT = 998  # RFC 5322 §2.1.1: MUST

# C0, DEL, C1 and the Unicode line and paragraph separators: whatever some parser might take for a line's end.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 §2.2
PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")  # RFC 5322 §3.2.3: atoms and the spaces between
WORD_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")  # RFC 2047 §5 (3)
# RFC 2231 §7: attribute-char
ATTRIBUTE_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~")
QUOTED = [chr(byte) if byte in WORD_BYTES else "_" if byte == 0x20 else f"={byte:02X}" for byte in range(256)]
QUOTED_SIZE = [len(text) for text in QUOTED]
MAX_NAME = ENCODED_LINE - len(": =?utf-8?q??=") - 12  # leaves a line room for one character of four bytes

# Written by the program, or by whoever relays: not the campaign's to set.
STRUCTURAL = {
    "from": "use the key from",
    "reply-to": "use the key reply_to",
    "subject": "use the key subject",
    "return-path": "use the key return_path",
    "list-id": "use the key list_id",
    "list-unsubscribe": "use the key unsubscribe",
    "list-unsubscribe-post": "use the key unsubscribe",
    "dkim-signature": "use the key dkim",
    "to": "each message goes to one recipient",
    "cc": "each message goes to one recipient",
    "bcc": "each message goes to one recipient",
    **dict.fromkeys(("date", "message-id", "mime-version", "received", "sender"), "bulkmail sets it"),
}
# RFC 2369 §3: URIs in angle brackets; beside these List-Unsubscribe, which has a key of its own.
LIST_HEADERS = frozenset(("list-archive", "list-help", "list-owner", "list-post", "list-subscribe"))
_URI = r"<[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z\[\]_a-z~%]+>"
LIST_VALUE = re.compile(rf"{_URI}(?:\s*,\s*{_URI})*")
STRUCTURAL_FAMILIES = ("content-", "arc-", "resent-", "authentication-results", "received-")


def name_problem(name: str) -> str | None:
    """Why a campaign may not set this header; None where it may."""
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        return f"{name!r} is not a header name: up to {MAX_NAME} printable ASCII characters without a colon"
    if name.lower() in STRUCTURAL:
        return f"{name} may not be set here: {STRUCTURAL[name.lower()]}"
    if name.lower().startswith(STRUCTURAL_FAMILIES):
        return f"{name} may not be set here: bulkmail or a receiver sets it"
    return None


def list_problem(name: str, text: str) -> str | None:
    """Why the text cannot be the value of a header of RFC 2369; None where it can, and for other headers."""
    if name.lower() not in LIST_HEADERS or LIST_VALUE.fullmatch(text):
        return None
    if name.lower() == "list-post" and text == "NO":
        return None
    return f"{name} is a URI in angle brackets, or several with commas between: <mailto:care@garden.example>"


def control_problem(text: str) -> str | None:
    """`a line break` or `the control character U+0000`, as found in a text that goes into a header; else None."""
    found = CONTROL.search(text)
    if found is None:
        return None
    return "a line break" if found[0] in "\r\n" else f"the control character U+{ord(found[0]):04X}"


def unstructured(name: str, text: str) -> str:
    """The value of `name: value` for free text (RFC 5322 §2.2.1), folded, ASCII. Fails with ContentError."""
    room = LINE - len(name) - 2
    if len(text) <= room and text.isascii() and text.isprintable() and "=?" not in text and text == text.strip(" "):
        return text
    problem = control_problem(text)
    if problem is not None:
        raise ContentError(f"header {name} has {problem}")
    text = text.strip(" ")
    if text.isascii() and "=?" not in text:
        folded = fold(name, text)
        if max(map(len, folded.split("\r\n"))) + len(name) + 2 <= HARD_LIMIT:
            return folded
    return "\r\n ".join(encoded_words(text, first_room=ENCODED_LINE - len(name) - 2))


def fold(name: str, text: str) -> str:
    """Line breaks before spaces so that lines stay within 78 where the words allow it (RFC 5322 §2.2.3)."""
    lines, line, length = [], "", len(name) + 2
    for word in re.findall(r" *[^ ]+", text):
        if line and length + len(word) > LINE:
            lines.append(line)
            line, length = "", 0
        line += word
        length += len(word)
    lines.append(line)
    return "\r\n".join(lines)


def encoded_words(text: str, *, first_room: int = ENCODED_WORD) -> Iterator[str]:
    """RFC 2047 words of at most 75 characters, each of whole characters.

    The first is at most `first_room` long, which is enough for one character whatever the header's name.
    """
    data = text.encode()
    quoted = sum(map(QUOTED_SIZE.__getitem__, data)) <= (len(data) + 2) // 3 * 4
    cut = quoted_cut if quoted else base64_cut
    opening = "=?utf-8?q?" if quoted else "=?utf-8?b?"
    room = min(first_room, ENCODED_WORD) - len(opening) - 2
    start = 0
    while start < len(data):
        end = cut(data, start, room)
        word = data[start:end]
        coded = "".join(map(QUOTED.__getitem__, word)) if quoted else base64.b64encode(word).decode()
        yield f"{opening}{coded}?="
        start, room = end, ENCODED_WORD - len(opening) - 2


def quoted_cut(data: bytes, start: int, room: int) -> int:
    """Where the longest run of whole characters ends that fits `room` in the Q encoding."""
    end = position = start
    while position < len(data):
        room -= QUOTED_SIZE[data[position]]
        if room < 0:
            return end
        position += 1
        if position == len(data) or data[position] & 0xC0 != 0x80:
            end = position
    return end


def base64_cut(data: bytes, start: int, room: int) -> int:
    """Where the longest run of whole characters ends that fits `room` in base64."""
    end = start + room // 4 * 3
    if end >= len(data):
        return len(data)
    while data[end] & 0xC0 == 0x80:
        end -= 1
    return end


def mailbox(header: str, name: str | None, address: str) -> str:
    """The value of an address header for one mailbox (RFC 5322 §3.4). Fails with ContentError."""
    problem = control_problem(f"{name or ''}{address}")
    if problem is not None:
        raise ContentError(f"header {header} has {problem}")
    if not name:
        return address
    if not name.isascii() or "=?" in name:
        phrase = "\r\n ".join(encoded_words(name, first_room=ENCODED_LINE - len(header) - 2))
    elif PHRASE.fullmatch(name) and name == name.strip() and "  " not in name:
        phrase = name
    else:
        escaped = re.sub(r'(["\\])', r"\\\1", name)
        phrase = f'"{escaped}"'
    last = phrase.rpartition("\r\n")[2]
    used = len(last) + (0 if "\r\n" in phrase else len(header) + 2)
    return f"{phrase} <{address}>" if used + len(address) + 3 <= LINE else f"{phrase}\r\n <{address}>"


def parameter(name: str, value: str) -> str:
    """`; name=value` of a Content-* header on lines of its own, of any text (RFC 2045 §5.1, RFC 2231 §3-4)."""
    # A quoted string could hold `"` and `;` too, but there are readers that take either for its end.
    if value.isascii() and value.isprintable() and len(value) <= 60 and not re.search(r'["\\;]', value):
        return f';\r\n {name}="{value}"'
    units = [f"%{byte:02X}" if byte not in ATTRIBUTE_BYTES else chr(byte) for byte in value.encode()]
    if sum(map(len, units)) <= 60:
        return f";\r\n {name}*=utf-8''{''.join(units)}"
    lines, line = [], ""
    for unit in units:
        if len(line) + len(unit) > 54:
            lines.append(line)
            line = ""
        line += unit
    lines.append(line)
    lines[0] = f"utf-8''{lines[0]}"
    return "".join(f";\r\n {name}*{index}*={line}" for index, line in enumerate(lines))
