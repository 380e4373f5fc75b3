import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bulkmail.errors import DiskFull, StateError
from bulkmail.model.delivery import Disposition, Reason, Stage
from bulkmail.store import segments
from bulkmail.store.journal import Journal
from bulkmail.store.outcomes import Outcome, OutcomeColumn
from bulkmail.store.replay import Replay
from bulkmail.store.segments import SegmentReader, segment_paths

NOW = 1_800_000_000.0
DELIVERED = Outcome(Disposition.DELIVERED, 1, stage=Stage.MESSAGE, code=250, time=NOW)
BOUNCED = Outcome(Disposition.BOUNCED, 1, Reason.USER_UNKNOWN, Stage.RCPT, 550, NOW, text="5.1.1 nö such user")


@pytest.fixture(params=[True, False], ids=["mapped", "written"])
def mapped(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def journal(tmp_path: Path, mapped: bool) -> Iterator[Journal]:
    with closing(Journal(tmp_path, segment_bytes=4096, mapped=mapped)) as opened:
        yield opened


def replayed(folder: Path, sizes: dict[int, int] | None = None) -> Replay:
    columns = {number: OutcomeColumn(size) for number, size in (sizes or {1: 1000}).items()}
    replay = Replay(columns.get)
    for _, path in segment_paths(folder):
        replay.read(SegmentReader(path))
    return replay


def test_what_is_recorded_is_in_the_file_at_once_or_after_flush(tmp_path: Path, journal: Journal) -> None:
    journal.intent(1, 0, 1, NOW)
    journal.outcome(1, 0, BOUNCED)
    journal.intent(1, 1, 3, NOW)
    journal.flush()
    replay = replayed(tmp_path)
    assert replay.columns[1].get(0) == BOUNCED
    (doubt,) = replay.unanswered()
    assert (doubt.chunk, doubt.index, doubt.outcome.attempt, doubt.outcome.time) == (1, 1, 3, NOW)
    assert doubt.outcome.disposition is Disposition.IN_DOUBT


def test_a_delivery_is_recorded_without_its_text(tmp_path: Path, journal: Journal) -> None:
    journal.outcome(1, 0, Outcome(Disposition.DELIVERED, 1, text="250 ok queued as 7"))
    journal.flush()
    assert journal.position < 45
    assert replayed(tmp_path).columns[1].get(0).text == ""


def test_unsynced_bytes_are_counted_until_a_sync(journal: Journal) -> None:
    journal.intent(1, 0, 1, NOW)
    assert journal.bytes_unsynced == 25
    journal.flush()
    journal.sync()
    assert journal.bytes_unsynced == 0


def test_records_go_on_in_the_next_segment(tmp_path: Path, journal: Journal) -> None:
    for index in range(300):
        journal.intent(1, index, 1, NOW)
        journal.outcome(1, index, DELIVERED)
    journal.intent(1, 999, 1, NOW)
    journal.flush()
    assert len(segment_paths(tmp_path)) > 4
    replay = replayed(tmp_path)
    assert replay.columns[1].counts()[Disposition.DELIVERED] == 300
    assert [entry.index for entry in replay.unanswered()] == [999]


def test_every_cut_keeps_the_records_before_it_and_nothing_else(tmp_path: Path) -> None:
    ends = []
    with closing(Journal(tmp_path, segment_bytes=1024, mapped=True)) as journal:
        for index, outcome in enumerate((DELIVERED, BOUNCED, DELIVERED)):
            journal.intent(1, index, 1, NOW)
            ends.append((journal.position, "intent", index))
            journal.outcome(1, index, outcome)
            ends.append((journal.position, "outcome", index))
        journal.mark(1, 77)
        ends.append((journal.position, "mark", 0))
        journal.outcome(1, 7, DELIVERED)
        ends.append((journal.position, "outcome", 7))
        (_, path), *_ = segment_paths(tmp_path)
        content, size = path.read_bytes(), journal.position
    path = tmp_path / "cut"
    for cut in range(size + 1):
        for tail in (b"", bytes(1024 - cut), b"\xff" + bytes(1023 - cut)):
            path.write_bytes(written := content[:cut] + tail)
            # A record that ends in zeros is whole without them.
            whole = [(kind, index) for end, kind, index in ends if written[:end] == content[:end]]
            replay = Replay({1: OutcomeColumn(10)}.get)
            replay.read(SegmentReader(path))
            answered = {index for kind, index in whole if kind == "outcome"}
            assert replay.outcomes == len(answered)
            assert {entry.index for entry in replay.unanswered()} == {
                index for kind, index in whole if kind == "intent" and index not in answered
            }
            assert replay.marks == ({1: 77} if ("mark", 0) in whole else {})
            assert len(replay.unpublished) == len(answered) - (3 if ("mark", 0) in whole else 0)


def test_no_flipped_byte_makes_up_an_outcome(tmp_path: Path) -> None:
    with closing(Journal(tmp_path, segment_bytes=1024, mapped=True)) as journal:
        for index in range(4):
            journal.outcome(1, index, BOUNCED)
        (_, path), *_ = segment_paths(tmp_path)
        content, size = path.read_bytes(), journal.position
    path = tmp_path / "flipped"
    for at in range(size):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        replay = Replay({1: OutcomeColumn(10)}.get)
        reader = SegmentReader(path)
        replay.read(reader)
        assert replay.outcomes == at // (size // 4)
        assert reader.torn_bytes > 0
        for index in range(replay.outcomes):
            assert replay.columns[1].get(index) == BOUNCED


def test_records_of_unknown_chunks_and_recipients_are_counted_not_fatal(tmp_path: Path, journal: Journal) -> None:
    journal.outcome(1, 2, DELIVERED)
    journal.outcome(1, 3, DELIVERED)
    journal.outcome(9, 0, DELIVERED)
    journal.intent(9, 1, 1, NOW)
    journal.flush()
    replay = replayed(tmp_path, {1: 3})
    assert replay.outcomes == 1
    assert replay.unanswered() == []
    assert replay.orphans == 3


def test_a_replay_does_not_undo_what_was_folded_later(tmp_path: Path, journal: Journal) -> None:
    journal.outcome(1, 0, Outcome(Disposition.DEFERRED, 1, time=NOW))
    journal.intent(1, 0, 2, NOW)
    journal.flush()
    column = OutcomeColumn(1)
    column.set(0, Outcome(Disposition.DELIVERED, 2, time=NOW + 1))
    replay = Replay({1: column}.get)
    for _, path in segment_paths(tmp_path):
        replay.read(SegmentReader(path))
    assert column.get(0).disposition is Disposition.DELIVERED
    assert replay.unanswered() == []


def fill(journal: Journal, chunk: int) -> int:
    """Outcomes of `chunk` until the journal is in the next segment; how many."""
    before, index = journal.position // 4096, 0
    while journal.position // 4096 == before:
        journal.outcome(chunk, index, DELIVERED)
        index += 1
    return index


def test_a_segment_goes_when_its_chunks_are_folded_and_its_events_published(tmp_path: Path, journal: Journal) -> None:
    fill(journal, 1)
    assert journal.stale_chunks() == {1}
    journal.mark(1, 10)
    position = journal.position
    journal.folded([2], position)
    assert (tmp_path / "000001.j").exists()
    journal.folded([1], position)
    assert not (tmp_path / "000001.j").exists()
    assert journal.stale_chunks() == set()


def test_a_segment_stays_until_a_fold_that_began_after_its_last_record(tmp_path: Path, journal: Journal) -> None:
    early = journal.position
    fill(journal, 1)
    journal.mark(1, 10)
    journal.folded([1], early)
    assert (tmp_path / "000001.j").exists()


def test_a_segment_stays_until_a_mark_covers_its_outcomes(tmp_path: Path, journal: Journal) -> None:
    fill(journal, 1)
    journal.folded([1], journal.position)
    assert (tmp_path / "000001.j").exists()
    journal.mark(1, 10)
    journal.folded([], journal.position)
    assert not (tmp_path / "000001.j").exists()


def test_a_segment_stays_while_one_of_its_intents_is_unanswered(tmp_path: Path, journal: Journal) -> None:
    journal.intent(1, 4000, 1, NOW)
    fill(journal, 1)
    journal.mark(1, 10)
    journal.folded([1], journal.position)
    assert (tmp_path / "000001.j").exists()
    journal.outcome(1, 4000, DELIVERED)
    journal.folded([], journal.position)
    assert not (tmp_path / "000001.j").exists()


def test_the_answer_to_an_intent_that_goes_is_durable(tmp_path: Path, journal: Journal) -> None:
    journal.intent(1, 4000, 1, NOW)
    fill(journal, 1)
    journal.mark(1, 10)
    journal.flush()
    journal.sync()
    journal.outcome(1, 4000, DELIVERED)
    journal.flush()
    assert journal.bytes_unsynced > 0
    journal.folded([1], journal.position)
    assert not (tmp_path / "000001.j").exists()
    assert journal.bytes_unsynced == 0


def test_a_segment_synced_before_its_last_record_is_synced_again(tmp_path: Path, mapped: bool) -> None:
    synced: list[str] = []
    with closing(
        Journal(
            tmp_path,
            segment_bytes=4096,
            mapped=mapped,
            fdatasync=lambda descriptor: synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))),
        )
    ) as journal:
        journal.outcome(1, 0, DELIVERED)
        journal.flush()
        journal.sync()
        fill(journal, 1)
        journal.flush()
        journal.sync()
        journal.sync()
        assert synced == ["000001.j", "000001.j", "000002.j"]


