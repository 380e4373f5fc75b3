"""One template: segments where it is that simple, otherwise Jinja2 at every rendering. Both ways give the same text."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta, nodes
from msgspec import Struct

from bulkmail.content.environment import BUDGET, Budget, TemplateEnvironment, nearest, walk
from bulkmail.content.errors import ContentError
from bulkmail.content.expressions import Unsupported
from bulkmail.content.folder import FolderLoader, TextLoader
from bulkmail.content.locales import DEFAULT_LOCALE
from bulkmail.content.segments import Builder, Segment, Segments, Slot, all_segments, try_converters
from bulkmail.content.tracking import Tracker
from bulkmail.content.vetting import REFERRING, CheckedEnvironment, names_in
from bulkmail.errors import CampaignError

# Beside its own errors Jinja2 lets Python's limits through: nesting, number of digits, blocks in blocks.
UNREADABLE = (MemoryError, RecursionError, SyntaxError, ValueError, TypeError, AttributeError)
BUILT_IN = frozenset(("address", "campaign", "message_id", "token", "unsubscribe_url"))
# Set by Jinja2 itself where they mean anything.
SPECIAL = frozenset(("caller", "kwargs", "loop", "self", "super", "varargs"))


class Mode(Enum):
    """Where the text goes: what is printed is HTML-escaped, taken as it is, percent-encoded, or iCalendar text.

    `DERIVED` is text made of a page: what it includes are pages, of which it takes the text.
    """

    HTML = "html"
    TEXT = "text"
    URL = "url"
    CALENDAR = "calendar"
    DERIVED = "derived"


class Source(Struct, frozen=True, kw_only=True):
    """A template's text, its mode, and where it stands: a file of its own, or a key (`path`) of the campaign file."""

    text: str
    mode: Mode
    file: str | None = None
    path: str | None = None

    def error(self, message: str, *, line: int | None = None, hint: str | None = None) -> CampaignError:
        return CampaignError(message, file=self.file, line=None if self.path else line, path=self.path, hint=hint)

    def where(self, line: int | None) -> str:
        return ":".join(str(part) for part in (self.path or self.file, line) if part is not None)


class Template(Struct, frozen=True, kw_only=True):
    """A checked template: `names` are the variables it uses; `segments` is None where only Jinja2 can render it."""

    source: Source
    names: frozenset[str]
    segments: Segments | None
    environment: TemplateEnvironment
    jinja: jinja2.Template | None = None

    @property
    def literal(self) -> str | None:
        """The text, where nothing in it depends on the recipient."""
        if self.segments is None or not all(isinstance(segment, str) for segment in self.segments):
            return None
        return "".join(segment for segment in self.segments if isinstance(segment, str))

    @property
    def parts(self) -> list[Segment]:
        """All segments, those within others too."""
        return list(all_segments(self.segments or ()))

    @property
    def flat(self) -> bool:
        """True where it is literals and slots alone, so that its names tell whether it can be rendered."""
        return self.segments is not None and all(isinstance(segment, str | Slot) for segment in self.segments)

    @property
    def required(self) -> frozenset[str]:
        """The names that no rendering can do without, as far as that can be told."""
        slots = (segment for segment in self.segments or () if isinstance(segment, Slot))
        return frozenset(slot.name for slot in slots if slot.required)

    def render(self, values: Mapping[str, Any], *, max_size: int) -> str:
        """The text by Jinja2, at most `max_size` characters. Fails with ContentError."""
        assert self.jinja is not None
        context = self.jinja.new_context({**values, BUDGET: Budget()})
        chunks, size = [], 0
        try:
            for chunk in self.jinja.root_render_func(context):
                size += len(chunk)
                if size > max_size:
                    raise ContentError(f"{self.source.where(None)} makes a text of more than {max_size} characters")
                chunks.append(chunk)
        except ContentError:
            raise
        except RecursionError:
            raise ContentError(f"{self.source.where(None)}: a macro calls itself without end") from None
        except Exception as error:  # whatever an expression does with unsuitable data is that row's fault
            raise ContentError(f"{self.source.where(None)}: {error}") from error
        return "".join(chunks)


