"""Render every row, keep the sizes, and read closely those messages that can differ."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import format_datetime

from msgspec import Struct

from bulkmail.address import parse_address, wire_address
from bulkmail.content.errors import ContentError
from bulkmail.content.program import SAMPLE_TOKEN, Program, RenderedMessage
from bulkmail.content.reading import body_text, readable
from bulkmail.model.campaign import Campaign
from bulkmail.model.recipient import Recipient
from bulkmail.preflight import links, sender, sizes, wording
from bulkmail.preflight.finding import Finding, found
from bulkmail.preflight.page import Page, read_page

# So many messages are read closely at most: of each variant, the shortest, the longest, and those spread between.
CLOSELY = 60
ONCE = frozenset(("html.dark-mode", "html.language"))


class Sample(Struct, frozen=True, kw_only=True):
    """One row's message; `subject` and the bodies as readers see them, `leave` the URL of List-Unsubscribe."""

    place: str
    subject: str
    html: str | None
    text: str | None
    page: Page | None
    leave: str | None
    header: bytes
    body: bytes
    attached: dict[str, int]


class Samples:
    """Sees all rows; `findings` is for the end."""

    def __init__(self, campaign: Campaign, program: Program) -> None:
        self._campaign = campaign
        self._program = program
        self._date = format_datetime(datetime.fromtimestamp(time.time(), UTC))
        self._kept: dict[tuple[object, ...], Recipient] = {}
        self._largest: Recipient | None = None
        self._subjects: dict[str, int] = Counter()
        self._stride = 1
        self._spread: list[Recipient] = []
        self._rows = 0
        self.least, self.most = 0, 0
        self.links: dict[str, None] = {}
        self.pictures: dict[str, None] = {}

    def take(self, row: Recipient) -> None:
        """Render a row that can be rendered."""
        message = self._render(row)
        if message is None:
            return
        size = len(message.header) + len(message.body) + 2
        if size > self.most:
            self.most, self._largest = size, row
        self.least = size if self._rows == 0 else min(self.least, size)
        # Of each set of empty fields one: there conditions and defaults differ.
        shape = (*(row.fields.get(name) in (None, "") for name in self._program.fields), self._language(row))
        if shape not in self._kept and len(self._kept) < CLOSELY:
            self._kept[shape] = row
        if self._rows % self._stride == 0:
            self._spread.append(row)
            if len(self._spread) > CLOSELY:
                self._spread, self._stride = self._spread[::2], 2 * self._stride
        self._rows += 1

    def findings(self) -> Iterator[Finding]:
        """What is wrong with the messages, each fault once, with the first row that has it."""
        if self._largest is None:
            return
        rows = {id(row): row for row in (*self._kept.values(), *self._spread, self._largest)}
        seen: set[tuple[str, str]] = set()
        shown_pictures: set[str] = set()
        sample = None
        for row in rows.values():
            sample = self._sample(row)
            if sample is None:
                continue
            for finding in self._judged(sample, shown_pictures):
                # A fault of the template is in every message; one is enough. `what` may differ by recipient.
                key = (finding.rule, "" if finding.rule in ONCE else finding.what)
                if key not in seen and sum(rule == finding.rule for rule, _ in seen) < 5:
                    seen.add(key)
                    yield finding
        if sample is not None and sample.page is not None:
            yield from self._inline_findings(sample, shown_pictures)
        yield from sizes.size_findings((self.least, self.most), self._place(self._largest), str(self._campaign.file))

    def _judged(self, sample: Sample, shown: set[str]) -> Iterator[Finding]:
        campaign, where = self._campaign, sample.place
        yield from wording.subject_findings(sample.subject, campaign.kind, where)
        if sample.page is not None:
            yield from links.link_findings(sample.page, where)
            yield from links.picture_findings(sample.page, sample.attached, where)
            yield from wording.page_findings(sample.page, where)
            yield from wording.words_findings(sample.page.text, where)
            shown |= {picture.source.removeprefix("cid:") for picture in sample.page.pictures}
            targets = (link.target or "" for link in sample.page.links)
            self.links |= dict.fromkeys(one for one in targets if one.startswith("http"))
            self.pictures |= dict.fromkeys(one.source for one in sample.page.pictures if one.source.startswith("http"))
        yield from wording.text_findings(sample.text, sample.page, where)
        if sample.text is not None:
            yield from wording.words_findings(sample.text, where)
        yield from sender.message_findings(campaign, sample.page, sample.text, sample.leave, where)
        yield from sizes.message_size_findings(sample.header, sample.body, sample.html, where)

    def _inline_findings(self, sample: Sample, shown: set[str]) -> Iterator[Finding]:
        where = str(self._campaign.file)
        for name, size in sample.attached.items():
            if size >= sizes.HEAVY_BYTES:
                what = f"{name} has {size:,} bytes, in every message"
                yield found("images.heavy", what, where=where, remedy="make it smaller, or put it on the web")
            if name not in shown and (sample.html or "").find(f"cid:{name}") < 0:
                what = f"{name} goes with every message, and the page does not show it"
                yield found("images.unused", what, where=where, remedy=f'write <img src="cid:{name}">, or leave it out')

    def _sample(self, row: Recipient) -> Sample | None:
        message = self._render(row)
        if message is None:
            return None
        parsed = BytesParser(policy=policy.default).parsebytes(message.data)
        html = body_text(parsed, "html")
        headers = {name.lower(): value for name, value in readable(message.header)}
        ways = [way.strip(" <>") for way in headers.get("list-unsubscribe", "").split(",")]
        return Sample(
            place=self._place(row),
            subject=headers.get("subject", ""),
            html=html,
            text=body_text(parsed, "plain"),
            page=read_page(html) if html is not None else None,
            leave=next((way for way in ways if way.startswith("http")), None),
            header=message.header,
            body=message.body,
            attached=_attached(parsed),
        )

    def _render(self, row: Recipient) -> RenderedMessage | None:
        address = wire_address(parse_address(row.address))
        try:
            return self._program.render(address, self._program.encode_row(row.fields), SAMPLE_TOKEN, self._date)
        except ContentError:
            return None

    def _place(self, row: Recipient) -> str:
        return f"{row.source}:{row.line}" if row.source else row.address

    def _language(self, row: Recipient) -> object:
        languages = self._campaign.languages
        return str(row.fields.get(languages.by)) if languages is not None else None


def _attached(parsed: EmailMessage) -> dict[str, int]:
    found_parts = {}
    for part in parsed.walk():
        if part["Content-ID"] is not None and not part.is_multipart():
            payload = part.get_payload(decode=True)
            found_parts[str(part["Content-ID"]).strip().strip("<>")] = len(payload) if isinstance(payload, bytes) else 0
    return found_parts