def test_a_mark_covers_the_outcomes_before_its_position_only(tmp_path: Path, journal: Journal) -> None:
    for index in range(3):
        journal.outcome(1, index, DELIVERED)
    gathered = journal.position
    journal.outcome(1, 3, DELIVERED)
    journal.outcome(1, 4, DELIVERED)
    journal.mark(1, 10, gathered)
    journal.outcome(1, 5, DELIVERED)
    journal.flush()
    replay = replayed(tmp_path)
    assert [entry.index for entry in replay.unpublished] == [3, 4, 5]
    assert replay.marks == {1: 10}
    assert not journal.marked
    journal.mark(1, 20)
    journal.flush()
    assert replayed(tmp_path).unpublished == []
    assert journal.marked


def test_a_segment_stays_while_an_outcome_of_it_is_behind_the_marks_position(tmp_path: Path, journal: Journal) -> None:
    journal.outcome(1, 0, DELIVERED)
    gathered = journal.position
    fill(journal, 1)
    journal.mark(1, 10, gathered)
    journal.folded([1], journal.position)
    assert (tmp_path / "000001.j").exists()
    journal.mark(1, 20)
    journal.folded([1], journal.position)
    assert not (tmp_path / "000001.j").exists()


def test_an_intent_answered_without_an_outcome_is_not_in_doubt(tmp_path: Path, journal: Journal) -> None:
    journal.intent(1, 0, 1, NOW)
    journal.answered(1, 0)
    journal.flush()
    assert replayed(tmp_path).unanswered() == []
    before = journal.position
    journal.answered(1, 0)
    assert journal.position == before, "nothing is recorded without an intent"
    journal.intent(1, 0, 1, NOW)
    journal.flush()
    assert [entry.index for entry in replayed(tmp_path).unanswered()] == [0]


