"""The Jinja2 that templates see: data and arithmetic, no attributes, calls, files or endless work.

A value that is null or absent is undefined at every level: false in a test, replaced by `default(...)`, an error when
printed, so that a hole in the data never becomes a blank in a mail.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal, NoReturn, cast
from urllib.parse import quote

from jinja2 import Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, do_round
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.visitor import NodeTransformer

from bulkmail.content.errors import ContentError, MissingField

MAX_ITERATIONS = 10_000  # of all loops of one part together
MAX_TEXT = 4 * 1024 * 1024  # characters that one expression may make
MAX_NUMBER = 10**30
MAX_PRECISION = 30

# Filters that are functions of one string: slots with these need no Jinja2 at run time.
PLAIN_FILTERS = ("capitalize", "d", "default", "e", "escape", "lower", "safe", "title", "trim", "upper", "urlencode")
GENERAL_FILTERS = ("abs", "count", "first", "float", "int", "join", "last", "length", "list", "max", "min", "replace",
                   "reverse", "round", "sort", "string", "sum", "truncate", "unique")  # fmt: skip
ALLOWED_TESTS = ("!=", "<", "<=", "==", ">", ">=", "boolean", "defined", "divisibleby", "eq", "equalto", "even",
                 "false", "float", "ge", "greaterthan", "gt", "in", "integer", "iterable", "le", "lessthan", "lower",
                 "lt", "mapping", "ne", "none", "number", "odd", "sequence", "string", "true", "undefined",
                 "upper")  # fmt: skip
LOOP_ATTRIBUTES = frozenset(("cycle", "depth", "depth0", "first", "index", "index0", "last", "length", "nextitem",
                             "previtem", "revindex", "revindex0"))  # fmt: skip
AVAILABLE_FILTERS = (*PLAIN_FILTERS, *GENERAL_FILTERS)
BUDGET = "_budget"
COUNTED = "_counted"
LIMITED = "_limited"


class Absent(Undefined):
    """An undefined value: false, equal to nothing that is defined, and a MissingField as soon as it is printed."""

    __slots__ = ()

    def _missing(self, *_: object) -> NoReturn:
        raise MissingField(self._undefined_name or "")

    __str__ = __iter__ = __len__ = __contains__ = __html__ = _missing


class QuotedUrl(str):
    """Text that is percent-encoded already."""

    __slots__ = ()


def percent_encode(value: Any) -> str:
    """A value as it may stand inside one path segment or query value of a URL (RFC 3986 §2.3)."""
    return value if isinstance(value, QuotedUrl) else quote(str(refuse_null(value)), safe="")


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2 over plain data: `html` escapes what is printed, `url` percent-encodes it."""

    # `%` and `*` build text of any length, `+` joins it.
    intercepted_binops = frozenset(("+", "*", "%", "**"))

    def __init__(self, *, html: bool = False, url: bool = False) -> None:
        super().__init__(
            autoescape=html,
            undefined=Absent,
            keep_trailing_newline=True,
            finalize=percent_encode if url else refuse_null,
            cache_size=0,
        )
        self.globals.clear()
        self.filters = {name: FILTERS[name] for name in AVAILABLE_FILTERS}
        self.filters |= {"replace": replace, "round": rounded, COUNTED: counted, LIMITED: limited}
        if url:
            self.filters["urlencode"] = lambda value: QuotedUrl(FILTERS["urlencode"](value))
        self.tests = {name: TESTS[name] for name in ALLOWED_TESTS}

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in LOOP_ATTRIBUTES:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        name = str(argument)
        if isinstance(obj, Absent):
            return self.undefined(name=f"{obj._undefined_name}.{name}")
        value = None
        if isinstance(obj, Mapping) or (isinstance(obj, list | tuple | str) and isinstance(argument, int | slice)):
            try:
                value = obj[argument]
            except (LookupError, TypeError):
                value = None
        return self.undefined(name=name) if value is None else value

    def is_safe_callable(self, obj: Any) -> bool:
        return isinstance(obj, Macro) or getattr(obj, "__func__", None) is LoopContext.cycle

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "+":
            return limited(left + right)
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" or not numbers or (operator == "*" and abs(left) * abs(right) > MAX_NUMBER):
            raise SecurityError(f"{operator} is not allowed on these values")
        return super().call_binop(context, operator, left, right)


class Budget:
    """The loop iterations that one rendering has left."""

    def __init__(self) -> None:
        self.left = MAX_ITERATIONS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ContentError(f"the template's loops take more than {MAX_ITERATIONS} turns")


