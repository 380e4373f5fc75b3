"""Fixtures of the engine: timeouts that are shortened, and records that are closed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulkmail import composition
from bulkmail.engine.dialer import Transport
from bulkmail.net.timeouts import Timeouts
from tests.engine.records import Records


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it with the timeouts, in seconds by stage, that the next sends have."""

    def shorten(**seconds: float) -> None:
        original = composition.transport_of

        def transport_of(*arguments: object, **options: object) -> Transport:
            made = original(*arguments, **options)  # type: ignore[arg-type]
            return msgspec.structs.replace(made, timeouts=Timeouts(**seconds))

        monkeypatch.setattr(composition, "transport_of", transport_of)

    return shorten


@pytest.fixture
def open_records(tmp_path: Path) -> Iterator[Callable[..., Records]]:
    """Call it with options of the journal for records that are closed at the end."""
    opened: list[Records] = []

    def open_them(**journal: Any) -> Records:
        opened.append(Records(tmp_path / "state", **journal))
        return opened[-1]

    yield open_them
    for records in opened:
        records.close()
