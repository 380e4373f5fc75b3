"""A page as plain text: what is read aloud, with links behind their words; Jinja2 in it is kept as it is."""

import re
from html.parser import HTMLParser

PIECE = re.compile(
    r"""\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}|\{\#.*?\#\}"""
    r"""|\{\{(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^'"}]|\}(?!\}))*\}\}|\{%(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^'"%]|%(?!\}))*%\}""",
    re.DOTALL,
)
BLOCKS = frozenset(("address", "article", "blockquote", "body", "center", "dd", "div", "dl", "dt", "figure", "footer",
                    "form", "header", "html", "main", "nav", "ol", "p", "pre", "section", "table", "tbody", "tfoot",
                    "thead", "tr", "ul"))  # fmt: skip
APART = frozenset(("blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "ol", "p", "pre", "table", "ul"))
UNSEEN = frozenset(("head", "noscript", "script", "style", "template", "title"))
HIDDEN = re.compile(r"display\s*:\s*none|mso-hide\s*:\s*all", re.IGNORECASE)
VOID = frozenset(("area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"))
MARK = "\ue000"  # private use: stands around the number of a piece of Jinja2


def plain_text(html: str) -> str:
    """The text of a page that is a template itself."""
    pieces: list[str] = []

    def taken(found: re.Match[str]) -> str:
        pieces.append(found[0])
        return f"{MARK}{len(pieces) - 1}{MARK}"

    reader = Reader()
    reader.feed(PIECE.sub(taken, html.replace(MARK, "")))
    reader.close()
    text = reader.text()

    def put_back(found: re.Match[str]) -> str:
        return pieces[int(found[1])]

    return re.sub(f"{MARK}(\\d+){MARK}", put_back, text)


class Reader(HTMLParser):
    """Gathers lines; a paragraph's white space is one blank, as in a browser."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = [""]
        self.unseen: list[str] = []
        self.links: list[tuple[str, int]] = []
        self.lists: list[int | None] = []
        self.preformatted = 0
        self.cells = 0

    def text(self) -> str:
        lines = [re.sub(r"[ \t]+", " ", line).strip() if not line.startswith("\t") else line[1:] for line in self.lines]
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
        return f"{text}\n" if text else ""

    def write(self, text: str) -> None:
        self.lines[-1] += text

    def line(self) -> None:
        if self.lines[-1].strip():
            self.lines.append("")

    def blank_line(self) -> None:
        self.line()
        if len(self.lines) > 1 and self.lines[-2].strip():
            self.lines.append("")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if self.unseen or tag in UNSEEN or HIDDEN.search(attributes.get("style", "")):
            if tag not in VOID:
                self.unseen.append(tag)
            return
        if tag == "br":
            self.lines.append("")
        elif tag == "hr":
            self.blank_line()
            self.write("-" * 40)
            self.blank_line()
        elif tag == "img":
            self.write(attributes.get("alt", ""))
        elif tag == "a":
            self.links.append((attributes.get("href", ""), len(self.lines[-1])))
        elif tag == "li":
            self.line()
            number = self.lists[-1] if self.lists else None
            if number is not None:
                self.lists[-1] = number + 1
            self.write("* " if number is None else f"{number}. ")
        elif tag in ("td", "th"):
            if self.cells:
                self.write("  ")
            self.cells += 1
        elif tag in APART:
            self.blank_line()
        elif tag in BLOCKS:
            self.line()
        if tag in ("ul", "ol"):
            self.lists.append(1 if tag == "ol" else None)
        if tag == "tr":
            self.cells = 0
        if tag == "pre":
            self.preformatted += 1

    def handle_endtag(self, tag: str) -> None:
        if self.unseen:
            if tag in self.unseen:
                del self.unseen[len(self.unseen) - 1 - self.unseen[::-1].index(tag) :]
            return
        if tag == "a" and self.links:
            target, start = self.links.pop()
            words = self.lines[-1][start:].strip()
            shown = target.removeprefix("mailto:")
            if target and not target.startswith("#") and shown != words:
                self.write(f": {shown}" if words else shown)
        elif tag in ("ul", "ol") and self.lists:
            self.lists.pop()
        if tag == "pre" and self.preformatted:
            self.preformatted -= 1
        if tag in APART:
            self.blank_line()
        elif tag in BLOCKS or tag == "li":
            self.line()

    def handle_data(self, data: str) -> None:
        if self.unseen:
            return
        if self.preformatted:
            first, *rest = data.split("\n")
            self.write(first)
            self.lines += [f"\t{line}" for line in rest]
            return
        text = re.sub(r"[ \t\r\n\f]+", " ", data)
        self.write(text if self.lines[-1].strip() else text.lstrip(" "))