def test_an_answer_outlives_the_intent_it_answers(tmp_path: Path, journal: Journal) -> None:
    journal.intent(1, 4000, 1, NOW)
    journal.outcome(2, 0, DELIVERED)
    fill(journal, 1)
    journal.answered(1, 4000)
    fill(journal, 1)
    journal.mark(1, 10)
    # Chunk 2 keeps the first segment, and so the second with the answer, which is all folded.
    journal.folded([1], journal.position)
    journal.flush()
    assert (tmp_path / "000001.j").exists()
    assert replayed(tmp_path, {1: 5000, 2: 1}).unanswered() == []
    journal.folded([2], journal.position)
    assert next(number for number, _ in segment_paths(tmp_path)) == 3


def test_a_spare_segment_is_ready_before_it_is_needed(tmp_path: Path, journal: Journal) -> None:
    assert [number for number, _ in segment_paths(tmp_path)] == [1, 2]
    fill(journal, 1)
    journal.sync()
    assert [number for number, _ in segment_paths(tmp_path)] == [1, 2, 3]


class Disk:
    """Room for so many segments."""

    def __init__(self, room: int) -> None:
        self.room = room

    def allocate(self, descriptor: int, size: int) -> None:
        if self.room < 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= 1
        segments.allocate(descriptor, size)


