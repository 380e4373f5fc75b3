"""Links through a redirect of our own, which leads only where we have signed that it may, and the picture for opens.

A link is BASE/c/SEALED/TOKEN, where SEALED is base64url of ten bytes of keyed BLAKE2b over the target, and the target.
The target is sealed once for all recipients, and the token names the recipient, under a seal of its own.
"""

import base64
import binascii
import html
import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from hmac import compare_digest
from typing import Any

from msgspec import Struct

from bulkmail.content.plain import PIECE
from bulkmail.model.campaign import Tracking

SEAL_BYTES = 10
MAX_TARGET = 2000
TARGET = re.compile(r"https?://[!#-;=?-Z\[\]_a-z~%]+", re.IGNORECASE)  # RFC 3986's characters alone: no CR, LF, blank
LINK = re.compile(r"""(<a\b(?:"[^"]*"|'[^']*'|[^>"'])*?\shref\s*=\s*)("[^"]*"|'[^']*')""", re.IGNORECASE)
END = re.compile(r"</body\s*>", re.IGNORECASE)
TRACKED = "tracked"
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


class Click(Struct, frozen=True):
    """A link of ours that was followed: where it leads, and the token of whoever it was sent to."""

    target: str
    token: str


class LinkSeal:
    """Seals targets under the secret of a `TokenKey`."""

    def __init__(self, secret: bytes) -> None:
        self._mac = blake2b(key=secret, digest_size=SEAL_BYTES, person=b"bulkmail link")

    def sealed(self, target: str) -> str:
        data = target.encode()
        return base64.urlsafe_b64encode(self.seal(data) + data).decode().rstrip("=")

    def seal(self, data: bytes) -> bytes:
        mac = self._mac.copy()
        mac.update(data)
        return mac.digest()


def open_link(path: str, seals: Iterable[LinkSeal]) -> Click | None:
    """What the path of a request (`/c/SEALED/TOKEN`) means; None for whatever none of the seals has made.

    Whether the token is ours is for `Identity.open` to say.
    """
    parts = path.strip("/").split("/")
    if len(parts) != 3 or parts[0] != "c" or len(path) > 2 * MAX_TARGET:
        return None
    text = parts[1]
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    seal, target = data[:SEAL_BYTES], data[SEAL_BYTES:]
    known = False
    for each in seals:  # all of them, so that the time tells nothing
        known = compare_digest(seal, each.seal(target)) or known
    if not known:
        return None
    words = target.decode("ascii", "replace")
    return Click(words, parts[2]) if TARGET.fullmatch(words) else None


def open_pixel(path: str) -> str | None:
    """The token of a request for the picture (`/o/TOKEN.gif`); None for other paths."""
    found = re.fullmatch(r"/o/([A-Za-z2-7]{32})\.gif", path)
    return found[1] if found is not None else None


class Tracker:
    """Rewrites a page's template. Unsubscribe links, mailto: and whatever is no http or https link stay as they are."""

    def __init__(self, tracking: Tracking, seal: LinkSeal) -> None:
        self.base = tracking.url.rstrip("/")
        self.links, self.opens, self.seal = tracking.links, tracking.opens, seal

    def page(self, text: str) -> str:
        if self.links:
            text = self.tracked_links(text)
        if self.opens and (end := END.search(text)) is not None:
            text = text[: end.start()] + self.picture() + text[end.start() :]
        return text

    def whole(self, text: str) -> str:
        """A page that is not put into another, whose `</body>` may be missing."""
        extends = re.search(r"\{%-?\s*extends\b", text) is not None
        return text if not self.opens or extends or END.search(text) else text + self.picture()

    def picture(self) -> str:
        style = "display:block;border:0;width:1px;height:1px"
        return f'<img src="{self.base}/o/{{{{ token }}}}.gif" width="1" height="1" alt="" style="{style}">'

    def tracked_links(self, text: str) -> str:
        # Marks first: a quotation mark inside {{ }} ends no attribute.
        pieces: list[str] = []

        def taken(found: re.Match[str]) -> str:
            pieces.append(found[0])
            return f"\ue001{len(pieces) - 1}\ue001"

        def put_back(part: str) -> str:
            return re.sub("\ue001(\\d+)\ue001", lambda found: pieces[int(found[1])], part)

        def replaced(found: re.Match[str]) -> str:
            value = self.tracked(found[2][1:-1], pieces)
            return f"{found[1]}{found[2] if value is None else found[2][0] + value + found[2][0]}"

        return put_back(LINK.sub(replaced, PIECE.sub(taken, text.replace("\ue001", ""))))

    def tracked(self, value: str, pieces: Sequence[str]) -> str | None:
        """The value of an href instead of this one; None to leave it."""
        parts = re.split("\ue001(\\d+)\ue001", value.strip())
        marks = [pieces[int(number)] for number in parts[1::2]]
        if any("unsubscribe_url" in mark or not mark.startswith("{{") for mark in marks):
            return None
        if not marks:
            return self.redirect(html.unescape(parts[0]), "{{ token }}")
        if parts[0] and not parts[0].lower().startswith(("http://", "https://")):
            return None
        words = []
        for number, part in enumerate(parts):
            if number % 2:
                expression = pieces[int(part)][2:-2].strip("-+ \n\t")
                words.append(f"({expression})")
            elif part:
                words.append(quoted(html.unescape(part)))
        return f"{{{{ ({' ~ '.join(words)}) | {TRACKED}(token) }}}}"

    def redirect(self, target: str, token: str) -> str | None:
        if len(target) > MAX_TARGET or not TARGET.fullmatch(target):
            return None
        return f"{self.base}/c/{self.seal.sealed(target)}/{token}"

    def filter(self, value: Any, token: str) -> Any:
        """What the templates' filter does: a link as a redirect, whatever is no such link as it is."""
        return self.redirect(str(value), token) or value


def untracked(value: Any, token: str) -> Any:
    """The filter where nothing is tracked."""
    return value


def quoted(text: str) -> str:
    """The text as a constant of Jinja2."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
