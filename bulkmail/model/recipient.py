"""A recipient as a source gives it, a row that cannot be one, and many recipients at once."""

from array import array
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


class PlainRules(Struct, frozen=True, kw_only=True):
    """What makes a row of text good without rendering it: `required` fields have a text, none has over `max_bytes`.

    `fields` are those that are kept of a row, in their order.
    """

    fields: tuple[str, ...]
    required: tuple[str, ...]
    max_bytes: int


class PlainBatch(Struct, frozen=True, kw_only=True):
    """Rows that follow the rules beyond doubt: addresses for the wire, their comparison keys, and the kept fields.

    `rows` are as `Program.encode_row` makes them, `lines` where each stands in `source`.
    """

    addresses: list[str]
    keys: list[bytes]
    rows: list[bytes]
    lines: "array[int]"
    source: str
    list: str | None

    def __len__(self) -> int:
        return len(self.addresses)

    def split(self, count: int) -> tuple["PlainBatch", "PlainBatch"]:
        """The first `count` of them, and the others."""
        return self._part(slice(None, count)), self._part(slice(count, None))

    def _part(self, part: slice) -> "PlainBatch":
        return PlainBatch(
            addresses=self.addresses[part],
            keys=self.keys[part],
            rows=self.rows[part],
            lines=self.lines[part],
            source=self.source,
            list=self.list,
        )
