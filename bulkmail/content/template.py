"""One template: literal text and slots where it is that simple, otherwise Jinja2 at every rendering.

Both ways give the same text. A slot is `{{ field }}` or `{{ field | filter }}` with filters that are functions of one
string and constant arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, cast

import jinja2
from jinja2 import meta, nodes
from markupsafe import escape
from msgspec import Struct

from bulkmail.content.environment import (
    BUDGET,
    HTML,
    PLAIN_FILTERS,
    TEXT,
    URL,
    Absent,
    Budget,
    Meter,
    TemplateEnvironment,
    forbidden,
    nearest,
    percent_encode,
    walk,
)
from bulkmail.content.errors import ContentError
from bulkmail.errors import CampaignError

# Beside its own errors Jinja2 lets Python's limits through: nesting, number of digits, blocks in blocks.
UNREADABLE = (MemoryError, RecursionError, SyntaxError, ValueError)
BUILT_IN = frozenset(("address", "campaign", "message_id", "token", "unsubscribe_url"))


class Mode(Enum):
    """Where the text goes: what is printed is HTML-escaped, taken as it is, or percent-encoded."""

    HTML = "html"
    TEXT = "text"
    URL = "url"

    @property
    def environment(self) -> TemplateEnvironment:
        return {Mode.HTML: HTML, Mode.TEXT: TEXT, Mode.URL: URL}[self]


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


Convert = Callable[[Any], str]


class Slot(Struct, frozen=True, kw_only=True):
    """A value printed: escaped if `escape`; `default` (literal text) in place of an absent one; through `convert`."""

    name: str
    line: int
    escape: bool = False
    default: str | None = None
    convert: Convert | None = None

    @property
    def required(self) -> bool:
        """True where an absent value is an error."""
        if self.convert is None:
            return self.default is None
        try:
            self.convert(None)
        except ContentError:
            return True
        return False


class Template(Struct, frozen=True, kw_only=True):
    """A checked template: `names` are the variables it uses; `parts` is None where only Jinja2 can render it."""

    source: Source
    names: frozenset[str]
    parts: tuple[str | Slot, ...] | None
    jinja: jinja2.Template | None = None

    @property
    def literal(self) -> str | None:
        """The text, where nothing in it depends on the recipient."""
        if self.parts is None or any(isinstance(part, Slot) for part in self.parts):
            return None
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def required(self) -> frozenset[str]:
        """The names that no rendering can do without; empty where only Jinja2 can tell."""
        slots = (part for part in self.parts or () if isinstance(part, Slot))
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


def parse_template(
    source: Source, *, known: Sequence[str] | None = None, built_in: frozenset[str] = BUILT_IN
) -> Template:
    """Check and compile. `known`: the names a recipient may have, None for any; `built_in`: those it has besides.

    Fails with CampaignError on bad syntax, on what templates may not use and on unknown names.
    """
    environment = source.mode.environment
    try:
        tree = environment.parse(source.text)
        complaint = forbidden(tree)
        if complaint is not None:
            raise source.error(complaint[1], line=complaint[0])
        names = frozenset(meta.find_undeclared_variables(tree))
    except jinja2.TemplateSyntaxError as error:
        raise source.error(error.message or "the template cannot be read", line=error.lineno) from None
    except UNREADABLE as error:
        raise source.error(f"the template cannot be read: {error}") from None
    refuse_names(tree, source, BUILT_IN - built_in, "is not available here")
    if known is not None:
        choice = sorted({*known, *built_in})
        unknown = names.difference(choice)
        refuse_names(tree, source, unknown, "is no field of the recipients", choice=choice)
    parts = simple_parts(tree, source.mode)
    if parts is not None:
        try_converters(source, parts)
        return Template(source=source, names=names, parts=parts)
    try:
        code = environment.compile(Meter().visit(tree), filename=source.file or source.path or "template")
    except jinja2.TemplateSyntaxError as error:
        raise source.error(error.message or "the template cannot be compiled", line=error.lineno) from None
    except UNREADABLE as error:
        raise source.error(f"the template cannot be compiled: {error}") from None
    jinja = jinja2.Template.from_code(environment, code, {})
    return Template(source=source, names=names, parts=None, jinja=jinja)


def refuse_names(
    tree: nodes.Template, source: Source, names: frozenset[str], complaint: str, *, choice: Sequence[str] = ()
) -> None:
    for node in walk(tree):
        if isinstance(node, nodes.Name) and node.ctx == "load" and node.name in names:
            raise source.error(
                f"{node.name} {complaint}{nearest(node.name, choice)}",
                line=node.lineno,
                hint=f"known names: {', '.join(choice)}" if choice else None,
            )


def try_converters(source: Source, parts: Sequence[str | Slot]) -> None:
    """Filters called with arguments they do not take are found now, not at the first recipient."""
    for part in parts:
        if isinstance(part, Slot) and part.convert is not None:
            try:
                part.convert("x")
            except ContentError as error:
                raise source.error(str(error), line=part.line) from None


def simple_parts(tree: nodes.Template, mode: Mode) -> tuple[str | Slot, ...] | None:
    """The template as literals and slots, no two literals in a row; None where it is more than that."""
    parts: list[str | Slot] = []
    for statement in tree.body:
        if not isinstance(statement, nodes.Output):
            return None
        for node in statement.nodes:
            part = literal_or_slot(node, mode)
            if part is None:
                return None
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            else:
                parts.append(part)
    return tuple(parts)


def literal_or_slot(node: nodes.Expr, mode: Mode) -> str | Slot | None:
    if isinstance(node, nodes.TemplateData):
        return node.data
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        return printed(node.value, mode)
    filters: list[Callable[[Any], Any]] = []
    default: str | None = None
    marking = False
    while isinstance(node, nodes.Filter):
        arguments = constant_arguments(node)
        if node.name not in PLAIN_FILTERS or arguments is None or node.node is None:
            return None
        positional, named = arguments
        function = mode.environment.filters[node.name]
        filters.insert(0, bound(function, positional, named))
        marking = marking or node.name in ("e", "escape", "safe")
        default = plain_default(node.name, positional, named, mode)
        node = node.node
    if not isinstance(node, nodes.Name):
        return None
    slot = partial(Slot, name=node.name, line=node.lineno)
    if not filters and (mode is not Mode.URL or node.name == "token"):
        return slot(escape=mode is Mode.HTML)
    if len(filters) == 1 and default is not None and mode is not Mode.URL:
        return slot(escape=mode is Mode.HTML, default=default)
    chain = Chain(node.name, tuple(filters), mode)
    if marking:
        return slot(convert=chain.escaped)
    return slot(escape=mode is Mode.HTML, convert=chain)


def constant_arguments(node: nodes.Filter) -> tuple[list[Any], dict[str, Any]] | None:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return None
    # Jinja2 types these as pairs of str; they are Keyword nodes.
    keywords = cast(list[nodes.Keyword], node.kwargs)
    values = [*node.args, *(keyword.value for keyword in keywords)]
    if not all(isinstance(value, nodes.Const) and value.value is not None for value in values):
        return None
    constants = [value.as_const() for value in values]
    names = [keyword.key for keyword in keywords]
    return constants[: len(node.args)], dict(zip(names, constants[len(node.args) :], strict=True))


def bound(function: Callable[..., Any], positional: list[Any], named: dict[str, Any]) -> Callable[[Any], Any]:
    return lambda value: function(value, *positional, **named)


def plain_default(name: str, positional: list[Any], named: dict[str, Any], mode: Mode) -> str | None:
    """The literal text that `default(...)` puts in place of an absent value, where it does no more than that."""
    if name not in ("d", "default") or len(positional) > 1 or named.keys() - {"default_value"}:
        return None
    value = positional[0] if positional else named.get("default_value", "")
    return printed(value, mode)


def printed(value: Any, mode: Mode) -> str:
    if mode is Mode.HTML:
        return str(escape(value))
    return percent_encode(value) if mode is Mode.URL else str(value)


class Chain:
    """Filters one after another over a value, as Jinja2 applies them."""

    def __init__(self, name: str, filters: Sequence[Callable[[Any], Any]], mode: Mode) -> None:
        self.name, self.filters, self.mode = name, filters, mode

    def __call__(self, value: Any) -> str:
        return self.text(self.filtered(value))

    def escaped(self, value: Any) -> str:
        """For chains with `escape` or `safe`: what these have marked as HTML is not escaped again."""
        result = self.filtered(value)
        return str(escape(result)) if self.mode is Mode.HTML else str(result)

    def filtered(self, value: Any) -> Any:
        if value is None:
            value = Absent(name=self.name)
        try:
            for function in self.filters:
                value = function(value)
        except ContentError:
            raise
        except Exception as error:  # a filter given unsuitable data: that row's fault
            raise ContentError(f"field {self.name}: {error}") from error
        return value

    def text(self, value: Any) -> str:
        return percent_encode(value) if self.mode is Mode.URL else str(value)
