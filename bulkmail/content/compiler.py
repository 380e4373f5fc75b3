"""Compile a campaign's content: read its files, check all of it, lay out header and body as programs."""

import re
from collections.abc import Sequence
from pathlib import Path

from bulkmail.address import Address, AddressError, parse_mailbox, wire_address
from bulkmail.content import headers
from bulkmail.content.bodies import Attach, Reader, fields_of
from bulkmail.content.environment import nearest
from bulkmail.content.errors import ContentError
from bulkmail.content.identity import return_address
from bulkmail.content.lawful import lacking
from bulkmail.content.layout import Layout
from bulkmail.content.locales import DEFAULT_LOCALE
from bulkmail.content.mime import Skeleton
from bulkmail.content.page import Page
from bulkmail.content.plain import PIECE
from bulkmail.content.program import Plan, Program
from bulkmail.content.segments import Slot
from bulkmail.content.template import BUILT_IN, Mode, Source, Template, TemplateFolder
from bulkmail.content.tracking import LinkSeal, Tracker
from bulkmail.content.variants import Chooser, Variation, variations
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from bulkmail.native.assembly import Assembler

LIST_ID = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")  # RFC 2919 §3, without quoted forms
TOKEN_AT_END = re.compile(r"/\{\{\s*token\s*\}\}$")
MAILTO_SUBJECT = "?subject=unsubscribe%20{{ token }}"
# Beside eight times the largest message, which is what its text can need: for what each value needs at the most.
MEMORY_MARGIN = 64 * 1024 * 1024
UNSEALED = bytes(16)  # the secret of links that are looked at and not sent
WITHOUT_URL = BUILT_IN - {"unsubscribe_url"}


def compile_content(
    campaign: Campaign,
    *,
    columns: Sequence[str] | None = None,
    attach: Attach | None = None,
    compiled: bool = True,
    seal: LinkSeal | None = None,
) -> Program:
    """The campaign's content as a program. `columns`: the fields that recipients have, none or empty where unknown.

    `attach` makes attachments in Python. `compiled=False` leaves every template to Jinja2, which gives the same bytes,
    slower. `seal` signs the links of a campaign with `tracking`; without one they are signed for looks only.

    Fails with CampaignError on anything that no recipient's message could be made from, with file and line.
    """
    made = variations(campaign)
    seal = seal or LinkSeal(UNSEALED)
    compilers = [Compiler(variation, columns, attach, compiled=compiled, seal=seal) for variation in made]
    names = frozenset[str]().union(*(compiler.names for compiler in compilers)) - BUILT_IN
    names |= frozenset(fields_of(attach))
    if campaign.languages is not None:
        if columns and campaign.languages.by not in columns:
            raise CampaignError(
                f"{campaign.languages.by} is no field of the recipients{nearest(campaign.languages.by, columns)}",
                file=campaign.file,
                path="languages.by",
            )
        names |= {campaign.languages.by}
    if campaign.send_at is not None and columns and campaign.send_at not in columns:
        raise CampaignError(
            f"{campaign.send_at} is no field of the recipients{nearest(campaign.send_at, columns)}",
            file=campaign.file,
            path="send_at",
        )
    fields = tuple(sorted(names))
    plans = [compiler.plan(fields) for compiler in compilers]
    return Program(plans, None if len(plans) == 1 else Chooser(campaign, made, fields))