@pass_context
def counted(context: Context, iterable: Iterable[Any]) -> Iterator[Any]:
    budget: Budget = context[BUDGET]
    for item in iterable:
        budget.spend()
        yield item


def limited(value: Any) -> Any:
    if isinstance(value, str | list | tuple) and len(value) > MAX_TEXT:
        raise ContentError(f"the template makes a text of more than {MAX_TEXT} characters")
    return value


def replace(value: Any, old: str, new: str) -> str:
    text, old, new = str(value), str(old), str(new)
    limited(text)
    if text.count(old) * len(new) > MAX_TEXT:
        raise ContentError(f"replace makes a text of more than {MAX_TEXT} characters")
    return text.replace(old, new)


def rounded(value: Any, precision: int = 0, method: Literal["common", "ceil", "floor"] = "common") -> float:
    if abs(precision) > MAX_PRECISION:
        raise ContentError(f"round takes a precision of at most {MAX_PRECISION} digits")
    return do_round(value, precision, method)


def refuse_null(value: Any) -> Any:
    if value is None:
        raise ContentError("the template prints a null value")
    return value


ALLOWED_NODES: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Filter, nodes.Test, nodes.Getattr,
    nodes.Getitem, nodes.Slice, nodes.If, nodes.For, nodes.Assign, nodes.AssignBlock, nodes.With, nodes.CondExpr,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub, nodes.Mul,
    nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Concat, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword,
    nodes.Macro, nodes.Call, nodes.FilterBlock, nodes.Scope,
)  # fmt: skip


def forbidden(tree: nodes.Template) -> tuple[int, str] | None:
    """The line and the complaint about the first thing that a template may not use; None where all is allowed."""
    for node in walk(tree):
        complaint = complaint_about(node)
        if complaint is not None:
            return node.lineno, complaint
    return None


def complaint_about(node: nodes.Node) -> str | None:
    if not isinstance(node, ALLOWED_NODES):
        return f"{STATEMENTS.get(type(node), type(node).__name__.lower())} is not available in templates"
    if isinstance(node, nodes.Name | nodes.Getattr):
        name = node.name if isinstance(node, nodes.Name) else node.attr
        if name.startswith("_"):
            return f"{name}: names that begin with _ are not available in templates"
        if name in ("self", "super"):
            return f"{name} is not available in templates"
    if isinstance(node, nodes.Filter) and node.name not in AVAILABLE_FILTERS:
        return f"there is no filter {node.name}{nearest(node.name, AVAILABLE_FILTERS)}"
    if isinstance(node, nodes.Test) and node.name not in ALLOWED_TESTS:
        return f"there is no test {node.name}{nearest(node.name, ALLOWED_TESTS)}"
    if isinstance(node, nodes.Call):
        target = node.node
        cycle = isinstance(target, nodes.Getattr) and target.attr == "cycle"
        if not (cycle or isinstance(target, nodes.Name)):
            return "calls are not available in templates; use a filter"
    return None


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean WORD?`, or nothing where no word is near."""
    found = get_close_matches(word, list(words), n=1)
    return f"; did you mean {found[0]}?" if found else ""


STATEMENTS: Mapping[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
    nodes.Block: "block",
    nodes.CallBlock: "call",
    nodes.Pow: "**",
    nodes.ScopedEvalContextModifier: "autoescape",
    nodes.NSRef: "namespace",
}


def walk(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from walk(child)


class Meter(NodeTransformer):
    """Puts every loop under its limit, and every expression that can make text longer than what it is made from."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.iter = filtered(node.iter, COUNTED)
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.AssignBlock:
        self.generic_visit(node)
        node.filter = filtered(node.filter, LIMITED, beside=node)
        return node

    def visit_growing(self, node: nodes.Expr) -> nodes.Filter:
        self.generic_visit(node)
        return filtered(node, LIMITED)

    visit_Call = visit_Concat = visit_Filter = visit_growing


def filtered(node: nodes.Node | None, name: str, *, beside: nodes.Node | None = None) -> nodes.Filter:
    """`node | name`, at the place of `beside` in the source where there is no node (the body of a block)."""
    place = cast(nodes.Node, node or beside)
    return nodes.Filter(
        cast(nodes.Expr, node), name, [], [], None, None, lineno=place.lineno, environment=place.environment
    )


HTML = TemplateEnvironment(html=True)
TEXT = TemplateEnvironment()
URL = TemplateEnvironment(url=True)
