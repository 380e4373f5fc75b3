"""Turns what a part carries into text: transfer encodings, character sets, HTML, encoded words. Nothing is an error."""

import binascii
import re
from html import unescape

from bulkmail.feedback.mime import Part

TEXT_LIMIT = 64 << 10

# Names outside this list are not looked up: some codecs of Python's are no character sets, some are slow.
_CHARSETS = {
    "us-ascii": "latin-1",
    "ascii": "latin-1",
    "unicode-1-1-utf-7": "utf-7",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "big5": "big5",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "euc-jp": "euc_jp",
    "shift_jis": "cp932",
    "sjis": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
    **{f"iso-8859-{number}": f"iso8859-{number}" for number in (*range(1, 12), 13, 14, 15, 16)},
    **{f"windows-{page}": f"cp{page}" for page in (874, *range(1250, 1259))},
}
_CHARSET = re.compile(r"""charset\s*=\s*"?([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,2000}>")
_BREAKING = re.compile(
    r"<(?:br|/?p|/?div|/?tr|/?td|/?h[1-6]|/?li|/?table|/?ul|/?pre|hr)(?:[\s/][^<>]{0,2000})?>", re.IGNORECASE
)
_UNSEEN = re.compile(r"<(style|script|head)\b", re.IGNORECASE)
_ADDRESS_IN_BRACKETS = re.compile(r"<([^<>\s@]{1,64}@[^<>\s@]{1,255})>")
_ENCODED_WORD = re.compile(r"=\?([A-Za-z0-9_-]{1,40})\?([bBqQ])\?([^?\s]{0,2000})\?=(?:\s+(?==\?))?")
_QUOTED_PRINTABLE = re.compile(rb"=(?:20)?\n|=3D")


def text_of(part: Part) -> str:
    """The part's text, at most `TEXT_LIMIT` characters; HTML without its tags, a line for each block."""
    text = decoded_text(part.headers.get("content-type"), decoded(part))
    return plain(text) if part.type == "text/html" else text


def decoded(part: Part) -> bytes:
    """The body without its transfer encoding, as much as may matter."""
    encoding = part.headers.get("content-transfer-encoding").strip().lower()
    body = part.body[: 4 * TEXT_LIMIT]
    if encoding == "base64":
        return _from_base64(body)[:TEXT_LIMIT]
    if encoding == "quoted-printable" or _QUOTED_PRINTABLE.search(body):
        body = binascii.a2b_qp(body)
    return body[:TEXT_LIMIT]


def decoded_text(content_type: str, data: bytes) -> str:
    """`data` in the character set that the field names, or in UTF-8, or each byte a character."""
    match = _CHARSET.search(content_type)
    name = match[1].lower() if match is not None else ""
    if b"\x1b$" in data:
        name = "iso-2022-jp"
    codec = _CHARSETS.get(name, "utf-8")
    if codec in ("utf-8", "latin-1"):
        if data.isascii():
            return data.decode("ascii")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("latin-1")
    return data.decode(codec, "replace")


def plain(text: str) -> str:
    """HTML as lines of text. No parser: enough to read a notice by, and linear."""
    text = _without_unseen(text)
    text = _ADDRESS_IN_BRACKETS.sub(r" \1 ", text)
    if _BREAKING.search(text):
        # What a mail system calls HTML is often plain text: without a break in it, its lines are meant.
        text = _BREAKING.sub("\n", text.replace("\n", " "))
    return unescape(_TAG.sub("", text)).replace("\xa0", " ")


def decoded_words(value: str) -> str:
    """A header's text with its encoded words (RFC 2047) read."""
    value = value[:TEXT_LIMIT]
    return _ENCODED_WORD.sub(_decoded_word, value) if "=?" in value else value


def _without_unseen(text: str) -> str:
    """Without style sheets, scripts and the head; with one that does not end, all that follows is left out."""
    lower = text.lower()
    if len(lower) != len(text):
        return text
    kept, at = [], 0
    while (match := _UNSEEN.search(text, at)) is not None:
        kept.append(text[at : match.start()])
        close = lower.find(f"</{match[1].lower()}", match.end())
        if close < 0:
            return " ".join(kept)
        at = close + 2 + len(match[1])
    kept.append(text[at:])
    return " ".join(kept)


def _decoded_word(match: re.Match[str]) -> str:
    charset, encoding, text = match.groups()
    raw = text.encode("utf-8", "replace")
    data = _from_base64(raw) if encoding in "bB" else binascii.a2b_qp(raw, header=True)
    return decoded_text(f"charset={charset}", data)


def _from_base64(data: bytes) -> bytes:
    """What can be read of it."""
    data = bytes(data).translate(None, b"\n\r\t ")
    try:
        return binascii.a2b_base64(data[: len(data) - len(data) % 4])
    except binascii.Error:
        return b""