class Compiler:
    """One variation of a campaign on its way to a plan; used once."""

    def __init__(
        self,
        variation: Variation,
        columns: Sequence[str] | None,
        attach: Attach | None,
        *,
        compiled: bool,
        seal: LinkSeal,
    ) -> None:
        self.campaign = campaign = variation.campaign
        self.places = variation.places
        folder = campaign_folder(campaign)
        locale = campaign.content.locale or (variation.language if variation.language else DEFAULT_LOCALE)
        self.templates = TemplateFolder(folder, locale=self.checked_locale(locale, variation), compiled=compiled)
        self.templates.say("sender_address", campaign.sender_address or "")
        tracker = Tracker(campaign.tracking, seal) if campaign.tracking is not None else None
        if tracker is not None:
            self.templates.track(tracker)
        self.columns = columns or None
        self.sender = self.mailbox("from", campaign.from_)
        self.return_address = return_address(campaign)
        self.url = self.target("url")
        self.mailto = self.target("mailto")
        self.built_in = BUILT_IN if self.url else WITHOUT_URL
        self.subject = self.header_template("subject", campaign.subject)
        self.extra = self.extra_headers()
        self.bodies = Reader(
            campaign,
            folder,
            page=lambda sources: Page(campaign.content, sources, self.check, tracker),
            parse=lambda source: self.templates.parse(source, known=self.columns, built_in=self.built_in),
            place=self.place,
            refer=self.templates.refer,
            domain=self.sender.domain,
        ).bodies(attach)
        self.in_headers = [self.subject, *self.extra.values()]
        self.in_urls = [template for template in (self.url, self.mailto) if template]
        self.all = [*self.in_headers, *self.in_urls, *self.bodies.templates]

    @property
    def names(self) -> frozenset[str]:
        return frozenset[str]().union(*(template.names for template in self.all))

    def check(self, source: Source) -> None:
        self.templates.check(source, known=self.columns, built_in=self.built_in)

    def place(self, key: str) -> str:
        """The key of the file that says what `key` is in this variation."""
        head, bracket, rest = key.partition("[")
        return f"{self.places.get(head, head)}{bracket}{rest}"

    def checked_locale(self, name: str, variation: Variation) -> str:
        if name == DEFAULT_LOCALE:
            return name
        # Loads Babel, which mail without a locale of its own does not need.
        from bulkmail.content.cldr import parsed_locale

        try:
            parsed_locale(name)
        except ContentError as error:
            if self.campaign.content.locale is None:
                return DEFAULT_LOCALE  # a variant may be called as its field's values are: formal, kids
            raise self.error("content.locale", str(error)) from None
        return name

    def plan(self, fields: tuple[str, ...]) -> Plan:
        campaign, subject, extra, templates = self.campaign, self.subject, self.extra, self.all
        layout = Layout(fields, max_size=campaign.max_message_size)
        header = Assembler()
        write = HeaderWriter(header, layout)
        write.line("Date: ", layout.index["date"])
        write.text("From: ", self.mailbox_header("From", campaign.from_))
        write.line("To: ", layout.index["address"])
        if campaign.reply_to:
            self.mailbox("reply_to", campaign.reply_to)
            write.text("Reply-To: ", self.mailbox_header("Reply-To", campaign.reply_to))
        write.template("Subject", subject)
        write.line("Message-ID: ", layout.index["message_id"])
        if list_id := self.list_id():
            write.text("List-Id: ", list_id)
        self.unsubscribe_headers(write)
        if not any(name.lower() == "feedback-id" for name in extra):
            write.text("Feedback-ID: ", f"{campaign.campaign}:{campaign.kind}:{self.sender.domain}")
        for name, template in extra.items():
            write.template(name, template)
        write.text("MIME-Version: ", "1.0")
        tree = self.bodies.tree(layout)
        skeleton = Skeleton(
            token=layout.index["token"],
            write_template=lambda out, part: (
                layout.write_calendar(out, part.template)
                if part.subtype == "calendar"
                else layout.write(out, part.template)
            ),
            add=layout.add,
        )
        skeleton.header(header, tree)
        body = Assembler(8 * campaign.max_message_size + MEMORY_MARGIN)
        skeleton.body(body, tree)
        if not hasattr(tree, "template"):
            body.copy(b"\r\n")
        self.refuse_oversize(header.fixed_size + body.fixed_size)
        slots = [part for template in templates for part in template.parts if isinstance(part, Slot)]
        required = frozenset[str]().union(*(template.required for template in templates)) - BUILT_IN
        return Plan(
            fields=fields,
            required=tuple(sorted(required)),
            selective=tuple(
                (slot.name, slot.convert)
                for template in templates
                for slot in template.segments or ()
                if isinstance(slot, Slot) and slot.selective and slot.convert is not None
                if slot.name not in BUILT_IN
            ),
            in_headers=tuple(sorted(frozenset[str]().union(*(it.names for it in self.in_headers)) - BUILT_IN)),
            uncertain=not all(template.flat for template in templates)
            or any(template.names - BUILT_IN for template in self.in_urls)
            or bool(self.bodies.paths or self.bodies.attach)
            or any(text.subtype == "calendar" for text in self.bodies.texts),
            header=header,
            body=body,
            steps=tuple(layout.steps),
            slots=len(slots),
            static_size=header.static_size + body.static_size,
            campaign=campaign.campaign,
            message_domain=self.sender.domain,
            return_address=self.return_address,
            max_size=campaign.max_message_size,
            send_at=campaign.send_at,
            lacks=lacking(campaign, self.bodies.texts, self.templates),
            included=dict(self.templates.loader.digests) if self.templates.loader else {},
        )

    def error(self, key: str, message: str, *, hint: str | None = None) -> CampaignError:
        return CampaignError(message, file=self.campaign.file, path=self.place(key), hint=hint)

    def mailbox(self, key: str, text: str) -> Address:
        try:
            address = parse_mailbox(text).address
        except AddressError as error:
            raise self.error(key, str(error)) from None
        if not wire_address(address).isascii():
            raise self.error(key, f"{address.local} is not ASCII, and few mail systems would take it")
        return address

    def mailbox_header(self, name: str, text: str) -> str:
        mailbox = parse_mailbox(text)
        try:
            return headers.mailbox(name, mailbox.name, wire_address(mailbox.address))
        except ContentError as error:
            raise self.error(name.lower().replace("-", "_"), str(error)) from None

    def header_template(self, key: str, text: str) -> Template:
        source = Source(text=text.strip(), mode=Mode.TEXT, file=self.campaign.file, path=self.place(key))
        template = self.templates.parse(source, known=self.columns, built_in=self.built_in)
        for part in template.parts:
            found = headers.control_problem(part) if isinstance(part, str) else None
            if found is not None:
                raise self.error(key, f"a header may not have {found}")
        return template

    def extra_headers(self) -> dict[str, Template]:
        templates: dict[str, Template] = {}
        seen: set[str] = set()
        for name, text in self.campaign.headers.items():
            key = f"headers.{name}"
            complaint = headers.name_problem(name)
            if complaint is None and name.lower() in seen:
                complaint = f"{name} is set twice"
            if complaint is not None:
                raise self.error("headers", complaint)
            seen.add(name.lower())
            # What stands in place of a field is percent-encoded by whoever writes the template.
            if unlisted := headers.list_problem(name, PIECE.sub("x", text.strip())):
                raise self.error(key, unlisted)
            templates[name] = self.header_template(key, text)
        return templates

    def target(self, name: str) -> Template | None:
        """`unsubscribe.url` or `unsubscribe.mailto` as a template that gives a whole URI."""
        text = getattr(self.campaign.unsubscribe, name, None)
        if not text:
            return None
        key, text = f"unsubscribe.{name}", text.strip()
        if name == "mailto":
            text = f"mailto:{text.removeprefix('mailto:')}"
            if "?" not in text and "{{" not in text:
                # Who writes there is known by this alone: a sender's address can be anybody's.
                text += MAILTO_SUBJECT
        elif not text.startswith(("https://", "http://")):
            raise self.error(key, "must begin with https://", hint="fields are percent-encoded, only the path can vary")
        else:
            text += self.page_language(text)
        source = Source(text=text, mode=Mode.URL, file=self.campaign.file, path=key)
        template = self.templates.parse(source, known=self.columns, built_in=WITHOUT_URL)
        for part in template.parts:
            wrong = re.search(r"[^!#-;=?-Z\[\]_a-z~]", part) if isinstance(part, str) else None
            if wrong is not None:
                raise self.error(key, f"{wrong[0]!r} may not stand in a URL", hint="percent-encode it")
        return template

    def page_language(self, url: str) -> str:
        """Tells the page behind the link its reader's language, which its token cannot tell without telling more."""
        languages = self.campaign.languages
        if languages is None or not languages.by.isidentifier() or not TOKEN_AT_END.search(url) or "?" in url:
            return ""
        return f"?lang={{{{ {languages.by} | default('') }}}}"

    def list_id(self) -> str | None:
        campaign = self.campaign
        if campaign.list_id is None:
            if campaign.kind != "marketing":
                return None
            lists = {source.list for source in campaign.recipients if source.list}
            name = lists.pop() if len(lists) == 1 else campaign.campaign
            return f"<{name}.{self.sender.domain}>"
        phrase, bracket, rest = campaign.list_id.strip().rpartition("<")
        label = rest.removesuffix(">")
        if not LIST_ID.fullmatch(label) or bool(bracket) != rest.endswith(">") or len(label) > 255:
            raise self.error(
                "list_id",
                f"{campaign.list_id!r} is no list id",
                hint="write news.example.com or Name <news.example.com>",
            )
        try:
            return headers.mailbox("List-Id", phrase.strip().strip('"'), label) if phrase.strip() else f"<{label}>"
        except ContentError as error:
            raise self.error("list_id", str(error)) from None

    def unsubscribe_headers(self, write: "HeaderWriter") -> None:
        """RFC 2369 §3.2 and RFC 8058 §3.1."""
        targets: list[int] = []
        if self.url:
            index = write.layout.uri("unsubscribe.url", self.url)
            write.layout.index["unsubscribe_url"] = index
            targets.append(index)
        if self.mailto:
            targets.append(write.layout.uri("unsubscribe.mailto", self.mailto))
        if targets:
            write.bracketed("List-Unsubscribe: ", targets)
        if self.url and self.url.source.text.startswith("https://"):
            write.text("List-Unsubscribe-Post: ", "List-Unsubscribe=One-Click")

    def refuse_oversize(self, size: int) -> None:
        if size > self.campaign.max_message_size:
            raise self.error(
                "max_message_size",
                f"every message of this campaign has {size} bytes or more",
                hint=f"the limit is {self.campaign.max_message_size}",
            )


class HeaderWriter:
    """Writes header lines into an assembler."""

    def __init__(self, out: Assembler, layout: Layout) -> None:
        self.out, self.layout = out, layout

    def text(self, start: str, value: str) -> None:
        self.out.copy(f"{start}{value}\r\n".encode())

    def line(self, start: str, index: int) -> None:
        self.out.copy(start.encode())
        self.out.copy_slot(index)
        self.out.copy(b"\r\n")

    def template(self, name: str, template: Template) -> None:
        literal = template.literal
        if literal is not None:
            self.text(f"{name}: ", headers.unstructured(name, literal))
        else:
            self.line(f"{name}: ", self.layout.header_value(name, template))

    def bracketed(self, start: str, indexes: Sequence[int]) -> None:
        for number, index in enumerate(indexes):
            self.out.copy(b",\r\n <" if number else f"{start}<".encode())
            self.out.copy_slot(index)
            self.out.copy(b">")
        self.out.copy(b"\r\n")


def campaign_folder(campaign: Campaign) -> Path | None:
    """The folder whose templates may be included: that of the campaign file, or else of its content."""
    content = campaign.content
    for file in (campaign.file, content.html, content.mjml, content.markdown, content.text):
        if file:
            return Path(file).parent
    return None
