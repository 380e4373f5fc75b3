"""Filters that print dates, numbers and money as the people of a locale write them (Unicode CLDR, by Babel)."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from functools import cache, partial
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError, dates, numbers
from jinja2 import Undefined

from bulkmail.content.errors import ContentError

DEFAULT_LOCALE = "en"
MAX_PATTERN = 60
MAX_DIGITS = 60


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


@cache
def zone_of(name: str) -> tzinfo:
    """`Europe/Vienna`. Fails with ContentError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ContentError(f"{name[:60]!r} is no time zone; write Europe/Vienna") from None


def number_of(value: Any) -> Decimal:
    """A number, or the text of one as lists have it: `1234.5`. Fails with ContentError."""
    if isinstance(value, Undefined):
        str(value)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        number = Decimal(str(value))
    else:
        try:
            number = Decimal(str(value).strip())
        except InvalidOperation:
            raise ContentError(f"{str(value)[:40]!r} is no number") from None
    if not number.is_finite() or abs(number.adjusted()) > MAX_DIGITS:
        raise ContentError(f"{str(value)[:40]!r} is no number that can be printed")
    return number


def moment_of(value: Any) -> datetime:
    """A date, a time of a day, or Unix seconds: `2027-05-08`, `2027-05-08T10:00:00+02:00`. Fails with ContentError."""
    if isinstance(value, Undefined):
        str(value)
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
        return datetime.fromisoformat(str(value).strip())
    except (ValueError, OverflowError):
        raise ContentError(f"{str(value)[:40]!r} is no date; write 2027-05-08 or 2027-05-08T10:00:00Z") from None


def pattern_of(value: str) -> str:
    if len(value) > MAX_PATTERN:
        raise ContentError(f"a format has at most {MAX_PATTERN} characters")
    return value


def in_zone(moment: datetime, zone: Any) -> datetime:
    """The moment as clocks in `zone` show it; one without a zone of its own is taken to be in that."""
    if zone is None or isinstance(zone, Undefined):
        return moment
    there = zone_of(str(zone))
    return moment.astimezone(there) if moment.tzinfo else moment.replace(tzinfo=there)


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


LOCALE_FILTERS: dict[str, Callable[..., str]] = {
    "currency": format_currency,
    "date": format_date,
    "datetime": format_datetime,
    "number": format_number,
    "percent": format_percent,
    "time": format_time,
}


def bound_to(locale: str) -> dict[str, Callable[..., str]]:
    """The filters, which print in `locale` where the template names no other."""
    return {name: partial(function, locale) for name, function in LOCALE_FILTERS.items()}
