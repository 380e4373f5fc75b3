"""Plain rows, told plainly: what the csv module, the address grammar and orjson make of a line nobody could misread."""

import csv
import re
from collections.abc import Sequence

import orjson

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN = re.compile(rf"(?P<local>{_ATOM}(\.{_ATOM})*)@({_LABEL}\.)+(?=[a-z]){_LABEL}")
_UNPLAIN = re.compile('[\x00-\x1f\x7f-\x9f\u2000-\u203f\u0800-\u0fff\ud000-\udfff\U00100000-\U0010ffff"]')

Row = tuple[str, bytes, bytes]


def plain_row(
    line: bytes, separator: str, width: int, address: int, columns: Sequence[int], required: Sequence[bool], most: int
) -> Row | None:
    """(address, key, row) of a line without its line feed; None where it is not plain."""
    if len(line) > 65_536:
        return None
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        return None
    if _UNPLAIN.search(text.replace(separator, "")):
        return None
    cells = next(csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True), [""]) or [""]
    if len(cells) != width or any(len(cell.encode()) > most for cell in cells):
        return None
    wire = cells[address].rstrip(" ")
    match = _PLAIN.fullmatch(wire)
    if match is None or len(wire) > 254 or len(match["local"]) > 64:
        return None
    values = [cells[column] or None if column >= 0 else None for column in columns]
    if any(needed and value is None for needed, value in zip(required, values, strict=True)):
        return None
    return wire, wire.lower().encode(), orjson.dumps(values)
