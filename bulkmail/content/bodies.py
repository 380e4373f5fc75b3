"""A campaign's content read from its files: the texts as templates, pictures, attachments, the tree of it all."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from bulkmail.content.errors import ContentError
from bulkmail.content.expressions import Values
from bulkmail.content.headers import control_problem
from bulkmail.content.layout import Layout
from bulkmail.content.mime import (
    File,
    OwnFiles,
    Part,
    TextPart,
    arrange,
    guess_type,
    read_file,
    read_text,
    refer_to_inline,
)
from bulkmail.content.page import Page
from bulkmail.content.template import Mode, Source, Template
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign

METHOD = re.compile(r"^METHOD:([A-Z]+)\s*$", re.MULTILINE)
PAGES = ("html", "mjml", "markdown", "text", "amp", "calendar")


class Attachment(Struct, frozen=True, kw_only=True):
    """A file that a program makes for one recipient; its type is taken from its name where it is left out."""

    name: str
    data: bytes
    content_type: str | None = None


class Attach(Struct, frozen=True, kw_only=True):
    """Attachments made in Python: `make` is called with the address and those of the row's `fields` that it asks for.

    It is called on a thread that signs, once when the row is taken in and again for each attempt: the same arguments
    must give the same bytes. What it raises stops that recipient's message. With a `report_type` the message is a
    multipart/report of that type (RFC 6522), and what is made its second part and what follows.
    """

    make: Callable[[str, Mapping[str, Any]], Iterable[Attachment]]
    fields: tuple[str, ...] = ()
    report_type: str | None = None


class Bodies(Struct, frozen=True, kw_only=True):
    """Templates of the content, and what is needed to make the tree of them once the fields are known."""

    texts: tuple[TextPart, ...]
    paths: tuple[Template, ...]
    images: tuple[File, ...]
    files: tuple[File, ...]
    attach: Attach | None
    folder: Path | None
    max_size: int

    @property
    def templates(self) -> list[Template]:
        return [*(text.template for text in self.texts), *self.paths]

    def tree(self, layout: Layout) -> Part:
        own = [OwnFiles(make=self.named_file(layout, path)) for path in self.paths]
        if self.attach is not None:
            own.append(OwnFiles(make=self.made_files(layout, self.attach)))
        kind = self.attach.report_type if self.attach is not None else None
        return arrange(self.texts, self.images, [*self.files, *own], kind)

    def named_file(self, layout: Layout, path: Template) -> Callable[[Values], list[File]]:
        text = layout.text(path)
        folder = (self.folder or Path.cwd()).resolve()
        # Below the folders that the template itself names: no row leads to the list of recipients, or to a key.
        room = folder / own_folder(path.source.text)

        def make(values: Values) -> list[File]:
            return [self.read(folder, room, text(values))]

        return make

    def read(self, folder: Path, room: Path, name: str) -> File:
        """A file below `room`, whatever the row says. Fails with ContentError."""
        problem = "a NUL" if "\0" in name else None
        path = folder if problem else (folder / name).resolve()
        if problem or not path.is_relative_to(room.resolve()) or not path.is_relative_to(folder):
            raise ContentError(f"attachment {name[-80:]!r} is not in the folder {room.name} of the campaign")
        try:
            size = os.stat(path).st_size
            if size > self.max_size:
                raise ContentError(f"attachment {path.name} has {size} bytes, max_message_size is {self.max_size}")
            data = path.read_bytes()
        except OSError as error:
            raise ContentError(f"attachment {path.name} cannot be read: {error.strerror}") from None
        return File(name=path.name, content_type=guess_type(path.name), data=data)

    def made_files(self, layout: Layout, attach: Attach) -> Callable[[Values], Iterator[File]]:
        places = [(name, layout.index[name]) for name in attach.fields]
        address = layout.index["address"]

        def make(values: Values) -> Iterator[File]:
            fields = {name: values[index] for name, index in places if values[index] is not None}
            try:
                made = list(attach.make(values[address], fields))
            except Exception as error:  # code of the user's own
                raise ContentError(f"the attachment could not be made: {type(error).__name__}: {error}") from error
            for item in made:
                yield self.checked(item)

        return make

    def checked(self, item: Attachment) -> File:
        problem = control_problem(item.name + (item.content_type or "")) or (None if item.name else "no name")
        kind = item.content_type or guess_type(item.name)
        if problem is None and not re.fullmatch(r"[\w.+-]+/[\w.+-]+", kind, re.ASCII):
            problem = f"{kind[:60]!r} for a type"
        if problem is not None or kind.lower().startswith(("multipart/", "message/")):
            raise ContentError(f"an attachment has {problem or f'the type {kind}, which is no file'}")
        return File(name=item.name, content_type=kind, data=item.data)


class Reader:
    """Reads one variation's content. `parse` makes a template of a source, `place` is the key of the file for one.

    `refer` is told how pages come by the Content-IDs of inline images.
    """

    def __init__(
        self,
        campaign: Campaign,
        folder: Path | None,
        *,
        page: Callable[[dict[str, Source]], Page],
        parse: Callable[[Source], Template],
        place: Callable[[str], str],
        refer: Callable[[Callable[[str, str | None], str]], None],
        domain: str,
    ) -> None:
        self.campaign, self.content = campaign, campaign.content
        self.folder, self.page, self.parse, self.place, self.domain = folder, page, parse, place, domain
        self.refer = refer

    def bodies(self, attach: Attach | None) -> Bodies:
        content = self.content
        sources = {kind: self.source(kind, path) for kind in PAGES if (path := getattr(content, kind)) is not None}
        page = self.page(sources)
        html = page.html()
        text = page.text(html)
        if html is None and text is None:
            raise self.error("content", "there is neither html nor text")
        if content.inline and html is None:
            raise self.error("content.inline", "inline images need content.html")
        images = [
            read_file(path, key=self.place(f"content.inline[{number}]"), content_domain=self.domain)
            for number, path in enumerate(content.inline)
        ]
        self.refer(lambda text, file: refer_to_inline(Source(text=text, mode=Mode.HTML, file=file), images).text)
        # The page first: what is wrong with it would be wrong with the text made of it too.
        page_template = None if html is None else self.parse(page.finished(html))
        texts = []
        if text is not None:
            texts.append(TextPart(subtype="plain", template=self.plain(text)))
        if "amp" in sources:
            if html is None:
                raise self.error("content.amp", "needs content.html beside it, for all who cannot show AMP")
            texts.append(TextPart(subtype="x-amp-html", template=self.parse(sources["amp"])))
        if page_template is not None:
            texts.append(TextPart(subtype="html", template=page_template))
        if "calendar" in sources:
            texts.append(self.calendar(sources["calendar"]))
        files, paths = [], []
        for number, name in enumerate(content.attachments):
            key = f"content.attachments[{number}]"
            if is_template(name):
                source = Source(text=name, mode=Mode.TEXT, file=self.campaign.file, path=self.place(key))
                if not own_folder(name):
                    raise self.error(
                        key,
                        f"{name} could name any file",
                        hint="keep such files in a folder: invoices/{{ number }}.pdf",
                    )
                paths.append(self.parse(source))
            else:
                files.append(read_file(name, key=self.place(key)))
        return Bodies(
            texts=tuple(texts),
            paths=tuple(paths),
            images=tuple(images),
            files=tuple(files),
            attach=attach,
            folder=self.folder,
            max_size=self.campaign.max_message_size,
        )

    def plain(self, source: Source) -> Template:
        try:
            return self.parse(source)
        except CampaignError as error:
            if source.mode is not Mode.DERIVED:
                raise
            raise self.error(
                "content",
                f"no text can be made of the page: {error.message}",
                hint="write one and name it as content.text",
            ) from None

    def source(self, kind: str, path: str) -> Source:
        mode = {"text": Mode.TEXT, "calendar": Mode.CALENDAR}.get(kind, Mode.HTML)
        return Source(text=read_text(path, key=self.place(f"content.{kind}")), mode=mode, file=path)

    def calendar(self, source: Source) -> TextPart:
        """RFC 6047 §2.4: the method stands in the Content-Type too."""
        method = METHOD.search(source.text)
        if method is None:
            raise source.error("has no METHOD", line=1, hint="write METHOD:REQUEST below BEGIN:VCALENDAR")
        for needed in ("BEGIN:VCALENDAR", "UID:", "DTSTAMP:", "END:VCALENDAR"):
            if needed not in source.text:
                raise source.error(f"has no {needed.strip(':')}", line=1, hint="see RFC 5545 §3.6")
        return TextPart(subtype="calendar", template=self.parse(source), parameters=f"; method={method[1]}")

    def error(self, key: str, message: str, *, hint: str | None = None) -> CampaignError:
        return CampaignError(message, file=self.campaign.file, path=self.place(key), hint=hint)


def is_template(path: str) -> bool:
    """Whether the path differs between recipients."""
    return "{{" in path or "{%" in path


def own_folder(path: str) -> str:
    """The folder that a template of a path names for everybody; "" where there is none."""
    return re.split(r"\{[{%#]", path)[0].rpartition("/")[0].strip()


def fields_of(attach: Attach | None) -> Sequence[str]:
    return attach.fields if attach is not None else ()