class TemplateFolder:
    """Parses the templates of one campaign, which may include each other; `folder` None: nothing may be included."""

    def __init__(self, folder: Path | None = None, *, locale: str = DEFAULT_LOCALE, compiled: bool = True) -> None:
        self.loader = FolderLoader(folder) if folder is not None else None
        self.compiled = compiled
        texts = TextLoader(folder) if folder is not None else None
        self.environments = {
            mode: CheckedEnvironment(
                html=mode is Mode.HTML,
                url=mode is Mode.URL,
                calendar=mode is Mode.CALENDAR,
                locale=locale,
                loader=None if mode is Mode.URL else texts if mode is Mode.DERIVED else self.loader,
            )
            for mode in Mode
        }

    def track(self, tracker: Tracker) -> None:
        """Lead the links of pages through redirects."""
        self.environments[Mode.HTML].track(tracker)

    def refer(self, refer: Callable[[str, str | None], str]) -> None:
        """Have pages, and what they include, refer to inline images by Content-ID."""
        self.environments[Mode.HTML].refer = refer

    def say(self, name: str, text: str) -> None:
        """Give all templates a value that is the same for all recipients."""
        for environment in self.environments.values():
            environment.globals[name] = text

    def check(self, source: Source, *, known: Sequence[str] | None, built_in: frozenset[str]) -> None:
        """Fails with CampaignError on what `parse` would, in a source that is made a page only later."""
        plain = Source(text=source.text, mode=Mode.TEXT, file=source.file)
        parser = Parser(self, plain, known, built_in)
        parser.names_of(parser.parsed(plain, parser.name), plain, parser.name, (parser.name,), frozenset())

    def parse(
        self, source: Source, *, known: Sequence[str] | None = None, built_in: frozenset[str] = BUILT_IN
    ) -> Template:
        """Check and compile. `known`: the names a recipient may have, None for any; `built_in`: those it has besides.

        Fails with CampaignError on bad syntax, on what templates may not use and on unknown names.
        """
        return Parser(self, source, known, built_in).template()


