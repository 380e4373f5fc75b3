"""Dates, numbers and money as the people of a locale write them (Unicode CLDR, by Babel)."""

from collections.abc import Callable
from functools import cache
from typing import Any

from babel import Locale, UnknownLocaleError, dates, numbers
from jinja2 import Undefined

from bulkmail.content.errors import ContentError
from bulkmail.content.locales import in_zone, moment_of, number_of

MAX_PATTERN = 60


@cache
def parsed_locale(name: str) -> Locale:
    """`de`, `de_AT` or `de-AT`. Fails with ContentError."""
    try:
        if len(name) > 40:
            raise ValueError
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError):
        raise ContentError(f"{name[:40]!r} is no locale; write de, en_GB or pt_BR") from None


def locale_of(name: Any, default: str) -> Locale:
    if name is None or isinstance(name, Undefined):
        return parsed_locale(default)
    return parsed_locale(str(name))


def pattern_of(value: str) -> str:
    if len(value) > MAX_PATTERN:
        raise ContentError(f"a format has at most {MAX_PATTERN} characters")
    return value


def format_date(default: str, value: Any, format: str = "medium", locale: Any = None, tz: Any = None) -> str:
    """`format`: short, medium, long, full, or a CLDR pattern such as `d MMMM`."""
    moment = in_zone(moment_of(value), tz)
    return str(dates.format_date(moment.date(), pattern_of(format), locale_of(locale, default)))


def format_time(default: str, value: Any, format: str = "short", locale: Any = None, tz: Any = None) -> str:
    moment = in_zone(moment_of(value), tz)
    zone = moment.tzinfo
    return str(dates.format_time(moment, pattern_of(format), tzinfo=zone, locale=locale_of(locale, default)))


def format_datetime(default: str, value: Any, format: str = "medium", locale: Any = None, tz: Any = None) -> str:
    moment = in_zone(moment_of(value), tz)
    zone = moment.tzinfo
    return str(dates.format_datetime(moment, pattern_of(format), tzinfo=zone, locale=locale_of(locale, default)))


def format_number(default: str, value: Any, format: str | None = None, locale: Any = None) -> str:
    """`format`: a CLDR pattern such as `#,##0.00`; the locale's own where it is left out."""
    pattern = None if format is None else pattern_of(format)
    return str(numbers.format_decimal(number_of(value), pattern, locale_of(locale, default)))


def format_currency(default: str, value: Any, currency: str, format: str | None = None, locale: Any = None) -> str:
    """`currency`: a code of ISO 4217 such as EUR."""
    pattern = None if format is None else pattern_of(format)
    code = str(currency).strip().upper()
    place = locale_of(locale, default)
    if not numbers.is_currency(code):
        raise ContentError(f"{code[:10]!r} is no currency; write EUR, USD or GBP")
    return str(numbers.format_currency(number_of(value), code, pattern, locale=place))


def format_percent(default: str, value: Any, format: str | None = None, locale: Any = None) -> str:
    """0.25 as 25%."""
    pattern = None if format is None else pattern_of(format)
    return str(numbers.format_percent(number_of(value), pattern, locale_of(locale, default)))


FORMATS: dict[str, Callable[..., str]] = {
    "currency": format_currency,
    "date": format_date,
    "datetime": format_datetime,
    "number": format_number,
    "percent": format_percent,
    "time": format_time,
}
