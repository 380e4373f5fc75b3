"""The Jinja2 that templates see: data and arithmetic, no attributes, calls, files or endless work.

A value that is null or absent is undefined at every level: false in a test, replaced by `default(...)`, an error when
printed, so that a hole in the data never becomes a blank in a mail.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, NoReturn
from urllib.parse import quote

from jinja2 import Undefined, nodes, pass_context
from jinja2.environment import TemplateModule
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.loaders import BaseLoader
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Joiner, Namespace

from bulkmail.content.errors import ContentError, MissingField
from bulkmail.content.escaping import LINK, STYLE, link, style
from bulkmail.content.filters import MAX_ITERATIONS, bounded_range, filter_table, limited_text, test_table
from bulkmail.content.locales import DEFAULT_LOCALE, bound_to

MAX_NUMBER = 10**30
MAX_WORK = 100_000  # items, and calls, and 64 characters of text, that the filters and macros of one part may handle

LOOP_ATTRIBUTES = frozenset(("changed", "cycle", "depth", "depth0", "first", "index", "index0", "last", "length",
                             "nextitem", "previtem", "revindex", "revindex0"))  # fmt: skip
BUDGET = "_budget"
COUNTED = "_counted"
LIMITED = "_limited"
RANGE, NAMESPACE, JOINER = "_range", "_namespace", "_joiner"
CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
PRINTABLE = (str, int, float, Decimal, date, list, tuple, Mapping, Undefined)
_WORK_CHARACTERS = 6  # as a power of two


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
    return value if isinstance(value, QuotedUrl) else quote(str(printable(value)), safe="")


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2 over plain data: `html` escapes what is printed, `url` percent-encodes it; `loader` has what is included.

    Only trees that `vetting` has passed and metered may be compiled.
    """

    # `%` and `*` build text of any length, `+` joins it.
    intercepted_binops = frozenset(("+", "*", "%", "**"))

    def __init__(
        self,
        *,
        html: bool = False,
        url: bool = False,
        calendar: bool = False,
        locale: str = DEFAULT_LOCALE,
        loader: BaseLoader | None = None,
    ) -> None:
        super().__init__(
            autoescape=html,
            undefined=Absent,
            keep_trailing_newline=True,
            finalize=percent_encode if url else calendar_text if calendar else printable,
            cache_size=-1,
            auto_reload=False,
            loader=loader,
        )
        self.globals.clear()
        self.filters = filter_table() | bound_to(locale)
        self.filters |= {COUNTED: counted, LIMITED: limited, LINK: link, STYLE: style}
        self.filters |= {RANGE: bounded_range, NAMESPACE: namespace, JOINER: joiner}
        if url:
            self.filters["urlencode"] = lambda value: QuotedUrl(FILTERS["urlencode"](value))
        self.tests = test_table()
        self.printing_html, self.printing_url, self.printing_calendar = html, url, calendar

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in LOOP_ATTRIBUTES:
            return getattr(obj, attribute)
        if isinstance(obj, TemplateReference | Namespace) and not attribute.startswith("_"):
            try:
                return obj[attribute] if isinstance(obj, TemplateReference) else getattr(obj, attribute)
            except (AttributeError, KeyError, TypeError):
                return self.undefined(name=attribute)
        if isinstance(obj, BlockReference) and attribute == "super":
            return obj.super
        if isinstance(obj, TemplateModule) and not attribute.startswith("_"):
            return vars(obj).get(attribute, self.undefined(name=attribute))
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
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, LoopContext):
            return getattr(obj, "__func__", None) in (LoopContext.cycle, LoopContext.changed)
        return isinstance(obj, Macro | BlockReference | Joiner)

    def call_binop(self, context: Context | None, operator: str, left: Any, right: Any) -> Any:
        if operator == "+":
            return limited_text(left + right)
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" or not numbers or (operator == "*" and abs(left) * abs(right) > MAX_NUMBER):
            raise SecurityError(f"{operator} is not allowed on these values")
        return self.binop_table[operator](left, right)


class Budget:
    """The loop iterations, and the work of filters and macros, that one rendering has left."""

    __slots__ = ("turns", "work")

    def __init__(self) -> None:
        self.turns = MAX_ITERATIONS
        self.work = MAX_WORK

    def spend(self) -> None:
        self.turns -= 1
        if self.turns < 0:
            raise ContentError(f"the template's loops take more than {MAX_ITERATIONS} turns")

    def charge(self, value: Any) -> None:
        """For a call over `value`."""
        cost = 1
        if isinstance(value, str):
            cost += len(value) >> _WORK_CHARACTERS
        elif isinstance(value, list | tuple | dict | range):
            cost += len(value)
        self.work -= cost
        if self.work < 0:
            raise ContentError("the template's filters and macros have too much to do")


@pass_context
def counted(context: Context, iterable: Iterable[Any]) -> Iterator[Any]:
    budget: Budget = context[BUDGET]
    for item in iterable:
        budget.spend()
        yield item


@pass_context
def limited(context: Context, value: Any) -> Any:
    budget: Budget = context[BUDGET]
    budget.charge(value)
    if isinstance(value, Iterator):
        return charged(budget, value)
    return limited_text(value)


def charged(budget: Budget, items: Iterator[Any]) -> Iterator[Any]:
    for item in items:
        budget.charge(None)
        yield item


def printable(value: Any) -> Any:
    """The value, where it is data: a macro or a module printed is a slip."""
    if value is None:
        raise ContentError("the template prints a null value")
    if not isinstance(value, PRINTABLE):
        raise ContentError("the template prints what is no data; macros are called with ( )")
    return value


def calendar_text(value: Any) -> str:
    """A value as TEXT of iCalendar (RFC 5545 §3.3.11)."""
    text = str(printable(value))
    text = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    text = text.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")
    if CONTROLS.search(text):
        raise ContentError("a value printed into a calendar has a control character")
    return text


def namespace(_: Any, **values: Any) -> Namespace:
    return Namespace(**values)


def joiner(_: Any, sep: str = ", ") -> Joiner:
    return Joiner(sep)


def nearest(word: str, words: Iterable[str]) -> str:
    """`; did you mean WORD?`, or nothing where no word is near."""
    found = get_close_matches(word, list(words), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def walk(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from walk(child)
