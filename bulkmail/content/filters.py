"""The filters and tests that templates have: Jinja2's harmless ones, and those whose work needed a limit."""

import re
from typing import Any, Literal

from jinja2.filters import FILTERS, do_indent, do_round
from jinja2.tests import TESTS

from bulkmail.content.errors import ContentError
from bulkmail.content.locales import LOCALE_FILTERS
from bulkmail.content.tracking import TRACKED, untracked

MAX_TEXT = 4 * 1024 * 1024  # characters that one expression may make
MAX_PRECISION = 30
MAX_WIDTH = 200  # columns that a value is padded or indented to
MAX_ITERATIONS = 10_000  # of all loops of one part together

# Filters that are functions of one string: slots with these need no Jinja2 at run time.
PLAIN_FILTERS = ("capitalize", "d", "default", "e", "escape", "lower", "safe", "title", "trim", "upper", "urlencode")
GENERAL_FILTERS = ("abs", "batch", "center", "count", "dictsort", "filesizeformat", "first", "float", "forceescape",
                   "format", "groupby", "indent", "int", "items", "join", "last", "length", "list", "map", "max", "min",
                   "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr", "slice", "sort",
                   "string", "striptags", "sum", "tojson", "truncate", "unique", "wordcount")  # fmt: skip
AVAILABLE_FILTERS = (*PLAIN_FILTERS, *GENERAL_FILTERS, *LOCALE_FILTERS, TRACKED)
ALLOWED_TESTS = ("!=", "<", "<=", "==", ">", ">=", "boolean", "defined", "divisibleby", "eq", "equalto", "even",
                 "false", "float", "ge", "greaterthan", "gt", "in", "integer", "iterable", "le", "lessthan", "lower",
                 "lt", "mapping", "ne", "none", "number", "odd", "sequence", "string", "true", "undefined",
                 "upper")  # fmt: skip

_DIRECTIVE = re.compile(r"%(?:%|[-+ 0#]{0,3}(\d{0,4})(?:\.(\d{1,3}))?[sdixXofFeEgG])")


def filter_table() -> dict[str, Any]:
    """The filters by name; those that print by locale are bound to one by `TemplateEnvironment`."""
    table = {name: FILTERS[name] for name in (*PLAIN_FILTERS, *GENERAL_FILTERS)}
    return table | {
        "center": center,
        "format": format_text,
        "indent": indent,
        "replace": replace,
        "round": rounded,
        "batch": batch,
        "slice": slices,
        TRACKED: untracked,
    }


def test_table() -> dict[str, Any]:
    return {name: TESTS[name] for name in ALLOWED_TESTS}


def limited_text(value: Any) -> Any:
    """The value, unless it is longer than any text may become."""
    if isinstance(value, str | list | tuple) and len(value) > MAX_TEXT:
        raise ContentError(f"the template makes a text of more than {MAX_TEXT} characters")
    return value


def replace(value: Any, old: str, new: str) -> str:
    text, old, new = str(value), str(old), str(new)
    limited_text(text)
    if text.count(old) * len(new) > MAX_TEXT:
        raise ContentError(f"replace makes a text of more than {MAX_TEXT} characters")
    return text.replace(old, new)


def rounded(value: Any, precision: int = 0, method: Literal["common", "ceil", "floor"] = "common") -> float:
    if abs(precision) > MAX_PRECISION:
        raise ContentError(f"round takes a precision of at most {MAX_PRECISION} digits")
    return do_round(value, precision, method)


def format_text(value: Any, *arguments: Any) -> str:
    """`"%05.2f" | format(price)`: printf directives with bounded widths, over text and numbers alone."""
    text = str(value)
    if "%" in _DIRECTIVE.sub("", text):
        raise ContentError("format takes directives such as %s, %d, %05.2f and %%")
    for width, precision in _DIRECTIVE.findall(text):
        if int(width or 0) > MAX_WIDTH or int(precision or 0) > MAX_PRECISION:
            raise ContentError(f"format takes a width of at most {MAX_WIDTH} and {MAX_PRECISION} digits")
    if not all(isinstance(argument, str | int | float) for argument in arguments):
        raise ContentError("format takes text and numbers")
    return text % arguments


def center(value: Any, width: int = 80) -> str:
    return str(value).center(bounded_width("center", width))


def indent(value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    bounded_width("indent", len(width) if isinstance(width, str) else width)
    return str(do_indent(str(value), width, first, blank))


def batch(value: Any, linecount: int, fill_with: Any = None) -> list[Any]:
    return list(FILTERS["batch"](value, bounded_width("batch", linecount), fill_with))


def slices(value: Any, slices: int, fill_with: Any = None) -> list[Any]:
    return list(FILTERS["slice"](value, bounded_width("slice", slices), fill_with))


def bounded_width(name: str, width: int) -> int:
    if not 0 <= int(width) <= MAX_WIDTH:
        raise ContentError(f"{name} takes a width from 0 to {MAX_WIDTH}")
    return int(width)


def bounded_range(start: Any, *rest: Any) -> range:
    """`range(...)` of at most as many numbers as loops may take turns."""
    numbers = range(start, *rest)
    if len(numbers) > MAX_ITERATIONS:
        raise ContentError(f"range gives more than {MAX_ITERATIONS} numbers")
    return numbers
