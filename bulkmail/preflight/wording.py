"""Judge what is read: subject, words, text part beside page, colours, and elements that mail programs drop."""

import re
from collections.abc import Iterator

from bulkmail.preflight.finding import Finding, found
from bulkmail.preflight.page import Page

LONGEST_SUBJECT = 78  # RFC 5322 §2.1.1: what a line should have at most; phones show half of it
LEAST_CONTRAST = 3.0  # WCAG 2.2 §1.4.3 asks 4.5 of small text, 3 of large
UNSEEN_CONTRAST = 1.2
SMALLEST_PIXELS = 7.0
LEAST_WORDS = 15
LEAST_SHARED = 0.3
LONG_LINE = 998

_UNRENDERED = re.compile(
    r"\{\{.{0,60}?\}\}|\{%.{0,60}?%\}|\*\|[A-Z_:]{2,40}\|\*|%%[A-Za-z_]{2,40}%%"
    r"|<%=.{0,60}?%>|\$\{[a-z_.]{2,40}\}|\[\[[a-z_ ]{2,40}\]\]",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"\blorem ipsum\b|\bdolor sit amet\b|\b(?:TODO|TBD|FIXME|XXX+)\b"
    r"|\[(?:first ?name|name|company|insert[^\]]*|your[^\]]*)\]",
    re.IGNORECASE,
)
_NOTHING = re.compile(
    r"(?<![\w.])(?:None|null|undefined|NaN|nan)(?=[,.!?;:]|\s*$)"
    r"|(?:Hello|Hi|Dear|Hallo|Liebe[r]?) (?:None|null|undefined|nan)\b"
)
# Phrases that the public rule sets of filters score; few, so that each means something.
SPAM_PHRASES = (
    "100% free", "act now", "as seen on tv", "be your own boss", "cash bonus", "click here now", "double your income",
    "earn extra cash", "extra income", "fast cash", "financial freedom", "get rich", "guaranteed winner",
    "lose weight fast", "make money fast", "miracle cure", "no credit check", "no strings attached", "risk-free",
    "once in a lifetime", "this is not spam", "urgent response", "while supplies last", "work from home",
    "you have been selected", "you are a winner", "viagra",
)  # fmt: skip


def subject_findings(subject: str, kind: str, where: str) -> Iterator[Finding]:
    """What readers and filters may mind about a finished subject."""
    text = " ".join(subject.split())
    letters = [letter for letter in text if letter.isalpha()]
    if not text:
        yield found("subject.empty", "the subject is empty", where=where, remedy="give its fields a default")
        return
    if len(text) > LONGEST_SUBJECT:
        what = f"the subject has {len(text)} characters: {text[:60]}..."
        yield found("subject.long", what, where=where, remedy="keep to 50, and the news to the first 30")
    if len(letters) > 7 and "".join(letters).isupper():
        yield found(
            "subject.shouting", f"the subject is all capitals: {text}", where=where, remedy="write it as a sentence"
        )
    if re.search(r"[!?]{3,}|[$€£]{2,}|!.*!.*!", text):
        yield found("subject.punctuation", f"the subject shouts: {text}", where=where, remedy="one mark is enough")
    if kind == "marketing" and re.match(r"(?:re|fwd?|aw|wg|tr)\s*:", text, re.IGNORECASE):
        what = f"the subject claims an answer that it is not: {text}"
        yield found(
            "subject.reply", what, where=where, remedy="Gmail and Yahoo forbid misleading subjects: leave it out"
        )
    yield from words_findings(text, where)


def words_findings(text: str, where: str) -> Iterator[Finding]:
    """Leftovers of templates, filler, and what filters count, in any finished text."""
    for rule, pattern, remedy in (
        ("words.unrendered", _UNRENDERED, "it is shown as it stands; print fields as {{ field }}"),
        ("words.placeholder", _FILLER, "write what should stand there"),
        ("words.nothing", _NOTHING, "give the field a default"),
    ):
        if match := pattern.search(text):
            around = " ".join(text[max(0, match.start() - 20) : match.end() + 20].split())
            yield found(
                rule, f'"{" ".join(match[0].split())}" is in the message: ... {around} ...', where=where, remedy=remedy
            )
    plain = " ".join(text.lower().split())
    phrases = [phrase for phrase in SPAM_PHRASES if phrase in plain]
    if len(phrases) > 1 or (phrases and len(plain) < LONGEST_SUBJECT):
        what = f"filters count {', '.join(phrases)}"
        yield found("words.spam", what, where=where, remedy="say what is offered in plain words")


