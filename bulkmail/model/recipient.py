"""A recipient as a source gives it, and a row that cannot be one."""

from typing import Any

from msgspec import Struct


class Recipient(Struct, frozen=True, kw_only=True):
    """An address and its merge fields; `source` and `line` say where the row stands (line 1 is a file's first)."""

    address: str
    fields: dict[str, Any] = {}
    source: str = ""
    line: int = 0
    list: str | None = None


class RejectedRow(Struct, frozen=True, kw_only=True):
    """A row no mail can be made of; `reason` is a sentence for the person who owns the list."""

    address: str
    reason: str
    source: str = ""
    line: int = 0
