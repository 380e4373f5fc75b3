"""A campaign's page and text as templates: MJML and Markdown made HTML, styles inlined, text derived; once for all."""

import re
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from types import ModuleType
from typing import Any

from bulkmail.content.placeholders import Placeholders
from bulkmail.content.plain import PIECE, plain_text
from bulkmail.content.template import Mode, Source
from bulkmail.content.tracking import Tracker
from bulkmail.model.campaign import Content

# What a Markdown body stands in.
DOCUMENT = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
</head>
<body style="margin:0;padding:24px;font:16px/25px 'Helvetica Neue',Helvetica,Arial,sans-serif">
<div style="max-width:600px;margin:0 auto">
{body}</div>
</body>
</html>
"""
PREHEADER = (
    '<div style="display:none;max-height:0;overflow:hidden;mso-hide:all">{text}'
    # Behind it, what keeps the first words of the page out of the list of messages.
    + "&#847;&zwnj;&nbsp;" * 60
    + "</div>"
)
BODY = re.compile(r"<body\b(?:\"[^\"]*\"|'[^']*'|[^>\"'])*>", re.IGNORECASE)
# Elements whose end tags HTML lets one leave out, and those that a parser adds.
IMPLIED = frozenset(("body", "colgroup", "dd", "dt", "head", "html", "li", "optgroup", "option", "p", "style", "tbody",
                     "td", "tfoot", "th", "thead", "tr"))  # fmt: skip
VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"))


class Page:
    """The texts of `html`, `mjml` or `markdown`, and of `text`; each None where there is none."""

    def __init__(
        self,
        content: Content,
        texts: dict[str, Source],
        check: Callable[[Source], None],
        tracker: Tracker | None = None,
    ) -> None:
        self.content, self.texts, self.check, self.tracker = content, texts, check, tracker

    def html(self) -> Source | None:
        kinds = [kind for kind in ("html", "mjml", "markdown") if kind in self.texts]
        if not kinds:
            return None
        if len(kinds) > 1:
            raise self.texts[kinds[1]].error(f"content has {kinds[0]} and {kinds[1]}, and one page only is sent")
        source = self.texts[kinds[0]]
        if kinds[0] != "html":
            # Told with the lines of the author's file, which are not those of the page that is made of it.
            self.check(source)
            source = from_mjml(source) if kinds[0] == "mjml" else from_markdown(source)
        if self.content.preheader:
            source = with_preheader(source, self.content.preheader)
        if self.content.inline_css:
            source = with_inline_css(source)
        return source

    def finished(self, html: Source) -> Source:
        """The page as it is sent, with what is not read as text."""
        return html if self.tracker is None else with_text(html, self.tracker.whole(html.text), Mode.HTML)

    def text(self, html: Source | None) -> Source | None:
        """`text`, or what Markdown is already, or else the page without its tags."""
        given = self.texts.get("text")
        if given is not None or html is None:
            return given
        markdown = self.texts.get("markdown")
        if markdown is not None:
            return with_text(markdown, markdown.text, Mode.TEXT)
        return with_text(html, plain_text(html.text), Mode.DERIVED)


def with_text(source: Source, text: str, mode: Mode) -> Source:
    return Source(text=text, mode=mode, file=source.file, path=source.path)


def tool(name: str, package: str, source: Source, key: str) -> ModuleType:
    """A module that comes with an extra. Fails with CampaignError that says how to have it."""
    try:
        return __import__(name, fromlist=["_"])
    except ImportError:
        raise source.error(
            f"content.{key} needs {package}, which is not installed", hint="pip install 'bulkmail[content]'"
        ) from None


def from_mjml(source: Source) -> Source:
    """MJML (by mrml) as the HTML that mail programs understand."""
    mrml: Any = tool("mrml", "mrml", source, "mjml")
    marks = Placeholders(source, "MJML")
    try:
        made = mrml.to_html(marks.text, render_options=mrml.RenderOptions(fonts={}))
    except Exception as error:  # of its own kinds, none of them public
        raise source.error(f"is not MJML: {error}") from None
    return with_text(source, marks.put_back(made.content), Mode.HTML)


def from_markdown(source: Source) -> Source:
    """Markdown (CommonMark, with tables) as a page of our own."""
    markdown: Any = tool("markdown_it", "markdown-it-py", source, "markdown")
    marks = Placeholders(source, "Markdown")
    made = markdown.MarkdownIt("commonmark", {"html": True}).enable("table").render(marks.text)
    return with_text(source, DOCUMENT.replace("{body}", marks.put_back(made)), Mode.HTML)


def with_inline_css(source: Source) -> Source:
    """Rules of `<style>` as `style` attributes; what only a style sheet can say (`@media`) stays one."""
    css_inline: Any = tool("css_inline", "css-inline", source, "inline_css")
    marks = Placeholders(source, "css-inline")
    inliner = css_inline.CSSInliner(keep_style_tags=False, keep_at_rules=True, load_remote_stylesheets=False)
    try:
        made = inliner.inline(marks.text)
    except css_inline.InlineError as error:
        raise source.error(f"the styles cannot be inlined: {error}") from None
    before, after = Tags(marks.text).found, Tags(made).found
    if before != after:
        at = next((n for n, (one, two) in enumerate(zip(before, after, strict=False)) if one != two), len(after))
        tag = before[at] if at < len(before) else after[at]
        raise source.error(
            f"the styles cannot be inlined: <{tag}> is not closed, or opened in one branch and closed in another",
            hint="let each branch of a condition have whole elements",
        )
    return with_text(source, marks.put_back(made), Mode.HTML)


class Tags(HTMLParser):
    """The tags of a page in order, without those that parsers add or leave out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("html", "head", "body", "tbody", "style"):
            self.found.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in IMPLIED and tag not in VOID:
            self.found.append(f"/{tag}")


def with_preheader(source: Source, preheader: str) -> Source:
    """The words that stand beside the subject in a list of messages: first in the page, and unseen there."""
    position, pieces = 0, []
    for found in PIECE.finditer(preheader):
        pieces += [escape(preheader[position : found.start()], quote=False), found[0]]
        position = found.end()
    pieces.append(escape(preheader[position:], quote=False))
    text = PREHEADER.replace("{text}", "".join(pieces).strip())
    body = BODY.search(source.text)
    at = body.end() if body is not None else 0
    return with_text(source, source.text[:at] + text + source.text[at:], Mode.HTML)
