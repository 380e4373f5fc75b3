import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkmail.errors import InternalError
from bulkmail.model.delivery import Disposition, Reason
from bulkmail.store.chunks import NewChunk, OpenChunk
from bulkmail.store.outcomes import Outcome
from bulkmail.store.runs import IntakeProgress
from bulkmail.store.store import Store

NOW = 1_800_000_000.0
DELIVERED = Outcome(Disposition.DELIVERED, 1, code=250, time=NOW)


@pytest.fixture
def crashed(tmp_path: Path) -> Callable[[], Path]:
    """A copy of the state as a killed process would leave it."""

    def copy() -> Path:
        path = tmp_path / f"crashed{len(list(tmp_path.iterdir()))}"
        shutil.copytree(tmp_path / "state", path, ignore=shutil.ignore_patterns("*-shm", "lock"))
        return path

    return copy


@pytest.fixture
def sent(store: Store, new_chunk, run_of) -> OpenChunk:
    """An open chunk of 4: delivered, mark, delivered, intent without an outcome, untouched."""
    run = run_of(store, new_chunk(4))
    chunk = store.claim(run.number, "example.org", NOW)
    assert chunk is not None
    for index in (0, 1, 2):
        store.journal.intent(chunk.number, index, 1, NOW + index)
        if index < 2:
            chunk.outcomes.set(index, DELIVERED)
            store.journal.outcome(chunk.number, index, DELIVERED)
        if index == 0:
            store.journal.mark(run.number, 500)
    return chunk


def test_a_crash_loses_no_outcome_and_lists_what_is_in_doubt(crashed, sent: OpenChunk, open_store) -> None:
    store = open_store(crashed())
    report = store.recovered
    assert report.outcomes_replayed == 2
    assert [(one.chunk, one.index, one.address, one.attempt) for one in report.doubts] == [
        (sent.number, 2, "r2@example.org", 1)
    ]
    assert store.doubts(sent.run) == report.doubts
    assert [one.disposition for one in store.outcomes(sent.run)] == [
        Disposition.DELIVERED,
        Disposition.DELIVERED,
        Disposition.IN_DOUBT,
        Disposition.OPEN,
    ]
    again = store.claim(sent.run, "example.org", NOW)
    assert again is not None
    assert again.ready(NOW) == [3]
    doubt = again.outcomes.get(2)
    assert (doubt.attempt, doubt.reason, doubt.time) == (1, Reason.CONNECTION_LOST, NOW + 2)


def test_outcomes_behind_the_last_mark_are_to_be_published_until_one_covers_them(
    crashed, sent: OpenChunk, clock
) -> None:
    path = crashed()
    for _ in range(2):
        with Store.open(path, clock=clock, segment_bytes=4096) as store:
            assert [(one.index, one.disposition) for one in store.recovered.events_to_publish] == [
                (1, Disposition.DELIVERED),
                (2, Disposition.IN_DOUBT),
            ]
            assert {one.address for one in store.recovered.events_to_publish} == {"r1@example.org", "r2@example.org"}
    with Store.open(path, clock=clock, segment_bytes=4096) as store:
        store.journal.mark(sent.run, 900)
    with Store.open(path, clock=clock, segment_bytes=4096) as store:
        assert store.recovered.events_to_publish == []


def test_the_last_mark_tells_how_far_the_event_log_is_good(crashed, sent: OpenChunk, open_store) -> None:
    assert open_store(crashed()).recovered.events_offsets == {sent.run: 500}


def test_a_mark_in_the_journal_covers_what_an_earlier_recovery_found(
    tmp_path: Path, crashed, sent: OpenChunk, clock, open_store
) -> None:
    path = crashed()
    store = open_store(path)
    store.journal.mark(sent.run, 900)
    second = tmp_path / "second"
    shutil.copytree(path, second, ignore=shutil.ignore_patterns("*-shm", "lock"))
    assert open_store(second).recovered.events_to_publish == []


def test_a_crash_between_the_commit_and_the_removal_of_segments_changes_nothing(
    crashed, sent: OpenChunk, clock, open_store
) -> None:
    path = crashed()
    segments = {file.name: file.read_bytes() for file in (path / "journal").iterdir()}
    with Store.open(path, clock=clock, segment_bytes=4096) as store:
        assert store.settle_doubts(sent.run, Disposition.DEFERRED, time=NOW, due=NOW + 5) == 1
    for name, content in segments.items():
        (path / "journal" / name).write_bytes(content)
    store = open_store(path)
    assert store.recovered.doubts == []
    assert store.recovered.outcomes_replayed == 0
    assert store.doubts(sent.run) == []


def test_a_torn_tail_is_measured(crashed, sent: OpenChunk, store: Store, open_store) -> None:
    path = crashed()
    with open(path / "journal" / "000001.j", "r+b") as file:
        file.seek(store.journal.position - 3)
        file.write(b"\xff")
    recovered = open_store(path).recovered
    assert recovered.torn_bytes == 25
    assert recovered.doubts == []


