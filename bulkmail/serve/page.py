"""The unsubscribe page: what it says, in which language. It knows nothing of the reader, so it can tell nothing."""

import tomllib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

_HERE = files("bulkmail.serve")
TEXTS: dict[str, dict[str, str]] = tomllib.loads((_HERE / "texts.toml").read_text(encoding="utf-8"))
DEFAULT = "en"
_STYLE = (_HERE / "page.css").read_text(encoding="utf-8").strip()
_PAGE = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
    (_HERE / "page.html").read_text(encoding="utf-8")
)

HEADERS = {
    # Nothing from anywhere else, no scripts, no frames around it; what the style is, its digest says.
    "content-security-policy": (
        "default-src 'none'; style-src 'sha256-"
        + b64encode(sha256(_STYLE.encode()).digest()).decode()
        + "'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    # The address of the page is what unsubscribes: it goes nowhere else, and is kept nowhere.
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex, nofollow",
    "x-frame-options": "DENY",
    "vary": "accept-language",
}


class Pages:
    """The pages of one sender; `lists` are names with their labels by language."""

    def __init__(self, sender: str | None, lists: Mapping[str, Mapping[str, str]]) -> None:
        self._sender = sender
        self._lists = lists
        self._asking: dict[str, str] = {}

    @property
    def lists(self) -> frozenset[str]:
        return frozenset(self._lists)

    def ask(self, language: str) -> str:
        page = self._asking.get(language)
        if page is None:
            words = TEXTS[language]
            text = words["question"].format(sender=self._sender) if self._sender else words["question_plain"]
            page = self._asking[language] = self._page(language, "ask", words["title"], text)
        return page

    def done(self, language: str, *, chosen: Sequence[str] = (), everything: bool = False) -> str:
        words = TEXTS[language]
        return self._page(language, "done", words["done_title"], words["done"], chosen=chosen, everything=everything)

    def plain(self, language: str, what: str, text: str | None = None) -> str:
        """`again`, `later` or `wrong`."""
        words = TEXTS[language]
        return self._page(language, what, words[f"{what}_title"], words[text or what])

    def _page(
        self,
        language: str,
        stage: str,
        title: str,
        text: str,
        *,
        chosen: Sequence[str] = (),
        everything: bool = False,
    ) -> str:
        labels = [
            (name, label.get(language) or label.get(DEFAULT) or name) for name, label in sorted(self._lists.items())
        ]
        return _PAGE.render(
            language=language,
            words=TEXTS[language],
            style=Markup(_STYLE),
            stage=stage,
            title=title,
            text=text,
            lists=labels,
            chosen=chosen,
            everything=everything,
        )


def language_of(wanted: str, accepted: str) -> str:
    """Of our languages, `wanted` (`de`, `de-AT`), else the best of an Accept-Language (RFC 9110 §12.5.4)."""
    own = _known(wanted)
    if own is not None:
        return own
    best, weight = DEFAULT, 0.0
    for part in accepted[:500].split(","):
        name, _, parameter = part.partition(";")
        quality = _quality(parameter)
        known = _known(name)
        if known is not None and quality > weight:
            best, weight = known, quality
    return best


def _known(name: str) -> str | None:
    primary = name.strip().lower().replace("_", "-").partition("-")[0]
    return primary if primary in TEXTS else None


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0