def page_findings(page: Page, where: str) -> Iterator[Finding]:
    """Whether the page can be read, in light and in dark, and is taken as it is."""
    words = len(page.text.split())
    if page.pictures and words < LEAST_WORDS:
        what = f"{len(page.pictures)} pictures and {words} words"
        yield found("images.only", what, where=where, remedy="put the message into text: many see no pictures at first")
    elif not words:
        yield found("text.empty", "the page has nothing to read", where=where, remedy="write something")
    for tag in dict.fromkeys(page.taken_out):
        yield found("html.tag", f"mail programs take <{tag}> out", where=where, remedy="link to a page that has it")
    for sheet in page.sheets:
        what = f"mail programs do not load {sheet or 'a style sheet'}"
        yield found("html.stylesheet", what, where=where, remedy="use <style>, and inline_css: true")
    if page.unclosed:
        what = f"elements that do not match: {', '.join(dict.fromkeys(page.unclosed))}"
        yield found("html.unclosed", what, where=where, remedy="close each where it was opened")
    if page.language is None:
        yield found("html.language", "the page does not say its language", where=where, remedy='write <html lang="en">')
    yield from _colour_findings(page, where)


def _colour_findings(page: Page, where: str) -> Iterator[Finding]:
    for passage in page.passages:
        what = f'"{passage.text[:50]}"'
        tiny = passage.pixels is not None and passage.pixels < SMALLEST_PIXELS
        # A blank that keeps a cell open, or the dots of a separator, nobody has to read.
        if not re.search(r"\w\w", passage.text):
            continue
        if tiny or passage.light < UNSEEN_CONTRAST:
            seen = f"{passage.pixels:g} pixels high" if tiny else f"of contrast {passage.light:.1f}"
            yield found("html.hidden", f"{what} is {seen}", where=where, remedy="let it be seen, or take it out")
        elif passage.light < LEAST_CONTRAST:
            seen = f"{what} has contrast {passage.light:.1f} to its background"
            yield found("html.contrast", seen, where=where, remedy=f"4.5 is good, {LEAST_CONTRAST:g} the least")
        elif page.has_dark_styles and passage.dark < LEAST_CONTRAST:
            seen = f"{what} has contrast {passage.dark:.1f} to its background in dark mode"
            yield found(
                "html.dark-contrast", seen, where=where, remedy="give text and background dark colours together"
            )
    if page.passages:
        least = min(passage.dark for passage in page.passages)
        if page.has_dark_styles:
            what = f"dark mode: the page has styles of its own; the least contrast is {least:.1f}"
        elif page.says_scheme:
            what = "dark mode: the page names its colour schemes but has no dark styles; mail programs turn its colours"
        else:
            what = "dark mode: the page says nothing of it; some mail programs turn its colours"
        yield found("html.dark-mode", what, where=where)


def text_findings(text: str | None, page: Page | None, where: str) -> Iterator[Finding]:
    """The text part by itself, and beside the page."""
    if text is None:
        if page is not None:
            yield found("text.missing", "the message has a page alone", where=where, remedy="add content.text")
        return
    if not text.strip():
        yield found("text.empty", "the text part is empty", where=where, remedy="write it, or leave content.text out")
        return
    if match := re.search(r"</?(?:p|div|br|b|i|a|table|td|tr|span|strong|em|h[1-6])\b[^<>]*>", text, re.IGNORECASE):
        yield found("text.html", f"{match[0]} is in the text part", where=where, remedy="write plain text")
    if (longest := max(map(len, text.splitlines()))) > LONG_LINE:
        what = f"a line of the text part has {longest:,} characters"
        yield found("text.long-line", what, where=where, remedy="break paragraphs")
    if page is not None:
        in_page, in_text = _vocabulary(page.text), _vocabulary(text)
        if len(in_page) >= LEAST_WORDS and len(in_page & in_text) < LEAST_SHARED * len(in_page):
            what = f"of {len(in_page)} words of the page the text part has {len(in_page & in_text)}"
            yield found("text.different", what, where=where, remedy="leave content.text out: it is made from the page")


def _vocabulary(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]{4,}", text.lower()))
