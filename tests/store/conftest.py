"""A store in a temporary directory, and hands for its clock."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bulkmail.store.chunks import NewChunk
from bulkmail.store.runs import IntakeProgress, Run, RunState
from bulkmail.store.store import Store


class FakeClock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def open_store(clock: FakeClock) -> Iterator[Callable[..., Store]]:
    with ExitStack() as stack:

        def opened(path: Path, **options: object) -> Store:
            options.setdefault("segment_bytes", 1 << 16)
            store = Store.open(path, clock=clock, **options)  # type: ignore[arg-type]
            stack.callback(store.close)
            return store

        yield opened


@pytest.fixture
def store(tmp_path: Path, open_store: Callable[..., Store]) -> Store:
    return open_store(tmp_path / "state")


@pytest.fixture
def new_chunk() -> Callable[..., NewChunk]:
    def make(size: int, *, destination: str = "example.org", list_name: str | None = None, first: int = 0) -> NewChunk:
        domain = destination or "mixed.example"
        numbers = range(first, first + size)
        return NewChunk(
            destination, list_name, [f"r{n}@{domain}" for n in numbers], [b'["name %d"]' % n for n in numbers]
        )

    return make


@pytest.fixture
def run_of() -> Callable[..., Run]:
    """A run that has taken in the given chunks and sends."""

    def make(store: Store, *chunks: NewChunk, campaign: str = "spring") -> Run:
        run = store.create_run(campaign, "content", "recipients", b"{}")
        rows = sum(len(chunk.addresses) for chunk in chunks)
        store.ingest(
            run.number, chunks, IntakeProgress(rows=rows, rejected=0, duplicates=0, suppressed=0, watermark=rows)
        )
        return store.set_state(run.number, RunState.SENDING)

    return make
