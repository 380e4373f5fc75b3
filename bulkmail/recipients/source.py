"""Opening a recipient list: what kind of file it is, its columns, its rows, its fingerprint."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from bulkmail.errors import CampaignError
from bulkmail.model.campaign import RecipientSource
from bulkmail.model.recipient import PlainBatch, PlainRules, Recipient, RejectedRow
from bulkmail.recipients.columns import template_name
from bulkmail.recipients.objects import find_address_key, read_objects
from bulkmail.recipients.parquet import parquet_columns, read_parquet
from bulkmail.recipients.sql import read_sql, sql_columns
from bulkmail.recipients.table import Layout, can_be_plain, read_batches, read_layout, read_rows


class RowReader:
    """The rows of one list, in order, as often as it is iterated; between iterations no file is open.

    A query is asked anew each time.

    `columns` are the names that templates use, () where the file does not say (JSON Lines). Iterating raises
    CampaignError where the file can no longer be read at all; a row that no mail can be made of is a RejectedRow.
    """

    def __init__(self, source: RecipientSource) -> None:
        self.source = source
        self._rows: Callable[[], Iterator[Recipient | RejectedRow]]
        self._layout: Layout | None = None
        name = source.file.lower().removesuffix(".gz")
        if source.sql is not None:
            query = source.sql
            names, column = sql_columns(source, query)
            self.columns: tuple[str, ...] = tuple(filter(None, map(template_name, names)))
            self._rows = lambda: read_sql(source, query, column)
        elif name.endswith(".parquet"):
            names, column = parquet_columns(source)
            self.columns = tuple(filter(None, map(template_name, names)))
            self._rows = lambda: read_parquet(source, column)
        elif name.endswith((".csv", ".tsv")):
            layout = self._layout = read_layout(source)
            self.columns = tuple(filter(None, layout.names))
            self._rows = lambda: read_rows(source, layout)
        elif name.endswith(".jsonl"):
            address_key = find_address_key(source)
            self.columns = ()
            self._rows = lambda: read_objects(source, address_key)
        else:
            raise CampaignError("is none of .csv, .tsv and .jsonl (or these with .gz) and .parquet", file=source.file)

    def __iter__(self) -> Iterator[Recipient | RejectedRow]:
        return self._rows()

    def batches(self, rules: PlainRules | None, most: int) -> Iterator[PlainBatch | Sequence[Recipient | RejectedRow]]:
        """The rows in batches of up to `most`; those that follow the rules beyond doubt may come as a `PlainBatch`."""
        if rules is not None and self._layout is not None and can_be_plain(self._layout, rules):
            return read_batches(self.source, self._layout, rules, most)
        rows = self._rows()
        return iter(lambda: list(islice(rows, most)), [])


def open_source(source: RecipientSource) -> RowReader:
    """The reader of a list whose header (or first objects) has been read. Raises CampaignError."""
    return RowReader(source)


def fingerprint(source: RecipientSource | str | os.PathLike[str]) -> str:
    """A hash of the file's bytes (BLAKE2b, 32 hex digits): the same list has the same, whatever its name and time."""
    path = source.file if isinstance(source, RecipientSource) else os.fspath(source)
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise CampaignError(f"cannot be read: {error.strerror or error}", file=path) from None