class Parser:
    """One template on its way; used once."""

    def __init__(
        self, folder: TemplateFolder, source: Source, known: Sequence[str] | None, built_in: frozenset[str]
    ) -> None:
        self.environment = folder.environments[source.mode]
        loader = self.environment.loader
        self.loader = loader if isinstance(loader, FolderLoader) else None
        self.compiled = folder.compiled
        self.source, self.known, self.built_in = source, known, built_in
        self.name = self.loader.name_of(source.file) if self.loader and source.file and not source.path else ""
        self.trees: dict[str, nodes.Template] = {}

    def template(self) -> Template:
        tree = self.parsed(self.source, self.name)
        names = self.names_of(tree, self.source, self.name, (self.name,), frozenset())
        segments = self.segments(tree, names)
        environment = self.environment
        if segments is not None:
            fault = try_converters(segments)
            if fault is not None:
                raise self.source.error(fault[1], line=fault[0])
            return Template(source=self.source, names=names, segments=segments, environment=environment)
        with self.reporting(self.source, "compiled"):
            code = environment.compile(
                tree, name=self.name or None, filename=self.source.file or self.source.path or "template"
            )
            jinja = jinja2.Template.from_code(environment, code, environment.globals)
        return Template(source=self.source, names=names, segments=None, environment=environment, jinja=jinja)

    def parsed(self, source: Source, name: str) -> nodes.Template:
        with self.reporting(source, "read"):
            return self.environment.parse(source.text, name or None, source.file)

    def reporting(self, source: Source, doing: str) -> "Reporting":
        return Reporting(source, doing)

    def segments(self, tree: nodes.Template, names: frozenset[str]) -> Segments | None:
        if not self.compiled:
            return None
        try:
            return Builder(self.environment, self.loaded).page(tree, self.name, names)
        except Unsupported:
            return None

    def names_of(
        self, tree: nodes.Template, source: Source, name: str, above: tuple[str, ...], declared: frozenset[str]
    ) -> frozenset[str]:
        """The variables of a template and of all that it includes, to whom it lends what it has `declared` itself.

        Fails on those that nobody has.
        """
        with self.reporting(source, "read"):
            names = frozenset(meta.find_undeclared_variables(tree)) - SPECIAL - declared
        self.refuse(tree, source, (BUILT_IN - self.built_in) & names, "is not available here")
        if self.known is not None:
            choice = sorted({*self.known, *self.built_in})
            self.refuse(tree, source, names.difference(choice), "is no field of the recipients", choice=choice)
        declared |= declared_in(tree)
        for node in tree.find_all(REFERRING):
            for wanted in names_in(node) or ():
                names |= self.names_behind(node, wanted, source, name, above, declared)
        return names

    def names_behind(
        self,
        node: nodes.Node,
        wanted: str,
        source: Source,
        name: str,
        above: tuple[str, ...],
        declared: frozenset[str],
    ) -> frozenset[str]:
        found = self.environment.join_path(wanted, name)
        tree = self.loaded(wanted, name)
        if tree is None:
            if isinstance(node, nodes.Include) and (node.ignore_missing or not isinstance(node.template, nodes.Const)):
                return frozenset()
            where = f" in {self.loader.folder}" if self.loader else ""
            raise source.error(f"there is no template {wanted}{where}", line=node.lineno)
        if found in above:
            raise source.error(f"{wanted} includes itself", line=node.lineno)
        assert self.loader is not None
        inner = Source(text="", mode=source.mode, file=str(self.loader.path(found)))
        return self.names_of(tree, inner, found, (*above, found), declared)

    def loaded(self, wanted: str, parent: str) -> nodes.Template | None:
        """The tree of another template of the folder; None where there is none. Fails with CampaignError."""
        if self.loader is None:
            return None
        name = self.environment.join_path(wanted, parent)
        if self.loader.path(name) is None:
            return None
        if name not in self.trees:
            text, file, _ = self.loader.get_source(self.environment, name)
            self.trees[name] = self.parsed(Source(text=text, mode=self.source.mode, file=file), name)
        return self.trees[name]

    def refuse(
        self, tree: nodes.Template, source: Source, names: frozenset[str], complaint: str, *, choice: Sequence[str] = ()
    ) -> None:
        for node in walk(tree):
            if isinstance(node, nodes.Name) and node.ctx == "load" and node.name in names:
                raise source.error(
                    f"{node.name} {complaint}{nearest(node.name, choice)}",
                    line=node.lineno,
                    hint=f"known names: {', '.join(choice)}" if choice else None,
                )


def declared_in(tree: nodes.Template) -> frozenset[str]:
    """The names that a template sets, imports and gives to macros."""
    names = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    names |= {node.target for node in tree.find_all(nodes.Import)} | {node.name for node in tree.find_all(nodes.Macro)}
    for node in tree.find_all(nodes.FromImport):
        names |= {item if isinstance(item, str) else item[1] for item in node.names}
    return frozenset(names)


class Reporting:
    """What Jinja2 and Python complain of becomes a CampaignError about `source`, or the file that was included."""

    def __init__(self, source: Source, doing: str) -> None:
        self.source, self.doing = source, doing

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, jinja2.TemplateSyntaxError):
            raise self.source.error(
                error.message or f"the template cannot be {self.doing}", line=error.lineno
            ) from None
        if isinstance(error, UNREADABLE):
            raise self.source.error(f"the template cannot be {self.doing}: {error}") from None


def parse_template(
    source: Source, *, known: Sequence[str] | None = None, built_in: frozenset[str] = BUILT_IN
) -> Template:
    """`TemplateFolder.parse` for a template that includes no other."""
    return TemplateFolder().parse(source, known=known, built_in=built_in)