def test_records_of_chunks_that_do_not_exist_are_reported(crashed, store: Store, open_store) -> None:
    store.journal.outcome(77, 0, DELIVERED)
    store.journal.intent(77, 1, 1, NOW)
    assert open_store(crashed()).recovered.orphans == 2


@pytest.mark.parametrize(
    ("disposition", "ready"), [(Disposition.DEFERRED, [2, 3]), (Disposition.DELIVERED, [3]), (Disposition.BOUNCED, [3])]
)
def test_doubts_are_settled_together(crashed, sent: OpenChunk, open_store, disposition, ready) -> None:
    store = open_store(crashed())
    assert store.settle_doubts(sent.run, disposition, time=NOW + 9, due=NOW + 9) == 1
    assert store.settle_doubts(sent.run, disposition, time=NOW + 9, due=NOW + 9) == 0
    chunk = store.claim(sent.run, "example.org", NOW + 9)
    assert chunk is not None
    assert chunk.ready(NOW + 9) == ready
    assert chunk.outcomes.get(2).attempt == 1


def test_doubts_of_an_open_chunk_are_not_settled(crashed, sent: OpenChunk, open_store) -> None:
    store = open_store(crashed())
    assert store.claim(sent.run, "example.org", NOW) is not None
    with pytest.raises(InternalError, match="settled while it is sent"):
        store.settle_doubts(sent.run, Disposition.DEFERRED, time=NOW)


class Sender:
    """Does at random what an engine does, and remembers what must be known after a crash.

    `synced` is what a power failure leaves of each segment, `durable` the attempts it must not make forgotten.
    """

    SIZES = (3, 5, 2)

    def __init__(self, path: Path, clock, *, mapped: bool) -> None:
        self.path, self.clock, self.mapped = path, clock, mapped
        self.outcomes: dict[tuple[int, int], Outcome] = {}
        self.attempts: dict[tuple[int, int], int] = {}
        self.intents: dict[tuple[int, int], int] = {}
        self.unpublished: list[tuple[int, int, Outcome]] = []
        self.open: dict[int, OpenChunk] = {}
        self.synced: dict[str, bytes] = {}
        self.durable: dict[tuple[int, int], int] = {}
        self.gathered = 0, 0
        self.store = self.start(path)
        run = self.store.create_run("c", "", "", b"")
        self.run = run.number
        chunks = [
            NewChunk("a.example", None, [f"{n}@a.example" for n in range(size)], [b"[]"] * size) for size in self.SIZES
        ]
        self.store.ingest(
            self.run, chunks, IntakeProgress(rows=10, rejected=0, duplicates=0, suppressed=0, watermark=10)
        )

    def start(self, path: Path) -> Store:
        self.synced.clear()
        return Store.open(
            path, clock=self.clock, segment_bytes=512, mapped=self.mapped, fdatasync=self.keep_what_is_synced
        )

    def keep_what_is_synced(self, descriptor: int) -> None:
        self.synced[os.readlink(f"/proc/self/fd/{descriptor}")] = os.pread(descriptor, 512, 0)

    def claim(self) -> None:
        chunk = self.store.claim(self.run, "a.example", self.clock.now)
        if chunk is not None:
            self.open[chunk.number] = chunk

    def attempt(self, choose: Callable[[int], int]) -> None:
        for chunk in self.open.values():
            free = [index for index in chunk.ready(self.clock.now) if (chunk.number, index) not in self.intents]
            if free:
                key = chunk.number, free[choose(len(free))]
                self.attempts[key] = attempt = self.attempts.get(key, 0) + 1
                self.store.journal.intent(*key, attempt, self.clock.now)
                self.store.journal.flush()
                self.intents[key] = attempt
                return

    def answer(self, choose: Callable[[int], int], disposition: Disposition) -> None:
        if self.intents:
            key = list(self.intents)[choose(len(self.intents))]
            attempt = self.intents.pop(key)
            text = "" if disposition == Disposition.DELIVERED else f"reply {len(self.unpublished)}"
            outcome = Outcome(disposition, attempt, code=choose(600), time=self.clock.now, text=text)
            self.open[key[0]].outcomes.set(key[1], outcome)
            self.store.journal.outcome(*key, outcome)
            self.store.journal.flush()
            self.outcomes[key] = outcome
            self.unpublished.append((*key, outcome))

    def give_back(self, choose: Callable[[int], int]) -> None:
        """The reply was about the sender: the recipient is as before, and its attempt does not count."""
        if self.intents:
            key = list(self.intents)[choose(len(self.intents))]
            self.attempts[key] = self.intents.pop(key) - 1
            self.durable.pop(key, None)
            self.store.journal.answered(*key)
            self.store.journal.flush()

    def fold(self, *, release: bool) -> None:
        busy = {number for number, _ in self.intents}
        released = [number for number in self.open if release and number not in busy]
        self.store.fold(list(self.open.values()), release=released)
        if not self.store.journal.bytes_unsynced:
            self.durable |= self.attempts
        for number in released:
            del self.open[number]

    def gather(self) -> None:
        self.gathered = self.store.journal.position, len(self.unpublished)

    def mark(self) -> None:
        position, count = self.gathered
        self.store.journal.mark(self.run, 0, position)
        self.store.journal.flush()
        del self.unpublished[:count]
        self.gathered = position, 0

    def crash(self) -> None:
        """Go on with what a killed process would have left, after checking that nothing is missing from it."""
        path = self.path.with_name(self.path.name + "x")
        shutil.copytree(self.path, path, ignore=shutil.ignore_patterns("*-shm", "lock"))
        self.abandon()
        self.path = path
        self.store = self.start(path)
        report = self.store.recovered
        assert {(one.chunk, one.index, one.attempt) for one in report.doubts} == {
            (*key, attempt) for key, attempt in self.intents.items()
        }
        assert report.torn_bytes == report.orphans == 0
        doubted = {(one.chunk, one.index): self.stored(one.chunk, one.index) for one in report.doubts}
        for key, outcome in doubted.items():
            assert (outcome.disposition, outcome.attempt) == (Disposition.IN_DOUBT, self.intents[key])
        self.outcomes |= doubted
        self.unpublished += [(*key, outcome) for key, outcome in doubted.items()]
        self.intents.clear()
        self.open.clear()
        self.gathered = 0, len(self.unpublished)
        assert sorted((one.chunk, one.index, one.disposition, one.text) for one in report.events_to_publish) == sorted(
            (chunk, index, outcome.disposition, outcome.text) for chunk, index, outcome in self.unpublished
        )
        for chunk, size in enumerate(self.SIZES, 1):
            for index in range(size):
                expected = self.outcomes.get((chunk, index), Outcome(Disposition.OPEN))
                assert self.stored(chunk, index) == expected
        counts = self.store.counts(self.run)
        assert sum(counts.values()) == sum(self.SIZES)
        assert counts[Disposition.DELIVERED] == sum(
            outcome.disposition == Disposition.DELIVERED for outcome in self.outcomes.values()
        )

    def lose_power(self) -> None:
        """Go on with what a machine that stopped would have left: the tables, and of the journal what was synced."""
        path = self.path.with_name(self.path.name + "x")
        shutil.copytree(self.path, path, ignore=shutil.ignore_patterns("*-shm", "lock"))
        for file in (path / "journal").iterdir():
            file.write_bytes(self.synced.get(str(self.path / "journal" / file.name), bytes(512)))
        self.abandon()
        self.path = path
        self.store = self.start(path)
        for key, attempt in self.durable.items():
            assert self.stored(*key).attempt >= attempt
        for chunk, size in enumerate(self.SIZES, 1):
            for index in range(size):
                outcome, key = self.stored(chunk, index), (chunk, index)
                if outcome.disposition == Disposition.IN_DOUBT:
                    self.outcomes[key] = outcome
                elif outcome.attempt == self.outcomes.get(key, Outcome(Disposition.OPEN)).attempt:
                    assert outcome == self.outcomes.get(key, Outcome(Disposition.OPEN))
                else:
                    self.outcomes[key] = outcome
                self.attempts[key] = outcome.attempt
        self.unpublished = [
            (one.chunk, one.index, Outcome(one.disposition, one.attempts, text=one.text))
            for one in self.store.recovered.events_to_publish
        ]
        self.intents.clear()
        self.open.clear()
        self.gathered = 0, len(self.unpublished)

    def sync(self) -> None:
        self.store.journal.sync()
        self.durable |= self.attempts

    def stored(self, chunk: int, index: int) -> Outcome:
        return self.store._stored(chunk).get(index)

    def abandon(self) -> None:
        """Let go of the files as death does: nothing more is written."""
        self.store.journal._poison = "abandoned"
        self.store.close()


