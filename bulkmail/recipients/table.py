"""Rows of a CSV file, streamed; a row that cannot be read costs that row and no other.

A quotation mark that is never closed makes the rest of a file one cell. So a row that ends in an error, or has the
wrong number of cells over several lines, is refused for its first line only, and reading goes on with the next line.
Bytes that are not UTF-8 refuse the row they stand in: nothing is guessed, nothing is lost.
"""

import csv
from array import array
from collections import deque
from collections.abc import Iterator

from msgspec import Struct

from bulkmail.address import AddressError, parse_address
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import RecipientSource
from bulkmail.model.recipient import PlainBatch, PlainRules, Recipient, RejectedRow
from bulkmail.native.rows import PlainRows
from bulkmail.recipients.columns import ColumnError, address_column, template_name
from bulkmail.recipients.lines import MAX_LINE_BYTES, Lines, decoded, reading

SEPARATORS = ",;\t|"

MAX_SHOWN_ADDRESS = 320
MAX_PLAIN_COLUMNS = 256


class Layout(Struct, frozen=True):
    """What the header in the first `lines` lines says; `names` as templates use them, "" where there is none."""

    separator: str
    names: tuple[str, ...]
    address: int
    lines: int


def read_layout(source: RecipientSource) -> Layout:
    """Raises CampaignError where the file has no header, or one that does not say where the address is."""
    file = source.file
    with reading(file) as lines:
        separator, skipped = _find_separator(lines)
    with reading(file) as lines:
        rows = _Rows(lines, separator, skip=skipped)
        header = next((row for row in rows if any(row) or rows.spoilt), None)
        if header is None:
            raise CampaignError("the file has no header line", file=file, line=1)
        line = rows.first_line
        if problem := rows.take_problem():
            raise CampaignError(f"the header: {problem}", file=file, line=line)
        names = tuple(map(template_name, header))
        twice = next((name for index, name in enumerate(names) if name and name in names[:index]), None)
        if twice is not None:
            raise CampaignError(f'two columns are called "{twice}"', file=file, line=line, hint="rename one")
        try:
            address = address_column(header, source.address)
        except ColumnError as error:
            raise CampaignError(str(error), file=file, line=line) from None
        return Layout(separator, names, address, rows.lines_read)


def read_rows(source: RecipientSource, layout: Layout) -> Iterator[Recipient | RejectedRow]:
    """Every row below the header that is not blank, in order."""
    with reading(source.file) as lines:
        yield from _recipients(_Rows(lines, layout.separator, skip=layout.lines), source, layout)


def read_batches(
    source: RecipientSource, layout: Layout, rules: PlainRules, most: int
) -> Iterator[PlainBatch | list[Recipient | RejectedRow]]:
    """The same in batches of up to `most`, with those rows that follow the rules beyond doubt taken natively.

    The general way reads what the native one leaves, row by row, and the native one goes on behind it.
    """
    plain = _plain_rows(layout, rules)
    with reading(source.file) as lines:
        rows = _Rows(lines, layout.separator, skip=layout.lines)
        others = _recipients(rows, source, layout)
        gathered: list[Recipient | RejectedRow] = []
        while True:
            for batch in rows.plain_batches(plain, source, most):
                if gathered:
                    yield gathered
                    gathered = []
                yield batch
            row = next(others, None)
            if row is None:
                break
            gathered.append(row)
            if len(gathered) == most:
                yield gathered
                gathered = []
        if gathered:
            yield gathered


def can_be_plain(layout: Layout, rules: PlainRules) -> bool:
    """Whether `read_batches` is of use: the separator is a byte, and there are not too many columns and fields."""
    few = len(layout.names) <= MAX_PLAIN_COLUMNS and len(rules.fields) <= MAX_PLAIN_COLUMNS
    return few and layout.separator.isascii() and layout.separator != " "


def _plain_rows(layout: Layout, rules: PlainRules) -> PlainRows:
    columns = [layout.names.index(name) if name in layout.names else -1 for name in rules.fields]
    required = [name in rules.required for name in rules.fields]
    separator = layout.separator.encode()
    return PlainRows(separator, len(layout.names), layout.address, columns, required, rules.max_bytes)


