"""Values of databases and data frames as the plain data that templates and chunks hold."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any


def plain_value(value: Any) -> Any:
    """The value as JSON can hold it: a decimal as an integer or its digits, times in ISO 8601, nested data too."""
    match value:
        case bool() | int() | float() | str() | None:
            return value
        case Decimal():
            return int(value) if value.is_finite() and value == value.to_integral_value() else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.hex()
        case dict():
            return {str(key): plain_value(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain_value(inner) for inner in value]
    return str(value)  # UUIDs, enumerations, addresses of networks
