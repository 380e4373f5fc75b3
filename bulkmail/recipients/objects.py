"""Recipients from objects with keys: JSON Lines, and what a program hands over."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, cast

import orjson

from bulkmail.address import AddressError, parse_address
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import RecipientSource
from bulkmail.model.recipient import Recipient, RejectedRow
from bulkmail.recipients.columns import ColumnError, address_column, template_name
from bulkmail.recipients.lines import decoded, reading

# Objects looked at to find the key of the address: the first may lack it, all of these hardly.
_SAMPLE = 100
_MAX_NAMES = 10_000


def find_address_key(source: RecipientSource) -> str:
    """The key of the address in a JSON Lines file, from its first objects. Raises CampaignError."""
    keys: dict[str, None] = {}
    first_line = 1
    with reading(source.file) as lines:
        sampled = 0
        for line, item, _ in _objects(lines):
            if item is None:
                continue
            first_line = line if not keys else first_line
            keys.update(dict.fromkeys(item))
            sampled += 1
            if sampled == _SAMPLE:
                break
    if not keys:
        raise CampaignError("the file has no JSON object", file=source.file, line=1, hint="one object a line is needed")
    names = list(keys)
    try:
        return names[address_column(names, source.address)]
    except ColumnError as error:
        raise CampaignError(str(error).replace("column", "key"), file=source.file, line=first_line) from None


def read_objects(source: RecipientSource, address_key: str) -> Iterator[Recipient | RejectedRow]:
    """Every line that is not blank, in order."""
    names = Names()
    with reading(source.file) as lines:
        for line, item, problem in _objects(lines):
            if item is None:
                yield RejectedRow(address="", reason=problem, source=source.file, line=line)
            else:
                yield recipient_of(item, address_key, names, source=source.file, line=line, list_name=source.list)


def from_iterable(
    items: Iterable[Recipient | Mapping[str, Any] | str], *, list: str | None = None
) -> Iterator[Recipient | RejectedRow]:
    """Recipients from a program: addresses, mappings with a key like `email`, or Recipients; `line` counts from 1.

    The first mapping says which key is the address. Raises CampaignError where none or several can be, and for items
    of another type.
    """
    taker = _Taker(list)
    for item in items:
        yield taker.take(item)


async def from_async_iterable(
    items: AsyncIterable[Recipient | Mapping[str, Any] | str], *, list: str | None = None
) -> AsyncIterator[Recipient | RejectedRow]:
    """`from_iterable` for what is awaited: rows of a database, for example."""
    taker = _Taker(list)
    async for item in items:
        yield taker.take(item)


class _Taker:
    """Makes rows of a program's items; knows the address key once it has seen a mapping."""

    def __init__(self, list_name: str | None) -> None:
        self._list = list_name
        self._count = 0
        self._address_key: str | None = None
        self._names = Names()

    def take(self, item: object) -> Recipient | RejectedRow:
        self._count += 1
        if isinstance(item, str):
            return _checked(Recipient(address=item.strip(), line=self._count, list=self._list))
        if isinstance(item, Recipient):
            return _checked(
                Recipient(
                    address=item.address.strip(),
                    fields=item.fields,
                    source=item.source,
                    line=item.line or self._count,
                    list=item.list or self._list,
                )
            )
        if hasattr(item, "keys") and not isinstance(item, Mapping):
            item = dict(cast(Mapping[str, Any], item))  # rows of databases: keys and items, but no Mapping
        if not isinstance(item, Mapping):
            kind = type(item).__name__
            raise CampaignError(
                f"recipient {self._count}: an address, a mapping or a Recipient is needed, found {kind}"
            )
        if self._address_key is None:
            names = [str(key) for key in item]
            try:
                self._address_key = [*item][address_column(names, None)]
            except ColumnError as error:
                raise CampaignError(f"recipient {self._count}: {error}".replace("column", "key")) from None
        return recipient_of(item, self._address_key, self._names, source="", line=self._count, list_name=self._list)


class Names(dict[str, str]):
    """Keys as templates use them, remembered; bounded, because a file may have a new key in every line."""

    def __missing__(self, key: str) -> str:
        if len(self) >= _MAX_NAMES:
            self.clear()
        self[key] = name = template_name(str(key))
        return name


def _objects(lines: Iterator[bytes]) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
    """(line, object, "") or (line, None, why not) for every line that is not blank."""
    for line, raw in enumerate(lines, 1):
        text, problem = decoded(raw, lines)
        if problem is not None:
            yield line, None, problem
            continue
        if text.isspace():
            continue
        try:
            item = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            column = min(error.pos, len(text.rstrip())) + 1
            yield line, None, f"not JSON at column {column}: {error.msg.partition(': ')[0]}"
            continue
        if isinstance(item, dict):
            yield line, item, ""
        else:
            yield line, None, "not a JSON object"


def recipient_of(
    item: Mapping[str, Any], address_key: str, names: Names, *, source: str, line: int, list_name: str | None
) -> Recipient | RejectedRow:
    address = item.get(address_key)
    if not isinstance(address, str):
        reason = f'no "{address_key}"' if address is None else f'"{address_key}" is not text'
        return RejectedRow(address="", reason=reason, source=source, line=line)
    fields = {names[key]: value for key, value in item.items() if value is not None and value != ""}
    return _checked(Recipient(address=address.strip(), fields=fields, source=source, line=line, list=list_name))


def _checked(recipient: Recipient) -> Recipient | RejectedRow:
    try:
        parse_address(recipient.address)
    except AddressError as error:
        return RejectedRow(
            address=recipient.address[:320], reason=str(error), source=recipient.source, line=recipient.line
        )
    return recipient
