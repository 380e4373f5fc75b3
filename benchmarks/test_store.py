"""What the store costs: `pytest benchmarks/test_store.py --benchmark-enable`.

Journal records one at a time; chunks, recovery and suppressions by the thousand, so divide by the size in the name.
"""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bulkmail.clock import SystemClock
from bulkmail.model.delivery import Disposition, Reason, Stage
from bulkmail.store.chunks import NewChunk, OpenChunk
from bulkmail.store.journal import Journal
from bulkmail.store.outcomes import Outcome
from bulkmail.store.runs import IntakeProgress
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppression, Suppressions

SIZE = 1000
NOW = 1_800_000_000.0
DELIVERED = Outcome(Disposition.DELIVERED, 1, stage=Stage.MESSAGE, code=250, time=NOW)
BOUNCED = Outcome(Disposition.BOUNCED, 1, Reason.USER_UNKNOWN, Stage.RCPT, 550, NOW, text="550 5.1.1 no such user here")
PROGRESS = IntakeProgress(rows=0, rejected=0, duplicates=0, suppressed=0, watermark=0)


def new_chunk(number: int) -> NewChunk:
    numbers = range(number * SIZE, (number + 1) * SIZE)
    return NewChunk(
        "gmail.example",
        None,
        [f"user{n}.{n * 7919 % 99991}@gmail.example" for n in numbers],
        [b'["First%d","Last%d",%d]' % (n, n * 31 % 977, n) for n in numbers],
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(tmp_path / "state", clock=SystemClock())) as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> int:
    return store.create_run("spring", "", "", b"").number


def claim(store: Store, run: int) -> OpenChunk:
    store.ingest(run, [new_chunk(0)], PROGRESS)
    chunk = store.claim(run, "gmail.example", NOW)
    assert chunk is not None
    return chunk


@pytest.fixture(params=[True, False], ids=["mapped", "written"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path, segment_bytes=64 << 20, mapped=request.param)) as opened:
        yield opened


def test_intent_and_outcome_alone_in_their_tick(benchmark: BenchmarkFixture, journal: Journal) -> None:
    def attempt() -> None:
        journal.intent(7, 11, 1, NOW)
        journal.flush()
        journal.outcome(7, 11, DELIVERED)
        journal.flush()

    benchmark.pedantic(attempt, iterations=20, rounds=SIZE)


def test_intents_and_outcomes_20_in_a_tick(benchmark: BenchmarkFixture, journal: Journal) -> None:
    def attempts() -> None:
        for index in range(20):
            journal.intent(7, index, 1, NOW)
        journal.flush()
        for index in range(20):
            journal.outcome(7, index, DELIVERED)
        journal.flush()

    benchmark.pedantic(attempts, rounds=SIZE)


def test_bounce_with_its_reply(benchmark: BenchmarkFixture, journal: Journal) -> None:
    benchmark.pedantic(journal.outcome, (7, 11, BOUNCED), iterations=20, rounds=SIZE)


def test_ingest_100_chunks_of_1000(benchmark: BenchmarkFixture, store: Store, run: int) -> None:
    chunks = [new_chunk(number) for number in range(100)]
    benchmark.pedantic(store.ingest, (run, chunks, PROGRESS), rounds=5)


def test_claim_of_1000(benchmark: BenchmarkFixture, store: Store, run: int) -> None:
    store.ingest(run, [new_chunk(number) for number in range(100)], PROGRESS)
    assert benchmark.pedantic(store.claim, (run, "gmail.example", NOW), rounds=90)


def test_fold_of_1000_outcomes(benchmark: BenchmarkFixture, store: Store, run: int) -> None:
    chunk = claim(store, run)
    for index in range(SIZE):
        chunk.outcomes.set(index, BOUNCED if index % 50 == 0 else DELIVERED)

    def changed() -> tuple[tuple[list[OpenChunk]], dict[str, object]]:
        chunk.outcomes.set(1, DELIVERED)
        return ([chunk],), {}

    benchmark.pedantic(store.fold, setup=changed, rounds=50)


def test_recovery_of_100_000_records(benchmark: BenchmarkFixture, tmp_path: Path, store: Store, run: int) -> None:
    store.ingest(run, [new_chunk(number) for number in range(50)], PROGRESS)
    for chunk in range(1, 51):
        for index in range(SIZE):
            store.journal.intent(chunk, index, 1, NOW)
            store.journal.outcome(chunk, index, DELIVERED)
    store.journal.mark(run, 0)
    copies = iter(range(100))

    def crashed() -> tuple[tuple[Path], dict[str, object]]:
        path = tmp_path / f"crashed{next(copies)}"
        shutil.copytree(tmp_path / "state", path, ignore=shutil.ignore_patterns("*-shm", "lock"))
        return (path,), {}

    def recover(path: Path) -> int:
        with closing(Store.open(path, clock=SystemClock())) as recovered:
            return recovered.recovered.outcomes_replayed

    assert benchmark.pedantic(recover, setup=crashed, rounds=3) == 50 * SIZE


@pytest.fixture
def suppressions(tmp_path: Path) -> Iterator[Suppressions]:
    with closing(Suppressions.open(tmp_path / "state")) as opened:
        opened.add_many(
            Suppression(key=f"user{n}@x.example", address="", reason="bounced", source="import", time=NOW)
            for n in range(100_000)
        )
        yield opened


def test_address_that_is_not_suppressed(benchmark: BenchmarkFixture, suppressions: Suppressions) -> None:
    assert not benchmark(suppressions.contains, "ada@example.org", "newsletter")


def test_address_that_is_suppressed(benchmark: BenchmarkFixture, suppressions: Suppressions) -> None:
    assert benchmark(suppressions.contains, "user77@x.example", "newsletter")
