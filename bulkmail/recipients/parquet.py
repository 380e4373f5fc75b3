"""Rows of a Parquet file, read one batch of a row group at a time."""

from collections.abc import Iterator
from typing import Any

from bulkmail.errors import CampaignError
from bulkmail.model.campaign import RecipientSource
from bulkmail.model.recipient import Recipient, RejectedRow
from bulkmail.recipients.columns import ColumnError, address_column
from bulkmail.recipients.objects import Names, recipient_of
from bulkmail.recipients.values import plain_value

BATCH_ROWS = 2_000


def parquet_columns(source: RecipientSource) -> tuple[list[str], str]:
    """The names of the columns, and that of the address. Raises CampaignError."""
    file = opened(source)
    try:
        names = list(file.schema_arrow.names)
    finally:
        file.close()
    try:
        return names, names[address_column(names, source.address)]
    except ColumnError as error:
        raise CampaignError(str(error), file=source.file) from None


def read_parquet(source: RecipientSource, address: str) -> Iterator[Recipient | RejectedRow]:
    """Every row, in order; `line` is its number from 1."""
    names, line = Names(), 0
    file = opened(source)
    try:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            for row in batch.to_pylist():
                line += 1
                yield recipient_of(
                    plain_value(row), address, names, source=source.file, line=line, list_name=source.list
                )
    except OSError as error:
        raise CampaignError(f"cannot be read: {error}", file=source.file, line=line + 1) from None
    finally:
        file.close()


def count_parquet(source: RecipientSource) -> int:
    file = opened(source)
    try:
        return int(file.metadata.num_rows)
    finally:
        file.close()


def opened(source: RecipientSource) -> Any:
    """The file, open. Raises CampaignError: no pyarrow, no such file, no Parquet."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise CampaignError(
            "Parquet needs pyarrow, which is not installed", file=source.file, hint="pip install 'bulkmail[parquet]'"
        ) from None
    try:
        return parquet.ParquetFile(source.file)
    except (OSError, ArrowException) as error:
        raise CampaignError(f"cannot be read as Parquet: {str(error)[:200]}", file=source.file) from None
