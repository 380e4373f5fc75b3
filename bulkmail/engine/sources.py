"""Rows of a campaign's recipients in batches: from its files, or from an iterable of the caller's."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from itertools import islice
from pathlib import Path
from typing import Any

from bulkmail.engine.intake import Batch, Row
from bulkmail.model.campaign import RecipientSource
from bulkmail.model.recipient import PlainRules
from bulkmail.recipients.lines import refuse_foreign_encoding
from bulkmail.recipients.objects import from_async_iterable, from_iterable
from bulkmail.recipients.source import open_source
from bulkmail.recipients.sql import take_snapshot

BATCH_ROWS = 5_000


def columns_of(sources: Sequence[RecipientSource]) -> tuple[str, ...] | None:
    """The columns that templates may use: those of all sources together; None where one cannot tell (JSON Lines).

    Raises CampaignError where a source has no header, no address column, another encoding or cannot be read.
    """
    columns: dict[str, None] = {}
    known = True
    for source in sources:
        reader = open_source(source)
        if source.file and not source.file.endswith(".parquet"):
            refuse_foreign_encoding(source.file)
        known = known and bool(reader.columns)
        columns |= dict.fromkeys(reader.columns)
    return tuple(columns) if known and columns else None


def snapshots(sources: Sequence[RecipientSource], folder: Path, run: str) -> list[RecipientSource]:
    """The sources with each query as the file that holds its answer for this run, made where it is not there yet.

    Raises CampaignError.
    """
    return [
        source if source.sql is None else take_snapshot(source, source.sql, snapshot_path(folder, run, position))
        for position, source in enumerate(sources)
    ]


def drop_snapshots(sources: Sequence[RecipientSource], folder: Path, run: str) -> None:
    """Forget the answers of a run that takes no more rows in."""
    for position in range(len(sources)):
        snapshot_path(folder, run, position).unlink(missing_ok=True)


def snapshot_path(folder: Path, run: str, position: int) -> Path:
    return folder / "snapshots" / f"{run}.{position}.jsonl"


async def file_batches(
    sources: Sequence[RecipientSource], rules: PlainRules | None, thread: Executor
) -> AsyncIterator[Batch]:
    """All rows of the sources in order, read on `thread`; those that follow the rules beyond doubt in plain batches."""
    loop = asyncio.get_running_loop()
    for source in sources:
        batches = open_source(source).batches(rules, BATCH_ROWS)
        while (batch := await loop.run_in_executor(thread, next, batches, None)) is not None:
            yield batch


async def iterable_batches(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Sequence[Row]]:
    """Rows of Recipient, dict or str items; a synchronous iterable is read on the loop."""
    if not isinstance(items, AsyncIterable):
        rows = iter(from_iterable(items))
        while batch := _read(rows):
            yield batch
        return
    gathered: list[Row] = []
    async for row in from_async_iterable(items):
        gathered.append(row)
        if len(gathered) == BATCH_ROWS:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def _read(rows: Iterator[Row]) -> list[Row]:
    return list(islice(rows, BATCH_ROWS))