def test_without_room_for_a_spare_the_journal_is_full_but_takes_outcomes(tmp_path: Path, mapped: bool) -> None:
    disk = Disk(2)
    journal = Journal(tmp_path, segment_bytes=4096, mapped=mapped, allocate=disk.allocate)
    assert not journal.full
    fill(journal, 1)
    journal.sync()
    assert journal.full
    assert not journal.prepare()
    with pytest.raises(DiskFull, match="no room for another journal segment"):
        for index in range(4096):
            journal.intent(2, index, 1, NOW)
    last = journal.position
    journal.outcome(2, 0, DELIVERED)
    assert journal.position > last
    with pytest.raises(DiskFull):
        for index in range(4096):
            journal.outcome(2, index, DELIVERED)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000001.j", "000002.j"]
    disk.room = 2
    assert journal.prepare()
    assert not journal.full
    journal.intent(2, 0, 2, NOW)
    journal.close()


def test_a_disk_that_is_full_from_the_start_says_so_and_keeps_nothing(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match=r"000001\.j: no room for the journal"):
        Journal(tmp_path, segment_bytes=4096, allocate=Disk(0).allocate)
    assert list(tmp_path.iterdir()) == []


def test_a_limit_on_file_sizes_is_a_full_disk(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(DiskFull):
            Journal(tmp_path, segment_bytes=1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_at_flush_loses_nothing_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Journal(tmp_path, segment_bytes=4096, mapped=False)) as journal:
        journal.outcome(1, 0, DELIVERED)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", refuse(errno.ENOSPC))
            with pytest.raises(DiskFull):
                journal.flush()
            assert journal.full
        journal.outcome(1, 1, DELIVERED)
        journal.flush()
        assert not journal.full
        assert replayed(tmp_path).outcomes == 2


def refuse(code: int) -> Callable[..., int]:
    def refused(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return refused


def test_an_error_of_fdatasync_is_final(tmp_path: Path, mapped: bool) -> None:
    calls = []

    def fdatasync(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    journal = Journal(tmp_path, segment_bytes=4096, mapped=mapped, fdatasync=fdatasync)
    journal.intent(1, 0, 1, NOW)
    journal.flush()
    with pytest.raises(StateError, match=r"cannot be made durable: Input/output error"):
        journal.sync()
    assert journal.failed
    for call in (
        journal.sync,
        lambda: journal.intent(1, 1, 1, NOW),
        lambda: journal.outcome(1, 0, DELIVERED),
        lambda: journal.mark(1, 0),
    ):
        with pytest.raises(StateError, match="start again"):
            call()
    assert len(calls) == 1
    journal.close()
    assert [entry.index for entry in replayed(tmp_path).unanswered()] == [0]


def test_a_journal_with_nothing_to_replay_leaves_no_file(tmp_path: Path, mapped: bool) -> None:
    journal = Journal(tmp_path, segment_bytes=4096, mapped=mapped)
    journal.intent(1, 0, 1, NOW)
    journal.outcome(1, 0, DELIVERED)
    journal.mark(1, 1)
    assert journal.close(folded=[1])
    assert list(tmp_path.iterdir()) == []


def test_a_journal_with_an_intent_unanswered_is_kept(tmp_path: Path, mapped: bool) -> None:
    journal = Journal(tmp_path, segment_bytes=4096, mapped=mapped)
    journal.intent(1, 0, 1, NOW)
    journal.mark(1, 1)
    assert not journal.close(folded=[1])
    assert [path.name for path in tmp_path.iterdir()] == ["000001.j"]


def test_space_that_fallocate_did_not_reserve_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", lambda descriptor, offset, size: os.ftruncate(descriptor, size))
    path = tmp_path / "segment"
    with open(path, "wb") as file:
        segments.allocate(file.fileno(), (3 << 20) + 5)
    assert path.stat().st_size == (3 << 20) + 5
    assert path.stat().st_blocks * 512 >= 3 << 20


def test_the_file_system_of_a_path_is_that_of_its_nearest_mount() -> None:
    assert segments.file_system(Path("/proc/self")) == "proc"
    assert segments.file_system(Path("/proc/self")) not in segments.IN_PLACE
