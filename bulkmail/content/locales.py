"""What filters that print by locale are called, and what dates and numbers they take; `cldr` does the printing."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from functools import cache, partial
from typing import Any

from jinja2 import Undefined

from bulkmail.content.errors import ContentError

DEFAULT_LOCALE = "en"
LOCALE_FILTERS = ("currency", "date", "datetime", "number", "percent", "time")
MAX_DIGITS = 60


@cache
def zone_of(name: str) -> tzinfo:
    """`Europe/Vienna`. Fails with ContentError."""
    # Reads how this Python was built, which is worth it only where there are zones.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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


def in_zone(moment: datetime, zone: Any) -> datetime:
    """The moment as clocks in `zone` show it; one without a zone of its own is taken to be in that."""
    if zone is None or isinstance(zone, Undefined):
        return moment
    there = zone_of(str(zone))
    return moment.astimezone(there) if moment.tzinfo else moment.replace(tzinfo=there)


def bound_to(locale: str) -> dict[str, Callable[..., str]]:
    """The filters, which print in `locale` where the template names no other."""
    return {name: partial(_printed, name, locale) for name in LOCALE_FILTERS}


def _printed(name: str, default: str, /, *values: Any, **options: Any) -> str:
    # Loads Babel, which templates without such a filter do not need.
    from bulkmail.content.cldr import FORMATS

    return FORMATS[name](default, *values, **options)
