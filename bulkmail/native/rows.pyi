from array import array
from collections.abc import Sequence

class PlainRows:
    """Takes rows of a CSV file that are plain beyond doubt.

    `columns[i]` is the column of the field i, -1 where the file has none; `required[i]` whether it may not be empty.
    A cell of more than `max_cell` bytes is not plain. ValueError for more than 256 columns or fields.
    """

    def __init__(
        self,
        separator: bytes,
        width: int,
        address: int,
        columns: Sequence[int],
        required: Sequence[bool],
        max_cell: int,
    ) -> None: ...
    def take(
        self,
        block: bytes,
        at: int,
        line: int,
        most: int,
        addresses: list[str],
        keys: list[bytes],
        rows: list[bytes],
        lines: array[int],
    ) -> tuple[int, int]:
        """Append the rows from offset `at` (the beginning of line number `line`) on to the lists, at most so many.

        The offset and the number of the first line that was not taken: it is not plain, not whole, or beyond `most`.
        An address stands there as in the file, which is its form for the wire. `lines` is an array of type "I".
        """

def group(
    addresses: list[str],
    rows: list[bytes],
    wanted: Sequence[bool] | None,
    groups: dict[str, tuple[list[str], list[bytes]]],
) -> None:
    """Append addresses and rows to the group of their domain; only those that are `wanted`, where that is not None."""
