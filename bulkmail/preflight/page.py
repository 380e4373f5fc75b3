"""A finished HTML page, read for what the rules ask: links, pictures, visible text and its colours."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser

from msgspec import Struct

from bulkmail.preflight.colours import Colour, Sheet, Style, colour_in, contrast, declarations

VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"))
UNREAD = frozenset(("head", "script", "style", "title", "template", "noscript"))
# Elements whose end may be left out.
OPTIONAL = frozenset(("body", "colgroup", "dd", "dt", "head", "html", "li", "option", "p", "tbody", "td", "tfoot",
                      "th", "thead", "tr"))  # fmt: skip
TAKEN_OUT = frozenset(("applet", "audio", "embed", "form", "frame", "iframe", "input", "object", "script", "video"))
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
# What mail programs take for the page in dark mode.
NIGHT: Colour = (18, 18, 18)


class Link(Struct, kw_only=True):
    """`words` are what a reader sees of it, the alt texts of its pictures included."""

    target: str | None
    words: str = ""
    pictures: int = 0


class Picture(Struct, frozen=True, kw_only=True):
    """`alt` None: no such attribute."""

    source: str
    alt: str | None


class Passage(Struct, frozen=True, kw_only=True):
    """Visible text with the ratio of its contrast in light and (where the page has dark styles) dark mode."""

    text: str
    light: float
    dark: float
    pixels: float | None


class Page(Struct, kw_only=True):
    """What was found; `unclosed` are elements that end in the wrong place or not at all."""

    links: list[Link] = []
    pictures: list[Picture] = []
    passages: list[Passage] = []
    anchors: set[str] = set()
    taken_out: list[str] = []
    sheets: list[str] = []
    unclosed: list[str] = []
    language: str | None = None
    says_scheme: bool = False
    has_dark_styles: bool = False

    @property
    def text(self) -> str:
        return " ".join(" ".join(passage.text for passage in self.passages).split())


def read_page(html: str) -> Page:
    """Read a page; whatever is wrong with it, something comes of it."""
    reader = _Reader()
    # What only Outlook sees is markup for its tables.
    reader.feed(re.sub(r"<!--\[if.*?<!\[endif\]-->", "", html, flags=re.DOTALL | re.IGNORECASE))
    reader.close()
    reader.end()
    return reader.page


class _Box(Struct):
    """An open element and what its text inherits."""

    tag: str
    colour: Colour
    ground: Colour
    dark_colour: Colour
    dark_ground: Colour
    pixels: float | None
    hidden: bool


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._boxes = [_Box("", BLACK, WHITE, BLACK, WHITE, None, False)]
        self._link: Link | None = None
        self._sheet = Sheet()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self._note(tag, attributes)
        if tag not in VOID:
            self._boxes.append(self._box(tag, attributes))

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self._note(tag, {name: value or "" for name, value in attrs})

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._link = None
        if tag in VOID:
            return
        if all(box.tag != tag for box in self._boxes):
            if tag not in OPTIONAL:
                self.page.unclosed.append(f"</{tag}>")
            return
        while (box := self._boxes.pop()).tag != tag:
            if box.tag not in OPTIONAL:
                self.page.unclosed.append(f"<{box.tag}>")

    def handle_data(self, data: str) -> None:
        box = self._boxes[-1]
        if box.tag == "style":
            self._sheet.read(data)
            self.page.has_dark_styles |= bool(self._sheet.dark)
            self.page.says_scheme |= "color-scheme:" in data.replace(" ", "")
        if any(each.tag in UNREAD for each in self._boxes) or not data.strip():
            return
        text = " ".join(data.split())
        if self._link is not None:
            self._link.words += f" {text}"
        if not box.hidden:
            light = contrast(box.colour, box.ground)
            dark = contrast(box.dark_colour, box.dark_ground) if self.page.has_dark_styles else light
            self.page.passages.append(Passage(text=text, light=light, dark=dark, pixels=box.pixels))

    def end(self) -> None:
        self.page.unclosed += [f"<{box.tag}>" for box in self._boxes[1:] if box.tag not in OPTIONAL]

    def _note(self, tag: str, attributes: dict[str, str]) -> None:
        page = self.page
        page.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        if tag == "a" and ("href" in attributes or "name" not in attributes):
            self._link = Link(target=attributes.get("href"))
            page.links.append(self._link)
        elif tag == "area":
            page.links.append(Link(target=attributes.get("href"), words=attributes.get("alt", "")))
        elif tag == "img":
            page.pictures.append(Picture(source=attributes.get("src", ""), alt=attributes.get("alt")))
            if self._link is not None:
                self._link.pictures += 1
                self._link.words += f" {attributes.get('alt', '')}"
        elif tag == "link" and "stylesheet" in attributes.get("rel", "").lower():
            page.sheets.append(attributes.get("href", ""))
        elif tag == "html":
            page.language = attributes.get("lang")
        elif tag == "meta" and attributes.get("name", "").lower() in ("color-scheme", "supported-color-schemes"):
            page.says_scheme = True
        if tag in TAKEN_OUT:
            page.taken_out.append(tag)

    def _box(self, tag: str, attributes: dict[str, str]) -> _Box:
        above = self._boxes[-1]
        names = [tag, *(f".{name}" for name in attributes.get("class", "").split())]
        light: Style = {}
        dark: Style = {}
        for name in names:
            light |= self._sheet.light.get(name, {})
            dark |= self._sheet.dark.get(name, {})
        if attributes.get("bgcolor"):
            light["background"] = attributes["bgcolor"]
        light |= declarations(attributes.get("style", ""))
        colour, ground = _colour(light), _ground(light)
        night, night_ground = _colour(dark) or colour, _ground(dark) or ground
        hidden = light.get("display") == "none" or light.get("visibility") == "hidden" or "mso-hide" in light
        return _Box(
            tag,
            colour or above.colour,
            ground or above.ground,
            night or above.dark_colour,
            night_ground or above.dark_ground,
            _pixels(light, above.pixels),
            hidden or above.hidden,
        )


def _colour(style: Style) -> Colour | None:
    return colour_in(style["color"]) if "color" in style else None


def _ground(style: Style) -> Colour | None:
    value = style.get("background-color") or style.get("background") or style.get("background-image")
    return colour_in(value) if value else None


def _pixels(style: Style, above: float | None) -> float | None:
    found = re.search(r"(?<![\d.])(\d+(?:\.\d+)?)(px|pt)", style.get("font-size") or style.get("font") or "")
    if found is None:
        return 0.0 if style.get("font-size") == "0" else above
    return float(found[1]) * (4 / 3 if found[2] == "pt" else 1)