OPERATIONS = st.sampled_from(
    [
        "claim",
        *["attempt"] * 3,
        *["answer"] * 2,
        "give back",
        "fold",
        "release",
        "gather",
        "mark",
        "sync",
        "later",
        "crash",
        "power",
    ]
)


@pytest.mark.parametrize("mapped", [True, False])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(operations=st.lists(OPERATIONS, min_size=10, max_size=60), data=st.data())
def test_no_crash_loses_an_outcome_or_an_unanswered_intent(clock, mapped: bool, operations, data) -> None:
    def choose(limit: int) -> int:
        return int(data.draw(st.integers(0, limit - 1)))

    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        sender = Sender(Path(folder) / "state", clock, mapped=mapped)
        sender.claim()
        for operation in (*operations, "crash", "crash"):
            match operation:
                case "claim":
                    sender.claim()
                case "attempt":
                    sender.attempt(choose)
                case "answer":
                    options = (Disposition.DELIVERED, Disposition.DEFERRED, Disposition.BOUNCED, Disposition.OPEN)
                    sender.answer(choose, options[choose(4)])
                case "fold":
                    sender.fold(release=False)
                case "release":
                    sender.fold(release=True)
                case "give back":
                    sender.give_back(choose)
                case "gather":
                    sender.gather()
                case "mark":
                    sender.mark()
                case "sync":
                    sender.sync()
                case "later":
                    clock.now += 1
                case "crash":
                    sender.crash()
                case "power":
                    sender.lose_power()
        sender.abandon()