def _recipients(rows: "_Rows", source: RecipientSource, layout: Layout) -> Iterator[Recipient | RejectedRow]:
    file, list_name, names, address_index = source.file, source.list, layout.names, layout.address
    width, all_named = len(names), all(names)
    for row in rows:
        line = rows.first_line
        if rows.spoilt or len(row) != width:
            if not any(row) and not rows.spoilt:
                continue
            address = row[address_index].strip()[:MAX_SHOWN_ADDRESS] if len(row) > address_index else ""
            if len(row) != width:
                rows.keep_first_line_only()
            problem = rows.take_problem() or _wrong_width(len(row), width)
            yield RejectedRow(address=address, reason=problem, source=file, line=line)
            continue
        address = row[address_index].strip()
        try:
            parse_address(address)
        except AddressError as error:
            if any(row):
                yield RejectedRow(address=address[:MAX_SHOWN_ADDRESS], reason=str(error), source=file, line=line)
            continue
        if all_named and all(row):
            fields = dict(zip(names, row))  # noqa: B905  (the lengths are equal, and strict= costs 0.1 us)
        else:
            fields = {name: cell for name, cell in zip(names, row) if cell and name}  # noqa: B905
        yield Recipient(address=address, fields=fields, source=file, line=line, list=list_name)


def _wrong_width(found: int, wanted: int) -> str:
    return f"{found} cell{'s' if found != 1 else ''} where the header has {wanted}"


def _find_separator(lines: Iterator[bytes]) -> tuple[str, int]:
    """The separator most frequent in the first line with text, or the one a line `sep=;` names; lines to skip."""
    for index, raw in enumerate(lines):
        line = raw[:MAX_LINE_BYTES].decode("utf-8", "replace").strip(" \r\n")
        if not line:
            continue
        if line[:4].lower() == "sep=" and len(line) == 5 and not line[4].isalnum() and line[4] != '"':
            return line[4], index + 1
        outside_quotes = "".join(line.split('"')[::2])
        return max(SEPARATORS, key=outside_quotes.count), index
    return ",", 0


class _Rows:
    """csv.reader over lines that can be handed to it again."""

    def __init__(self, lines: Lines, separator: str, *, skip: int) -> None:
        self._lines = lines
        self._separator = separator
        self._current: list[str] = []
        self._again: deque[str] = deque()
        self.lines_read = skip
        self.spoilt: dict[int, str] = {}
        for _ in range(skip):
            next(lines, None)

    @property
    def first_line(self) -> int:
        """The line on which the row given last begins."""
        return self.lines_read - len(self._current) + 1

    def __iter__(self) -> Iterator[list[str]]:
        """Rows as lists of cells. A row with an error is [] and leaves its reason for `take_problem`."""
        current = self._current
        while True:
            current.clear()
            try:
                for row in csv.reader(self._feed(), delimiter=self._separator, skipinitialspace=True, strict=True):
                    yield row
                    current.clear()
            except csv.Error as error:
                self.spoilt.setdefault(self.first_line, _sentence(str(error), len(current)))
                self.keep_first_line_only()
                yield []
            else:
                return

    def plain_batches(self, plain: PlainRows, source: RecipientSource, most: int) -> Iterator[PlainBatch]:
        """The plain rows that come next, up to the first row that is not; to be asked for between rows."""
        lines = self._lines
        while not self._again:
            batch = PlainBatch(addresses=[], keys=[], rows=[], lines=array("I"), source=source.file, list=source.list)
            while True:
                line = self.lines_read + 1
                lines.at, after = plain.take(
                    lines.block, lines.at, line, most - len(batch), batch.addresses, batch.keys, batch.rows, batch.lines
                )
                self.lines_read += after - line
                lines.taken += after - line
                if len(batch) == most or lines.block.find(b"\n", lines.at) >= 0 or not lines.fill():
                    break
            if batch.addresses:
                yield batch
            if len(batch) < most:
                return

    def keep_first_line_only(self) -> None:
        """Take the other lines of the row given last for rows of their own."""
        extra = self._current[1:]
        self._again.extendleft(reversed(extra))
        self.lines_read -= len(extra)
        del self._current[1:]

    def take_problem(self) -> str | None:
        """What is wrong with the lines of the row given last, if anything; asked once a row."""
        reasons = [self.spoilt.pop(line) for line in sorted(self.spoilt) if line <= self.lines_read]
        return reasons[0] if reasons else None

    def _feed(self) -> Iterator[str]:
        lines, current, again = self._lines, self._current, self._again
        while True:
            if again:
                text = again.popleft()
            else:
                raw = next(lines, None)
                if raw is None:
                    return
                text, problem = decoded(raw, lines)
                if problem is not None:
                    self.spoilt[self.lines_read + 1] = problem
            self.lines_read += 1
            current.append(text)
            yield text


def _sentence(message: str, lines: int) -> str:
    """What csv.reader complains of, to the owner of the list."""
    if "field limit" in message and lines == 1:
        return "a cell is longer than 128 KiB"
    if "new-line" in message:
        return "a bare carriage return in the row"
    if lines == 1 and "expected after" in message:
        return 'text after a closing quotation mark; inside a cell in quotes write "" for one'
    return "a quotation mark is not closed"
