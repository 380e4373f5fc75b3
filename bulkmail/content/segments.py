"""A template's tree as segments: literals, slots, conditions and loops, which need no Jinja2 at run time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import jinja2
from jinja2 import nodes
from markupsafe import escape
from msgspec import Struct

from bulkmail.content.environment import Absent, TemplateEnvironment, calendar_text, percent_encode, walk
from bulkmail.content.errors import ContentError
from bulkmail.content.escaping import LINK, STYLE
from bulkmail.content.expressions import Expressions, Scope, Unsupported
from bulkmail.content.filters import PLAIN_FILTERS
from bulkmail.content.locales import LOCALE_FILTERS

CHAINED = frozenset((*PLAIN_FILTERS, *LOCALE_FILTERS, LINK, STYLE))
MAX_DEPTH = 20  # of conditions, loops and included files in each other
Convert = Callable[[Any], str]


class Slot(Struct, frozen=True, kw_only=True):
    """A value printed: escaped if `escape`; `default` (literal text) in place of an absent one; through `convert`."""

    name: str
    line: int
    escape: bool = False
    default: str | None = None
    convert: Convert | None = None
    selective: bool = False  # there are values that `convert` refuses

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


class Computed(Struct, frozen=True, kw_only=True):
    """What an expression gives, printed; `data` where it is a value of the row as it is, which HTML must escape."""

    node: nodes.Node
    data: bool


class Choice(Struct, frozen=True, kw_only=True):
    """`if`: the first arm whose test is true; the test of `else` is None."""

    arms: "tuple[tuple[nodes.Node | None, tuple[Segment, ...]], ...]"


class Loop(Struct, frozen=True, kw_only=True):
    """`for`; `targets` the names it sets, `counting` where the body asks `loop` for something."""

    targets: tuple[str, ...]
    unpacked: bool
    items: nodes.Node
    test: nodes.Node | None
    body: "tuple[Segment, ...]"
    otherwise: "tuple[Segment, ...]"
    counting: bool


class Setting(Struct, frozen=True, kw_only=True):
    """`set` and `with`: names for values, which hold for `body`, or for all that follows where there is no body."""

    names: tuple[str, ...]
    values: tuple[nodes.Node, ...]
    body: "tuple[Segment, ...] | None" = None


Segment = str | Slot | Computed | Choice | Loop | Setting
Segments = tuple[Segment, ...]
Load = Callable[[str, str], nodes.Template | None]


class Builder:
    """Makes segments of one template; `load(name, parent)` gives the tree of another, None where there is none.

    Fails with Unsupported on what only Jinja2 can do.
    """

    def __init__(self, environment: TemplateEnvironment, load: Load) -> None:
        self.environment = environment
        self.load = load
        self.expressions = Expressions(environment)
        self.blocks: dict[str, tuple[nodes.Block, str]] = {}
        self.top = Scope({})
        self.depth = 0

    def page(self, tree: nodes.Template, name: str, names: Iterable[str]) -> Segments:
        """The segments of a whole template whose variables are `names`."""
        self.top = Scope({name: position for position, name in enumerate(sorted(names))})
        return self.template(tree, name, self.top)

    def template(self, tree: nodes.Template, name: str, scope: Scope) -> Segments:
        first = tree.body[0] if tree.body else None
        if not isinstance(first, nodes.Extends):
            return self.body(tree.body, name, scope, settable=scope is self.top)
        if any(isinstance(node, nodes.Extends) for node in tree.body[1:]) or not isinstance(
            first.template, nodes.Const
        ):
            raise Unsupported
        # What a template that extends another has outside of its blocks is not printed; it might set something.
        if not all(isinstance(node, nodes.Block | nodes.Output) for node in tree.body[1:]):
            raise Unsupported
        for block in tree.find_all(nodes.Block):
            self.blocks.setdefault(block.name, (block, name))
        return self.deeper(lambda: self.loaded(cast(nodes.Const, first.template).value, name, scope))

    def included(self, wanted: str, parent: str, scope: Scope) -> Segments:
        """A template of its own: neither its blocks nor what it sets is known where it is included."""
        tree = self.load(wanted, parent)
        if tree is None or any(tree.find_all((nodes.Block, nodes.Extends))):
            raise Unsupported
        return self.template(tree, self.environment.join_path(wanted, parent), scope.inner())

    def loaded(self, wanted: str, parent: str, scope: Scope) -> Segments:
        tree = self.load(wanted, parent)
        if tree is None:
            raise Unsupported
        return self.template(tree, self.environment.join_path(wanted, parent), scope)

    def deeper(self, make: Callable[[], Segments]) -> Segments:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unsupported
        made = make()
        self.depth -= 1
        return made

    def body(self, body: Sequence[nodes.Node], name: str, scope: Scope, *, settable: bool = False) -> Segments:
        """`settable` where what `set` sets holds up to the end of this body and no further."""
        made: list[Segment] = []
        for node in body:
            for segment in self.statement(node, name, scope, settable=settable):
                if isinstance(segment, str) and made and isinstance(made[-1], str):
                    made[-1] += segment
                elif segment != "":
                    made.append(segment)
        return tuple(made)

    def statement(self, node: nodes.Node, name: str, scope: Scope, *, settable: bool) -> Iterable[Segment]:
        match node:
            case nodes.Output():
                return [self.printed(child, scope) for child in node.nodes]
            case nodes.If():
                return [self.deeper(lambda: (self.choice(node, name, scope),))[0]]
            case nodes.For():
                return [self.deeper(lambda: (self.loop(node, name, scope),))[0]]
            case nodes.Assign() if settable and isinstance(node.target, nodes.Name):
                self.check(node.node, scope)
                set_names(scope, [node.target.name])
                return [Setting(names=(node.target.name,), values=(node.node,))]
            case nodes.With() if all(isinstance(target, nodes.Name) for target in node.targets):
                for value in node.values:
                    self.check(value, scope)
                names = tuple(cast(nodes.Name, target).name for target in node.targets)
                inner = set_names(scope.inner(), names)
                made = self.deeper(lambda: self.body(node.body, name, inner))
                return [Setting(names=names, values=tuple(node.values), body=made)]
            case nodes.Include() if node.with_context and isinstance(node.template, nodes.Const):
                return self.deeper(lambda: self.included(cast(nodes.Const, node.template).value, name, scope))
            case nodes.Block() if not node.required:
                block, owner = self.blocks.get(node.name, (node, name))
                seen = scope if node.scoped else self.top
                return self.deeper(lambda: self.body(block.body, owner, seen))
            case nodes.Scope():
                return self.body(node.body, name, scope.inner())
        raise Unsupported

    def choice(self, node: nodes.If, name: str, scope: Scope) -> Choice:
        arms: list[tuple[nodes.Node | None, Segments]] = []
        for arm in (node, *node.elif_):
            self.check(arm.test, scope)
            arms.append((arm.test, self.body(arm.body, name, scope)))
        if node.else_:
            arms.append((None, self.body(node.else_, name, scope)))
        return Choice(arms=tuple(arms))

    def loop(self, node: nodes.For, name: str, scope: Scope) -> Loop:
        target = node.target
        targets = target.items if isinstance(target, nodes.Tuple) else [target]
        if node.recursive or not all(isinstance(item, nodes.Name) for item in targets):
            raise Unsupported
        names = tuple(cast(nodes.Name, item).name for item in targets)
        self.check(node.iter, scope)
        inner = set_names(scope.inner(), names)
        # Enough for the check: where things will stand is decided when the program is laid out.
        inner.loop = inner.budget = 0
        if node.test is not None:
            self.check(node.test, inner)
        counting = any(
            isinstance(part, nodes.Name) and part.name == "loop" for child in node.body for part in walk(child)
        )
        return Loop(
            targets=names,
            unpacked=isinstance(target, nodes.Tuple),
            items=node.iter,
            test=node.test,
            body=self.body(node.body, name, inner, settable=True),
            otherwise=self.body(node.else_, name, scope),
            counting=counting,
        )

    def check(self, node: nodes.Node, scope: Scope) -> None:
        self.expressions.function(node, scope)

    def printed(self, node: nodes.Node, scope: Scope) -> Segment:
        if isinstance(node, nodes.TemplateData):
            return node.data
        if isinstance(node, nodes.Const) and isinstance(node.value, str):
            return literal(node.value, self.environment)
        slot = slot_of(node, self.environment)
        if slot is not None and slot.name in scope.index and slot.name not in scope.raw:
            return slot
        self.check(node, scope)
        return Computed(node=node, data=isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem))


def set_names(scope: Scope, names: Iterable[str]) -> Scope:
    """The scope, in which these names are set; where they stand is not known yet."""
    for name in names:
        scope.index[name] = 0
    scope.raw |= frozenset(names)
    return scope


def all_segments(segments: Iterable[Segment]) -> Iterator[Segment]:
    """These and all within them."""
    for segment in segments:
        yield segment
        match segment:
            case Choice():
                for _, body in segment.arms:
                    yield from all_segments(body)
            case Loop():
                yield from all_segments(segment.body)
                yield from all_segments(segment.otherwise)
            case Setting() if segment.body is not None:
                yield from all_segments(segment.body)


def literal(value: Any, environment: TemplateEnvironment) -> str:
    """A constant as it is printed."""
    if environment.printing_html:
        return str(escape(value))
    if environment.printing_calendar:
        return calendar_text(value)
    return percent_encode(value) if environment.printing_url else str(value)


def slot_of(node: nodes.Node, environment: TemplateEnvironment) -> Slot | None:
    """The slot for a name with filters that are functions of one value; None where it is more than that."""
    filters: list[Callable[[Any], Any]] = []
    default: str | None = None
    marking = selective = False
    while isinstance(node, nodes.Filter):
        arguments = constant_arguments(node)
        if node.name not in CHAINED or arguments is None or node.node is None:
            return None
        positional, named = arguments
        function = environment.filters[node.name]
        filters.insert(0, bound(function, positional, named))
        marking = marking or node.name in ("e", "escape", "safe")
        selective = selective or node.name not in PLAIN_FILTERS
        default = plain_default(node.name, positional, named, environment)
        node = node.node
    if not isinstance(node, nodes.Name):
        return None
    slot = partial(Slot, name=node.name, line=node.lineno)
    html, url = environment.printing_html, environment.printing_url or environment.printing_calendar
    if not filters and (not url or node.name == "token"):
        return slot(escape=html)
    if len(filters) == 1 and default is not None and not url:
        return slot(escape=html, default=default)
    chain = Chain(node.name, tuple(filters), environment)
    if marking:
        return slot(convert=chain.escaped, selective=selective)
    return slot(escape=html, convert=chain, selective=selective)


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


def plain_default(
    name: str, positional: list[Any], named: dict[str, Any], environment: TemplateEnvironment
) -> str | None:
    """The literal text that `default(...)` puts in place of an absent value, where it does no more than that."""
    if name not in ("d", "default") or len(positional) > 1 or named.keys() - {"default_value"}:
        return None
    value = positional[0] if positional else named.get("default_value", "")
    return literal(value, environment)


class Chain:
    """Filters one after another over a value, as Jinja2 applies them."""

    def __init__(self, name: str, filters: Sequence[Callable[[Any], Any]], environment: TemplateEnvironment) -> None:
        self.name, self.filters = name, filters
        self.html = environment.printing_html
        self.finalize = environment.finalize or str

    def __call__(self, value: Any) -> str:
        return self.text(self.filtered(value))

    def escaped(self, value: Any) -> str:
        """For chains with `escape` or `safe`: what these have marked as HTML is not escaped again."""
        result = self.filtered(value)
        return str(escape(result)) if self.html else str(result)

    def filtered(self, value: Any) -> Any:
        if value is None:
            value = Absent(name=self.name)
        try:
            for function in self.filters:
                value = function(value)
        except ContentError as error:
            raise error.about(self.name) from None
        except Exception as error:  # a filter given unsuitable data: that row's fault
            raise ContentError(f"field {self.name}: {error}") from error
        return value

    def text(self, value: Any) -> str:
        return str(self.finalize(value))


def try_converters(segments: Segments) -> tuple[int, str] | None:
    """The line and the fault of a filter that is called with what it does not take, found before the first recipient.

    A number is what every filter of a slot takes.
    """
    for segment in all_segments(segments):
        if isinstance(segment, Slot) and segment.convert is not None:
            try:
                segment.convert(1)
            except (ContentError, jinja2.TemplateError) as error:
                return segment.line, str(error)
    return None
