"""A way to read a list from its bytes."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkmail.model.campaign import RecipientSource
from bulkmail.model.recipient import Recipient, RejectedRow
from bulkmail.recipients.source import RowReader, open_source

Open = Callable[..., RowReader]
Rows = Callable[..., list[Recipient | RejectedRow]]


@pytest.fixture
def open_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Write the data into a file of this name in the current folder, and open it as a source."""
    monkeypatch.chdir(tmp_path)

    def open_list(data: str | bytes, name: str = "l.csv", address: str | None = None) -> RowReader:
        raw = data if isinstance(data, bytes) else data.encode()
        Path(name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return open_source(RecipientSource(file=name, address=address, list="news"))

    return open_list


@pytest.fixture
def rows(open_list: Open) -> Rows:
    def rows(data: str | bytes, name: str = "l.csv", address: str | None = None) -> list[Recipient | RejectedRow]:
        return list(open_list(data, name, address))

    return rows
