import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from bulkmail.errors import InternalError, StateError
from bulkmail.model.delivery import Disposition, Reason, Stage
from bulkmail.store import chunks, database
from bulkmail.store.chunks import HELD_SECONDS, Backlog, NewChunk, OpenChunk
from bulkmail.store.database import Database
from bulkmail.store.outcomes import Outcome
from bulkmail.store.runs import IntakeProgress, Run, RunState
from bulkmail.store.store import Store

NOW = 1_800_000_000.0
DELIVERED = Outcome(Disposition.DELIVERED, 1, stage=Stage.MESSAGE, code=250, time=NOW)
BOUNCED = Outcome(Disposition.BOUNCED, 1, Reason.USER_UNKNOWN, Stage.RCPT, 550, NOW, text="5.1.1 no such user")


def deferred(due: float, attempt: int = 1) -> Outcome:
    return Outcome(Disposition.DEFERRED, attempt, Reason.GREYLISTED, Stage.RCPT, 451, NOW, due, "4.7.1 later")


def record(store: Store, chunk: OpenChunk, index: int, outcome: Outcome) -> None:
    chunk.outcomes.set(index, outcome)
    store.journal.outcome(chunk.number, index, outcome)


def claim(store: Store, run: Run, destination: str = "example.org", now: float = NOW) -> OpenChunk:
    chunk = store.claim(run.number, destination, now)
    assert chunk is not None
    return chunk


def progress(rows: int) -> IntakeProgress:
    return IntakeProgress(rows=rows, rejected=1, duplicates=2, suppressed=3, watermark=rows + 6, events_offset=70)


def test_runs_of_a_campaign_are_counted(store: Store) -> None:
    made = [store.create_run(campaign, "c", "r", b"{}") for campaign in ("spring", "autumn", "spring")]
    assert [run.id for run in made] == ["spring-1", "autumn-1", "spring-2"]
    assert store.runs() == made
    assert store.latest_run("spring") == made[2]
    assert store.latest_run("winter") is None
    assert made[0].state is RunState.INTAKE
    assert made[0].settings == b"{}"


def test_a_run_is_stamped_when_it_starts_and_when_it_ends(store: Store, clock) -> None:
    run = store.create_run("spring", "c", "r", b"")
    assert (run.created, run.started, run.finished) == (NOW, None, None)
    times = []
    for state in (RunState.SENDING, RunState.FINISHED, RunState.SENDING):
        clock.now += 10
        run = store.set_state(run.number, state)
        times.append((run.started, run.finished))
    assert times == [(NOW + 10, None), (NOW + 10, NOW + 20), (NOW + 10, None)]


def test_a_run_that_does_not_exist_is_refused(store: Store) -> None:
    with pytest.raises(StateError, match="no run 9"):
        store.set_state(9, RunState.SENDING)
    with pytest.raises(StateError, match="run 9 takes no more rows in"):
        store.ingest(9, [], progress(0))


def test_chunks_and_progress_are_stored_together(store: Store, new_chunk: Callable[..., NewChunk]) -> None:
    run = store.create_run("spring", "c", "r", b"")
    assert store.ingest(run.number, [new_chunk(3), new_chunk(2, destination="")], progress(5)) == [1, 2]
    assert store.ingest(run.number, [new_chunk(1)], progress(6)) == [3]
    taken = store.run(run.number)
    assert (taken.rows, taken.rejected, taken.duplicates, taken.suppressed, taken.watermark) == (6, 1, 2, 3, 12)
    assert taken.events_offset == 70
    assert store.counts(run.number)[Disposition.OPEN] == 6


def test_an_intake_that_fails_leaves_neither_chunks_nor_progress(store: Store, new_chunk) -> None:
    run = store.create_run("spring", "c", "r", b"")
    with pytest.raises(ValueError, match="line"):
        store.ingest(run.number, [new_chunk(3), NewChunk("example.org", None, ["a@b\nc@d"], [b"[]"])], progress(4))
    assert store.run(run.number).rows == 0
    assert store.counts(run.number)[Disposition.OPEN] == 0


def test_no_rows_are_taken_in_once_the_run_sends(store: Store, new_chunk, run_of) -> None:
    run = run_of(store, new_chunk(1))
    with pytest.raises(StateError, match="takes no more rows in"):
        store.ingest(run.number, [new_chunk(1)], progress(2))


def test_a_run_that_is_taken_up_again_takes_more_rows_in_behind_its_events(store: Store, new_chunk, run_of) -> None:
    run = run_of(store, new_chunk(1))
    store.set_state(run.number, RunState.FINISHED)
    events = store.events_path(run)
    events.parent.mkdir(exist_ok=True)
    events.write_bytes(b"{}\n" * 9)
    again = store.extend_run(run, recipients_hash="r2", settings=b"all")
    assert (again.state, again.finished, again.settings, again.recipients_hash) == (RunState.INTAKE, None, b"all", "r2")
    assert (again.rows, again.watermark, again.events_offset) == (run.rows, run.watermark, 27)
    store.ingest(run.number, [new_chunk(1)], progress(2))
    assert store.counts(run.number)[Disposition.OPEN] == 2


def test_a_claimed_chunk_has_its_recipients_and_is_claimed_once(store: Store, new_chunk, run_of) -> None:
    run = run_of(store, new_chunk(2, list_name="news"), new_chunk(1, first=5))
    first, second = claim(store, run), claim(store, run)
    assert (first.addresses, first.rows) == (["r0@example.org", "r1@example.org"], [b'["name 0"]', b'["name 1"]'])
    assert (first.list_name, first.run, first.destination) == ("news", run.number, "example.org")
    assert second.addresses == ["r5@example.org"]
    assert (first.ready(NOW), first.open_count) == ([0, 1], 2)
    assert store.claim(run.number, "example.org", NOW) is None
    assert store.claim(run.number, "example.net", NOW) is None


def test_the_backlog_leaves_out_what_is_open(store: Store, new_chunk, run_of) -> None:
    run = run_of(store, new_chunk(3), new_chunk(2, first=3), new_chunk(4, destination=""))
    assert {one.destination: one for one in store.backlog(run.number, NOW)} == {
        "": Backlog("", 1, 4, None),
        "example.org": Backlog("example.org", 2, 5, None),
    }
    claim(store, run)
    assert {one.destination: one.chunks_ready for one in store.backlog(run.number, NOW)} == {"": 1, "example.org": 1}


def test_all_that_waits_is_told_at_once_without_what_is_open(store: Store, new_chunk, run_of) -> None:
    waiting = [structs.replace(new_chunk(1), due=NOW + 5), structs.replace(new_chunk(6), due=NOW + HELD_SECONDS)]
    run = run_of(store, new_chunk(3), new_chunk(2, first=3), new_chunk(4, destination=""), *waiting)
    later = [(NOW + 5, "example.org")]
    found = store.waiting(run.number, NOW)
    assert (sorted(found.ready), found.later, found.held) == ([("", 1, 4), ("example.org", 2, 5)], later, 6)
    claim(store, run)
    found = store.waiting(run.number, NOW)
    assert (sorted(found.ready), found.later, found.held) == ([("", 1, 4), ("example.org", 1, 2)], later, 6)


def test_a_released_chunk_is_claimed_again_when_its_earliest_recipient_is_due(store: Store, new_chunk, run_of) -> None:
    run = run_of(store, new_chunk(3))
    chunk = claim(store, run)
    record(store, chunk, 0, DELIVERED)
    record(store, chunk, 1, deferred(NOW + 60))
    record(store, chunk, 2, deferred(NOW + 30))
    store.fold([chunk], release=[chunk.number])
    assert store.claim(run.number, "example.org", NOW + 29) is None
    assert store.backlog(run.number, NOW) == [Backlog("example.org", 0, 2, NOW + 30)]
    again = claim(store, run, now=NOW + 30)
    assert again.ready(NOW + 30) == [2]
    assert again.outcomes.get(1) == deferred(NOW + 60)
    assert again.outcomes.first_tried(1) == NOW


def test_a_chunk_whose_recipients_are_all_final_is_done(store: Store, new_chunk, run_of) -> None:
    run = run_of(store, new_chunk(2))
    chunk = claim(store, run)
    record(store, chunk, 0, DELIVERED)
    record(store, chunk, 1, BOUNCED)
    assert chunk.open_count == 0
    store.fold([chunk], release=[chunk.number])
    assert store.claim(run.number, "example.org", NOW + 1e6) is None
    assert store.backlog(run.number, NOW) == []


def test_a_fold_without_release_keeps_the_chunk_open(store: Store, new_chunk, run_of) -> None:
    run = run_of(store, new_chunk(2))
    chunk = claim(store, run)
    record(store, chunk, 0, DELIVERED)
    store.fold([chunk])
    assert store.claim(run.number, "example.org", NOW) is None
    store.fold([], release=[chunk.number])
    assert claim(store, run).ready(NOW) == [1]


def test_what_is_released_is_folded_too(store: Store, new_chunk, run_of) -> None:
    run = run_of(store, new_chunk(2))
    chunk = claim(store, run)
    record(store, chunk, 1, DELIVERED)
    store.fold([], release=[chunk.number])
    assert claim(store, run).ready(NOW) == [0]


def test_folding_or_releasing_what_is_not_open_is_a_defect(store: Store, new_chunk, run_of) -> None:
    run = run_of(store, new_chunk(1))
    chunk = claim(store, run)
    store.fold([chunk], release=[chunk.number])
    with pytest.raises(InternalError, match="folded but not open"):
        store.fold([chunk])
    with pytest.raises(InternalError, match="released but not open"):
        store.fold([], release=[chunk.number])


def test_counts_and_outcomes_include_what_is_not_folded_yet(store: Store, new_chunk, run_of) -> None:
    run = run_of(store, new_chunk(3), new_chunk(1, destination=""))
    chunk = claim(store, run)
    record(store, chunk, 0, DELIVERED)
    store.fold([chunk])
    record(store, chunk, 1, BOUNCED)
    counts = store.counts(run.number)
    assert {key: value for key, value in counts.items() if value} == {
        Disposition.OPEN: 2,
        Disposition.DELIVERED: 1,
        Disposition.BOUNCED: 1,
    }
    (bounced,) = store.outcomes(run.number, only={Disposition.BOUNCED})
    assert (bounced.address, bounced.destination, bounced.attempts) == ("r1@example.org", "example.org", 1)
    assert (bounced.code, bounced.reason, bounced.stage) == (550, Reason.USER_UNKNOWN, Stage.RCPT)
    assert (bounced.text, bounced.time) == ("5.1.1 no such user", NOW)
    everyone = list(store.outcomes(run.number))
    assert [one.address for one in everyone] == [f"r{n}@example.org" for n in range(3)] + ["r0@mixed.example"]
    assert everyone[-1].destination == "mixed.example"


def test_what_is_folded_is_durable_in_the_journal_first(store: Store, new_chunk, run_of) -> None:
    chunk = claim(store, run_of(store, new_chunk(2)))
    record(store, chunk, 0, DELIVERED)
    assert store.journal.bytes_unsynced > 0
    store.fold([chunk])
    assert store.journal.bytes_unsynced == 0


def test_an_outcome_that_comes_during_a_fold_is_left_to_the_next(
    store: Store, new_chunk, run_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = claim(store, run_of(store, new_chunk(2)))
    write = chunks.write_outcomes

    def write_slowly(*arguments: object) -> None:
        write(*arguments)  # type: ignore[arg-type]
        monkeypatch.undo()
        record(store, chunk, 1, BOUNCED)
        while store.journal.position < 1 << 16:
            store.journal.outcome(99, 0, BOUNCED)

    monkeypatch.setattr(chunks, "write_outcomes", write_slowly)
    record(store, chunk, 0, DELIVERED)
    store.fold([chunk])
    assert chunk.number in store.journal.stale_chunks()
    store.fold([chunk])
    assert store.journal.stale_chunks() == {99}
    assert store._stored(chunk.number).get(1) == BOUNCED


def test_counts_are_of_one_run(store: Store, new_chunk, run_of) -> None:
    first, second = run_of(store, new_chunk(3)), run_of(store, new_chunk(2))
    chunk = claim(store, second)
    record(store, chunk, 0, DELIVERED)
    assert store.counts(first.number)[Disposition.DELIVERED] == 0
    assert store.counts(second.number)[Disposition.DELIVERED] == 1
    assert sum(store.counts(first.number).values()) == 3


def test_an_address_is_found_in_every_run_whatever_its_case(store: Store, new_chunk, run_of) -> None:
    first = run_of(store, new_chunk(12))
    second = run_of(store, new_chunk(1, destination="other.example"), NewChunk("", None, ["R1@Example.ORG"], [b"[]"]))
    chunk = claim(store, first)
    record(store, chunk, 1, BOUNCED)
    found = store.find("r1@example.org")
    assert [(one.run, one.address, one.disposition) for one in found] == [
        (first.number, "r1@example.org", Disposition.BOUNCED),
        (second.number, "R1@Example.ORG", Disposition.OPEN),
    ]
    assert store.find("nobody@example.org") == []


def test_the_secret_stays_with_the_directory(tmp_path: Path, open_store, clock) -> None:
    with Store.open(tmp_path / "state", clock=clock, segment_bytes=4096) as store:
        keys = store.token_keys
    assert [len(key.secret) for key in keys] == [32]
    assert open_store(tmp_path / "state").token_keys == keys
    assert open_store(tmp_path / "other").token_keys != keys


def test_a_clean_close_leaves_everything_in_the_tables_and_no_segment(
    tmp_path: Path, clock, open_store, new_chunk, run_of
) -> None:
    path = tmp_path / "state"
    with Store.open(path, clock=clock, segment_bytes=4096) as store:
        run = run_of(store, new_chunk(2))
        chunk = claim(store, run)
        store.journal.intent(chunk.number, 0, 1, NOW)
        record(store, chunk, 0, DELIVERED)
        store.journal.mark(run.number, 100)
    assert list((path / "journal").iterdir()) == []
    reopened = open_store(path)
    assert reopened.counts(run.number)[Disposition.DELIVERED] == 1
    assert reopened.recovered.outcomes_replayed == 0
    assert reopened.recovered.events_to_publish == []


def test_the_last_look_is_a_snapshot_with_the_journal_over_it(tmp_path: Path, store: Store, new_chunk, run_of) -> None:
    run = run_of(store, new_chunk(3))
    chunk = claim(store, run)
    record(store, chunk, 0, DELIVERED)
    with Store.open_readonly(tmp_path / "state") as view:
        record(store, chunk, 1, BOUNCED)
        store.fold([chunk], release=[chunk.number])
        counts = view.counts(run.number)
        assert (counts[Disposition.DELIVERED], counts[Disposition.BOUNCED], counts[Disposition.OPEN]) == (1, 0, 2)
        assert [one.disposition for one in view.outcomes(run.number)][:2] == [Disposition.DELIVERED, Disposition.OPEN]
        run_of(store, new_chunk(1))
        assert view.runs() == [run]
        assert view.backlog(run.number, NOW)[0].chunks_ready == 1
    with Store.open_readonly(tmp_path / "state") as view:
        assert view.counts(run.number)[Disposition.BOUNCED] == 1


def test_the_snapshot_is_of_the_moment_it_is_opened(tmp_path: Path, store: Store) -> None:
    with Store.open_readonly(tmp_path / "state") as view:
        store.create_run("spring", "c", "r", b"")
        assert view.runs() == []


def test_a_look_at_a_directory_without_state_says_so(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no state of bulkmail here"):
        Store.open_readonly(tmp_path)


def test_a_damaged_chunk_is_named_when_it_is_claimed(store: Store, new_chunk, run_of) -> None:
    run = run_of(store, new_chunk(3))
    rows = bytearray(store._database.value("SELECT rows FROM payload WHERE chunk = 1"))
    rows[20] ^= 1
    store._database.rows("UPDATE payload SET rows = ? WHERE chunk = 1", (rows,))
    with pytest.raises(StateError, match=r"queue\.db: chunk 1 is damaged"):
        store.claim(run.number, "example.org", NOW)


def test_events_of_a_run_have_a_file_of_its_name(tmp_path: Path, store: Store) -> None:
    run = store.create_run("spring-2027", "c", "r", b"")
    assert store.events_path(run) == tmp_path / "state" / "events" / "spring-2027-1.ndjson"


def test_who_wants_to_write_goes_on_after_another_or_says_that_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Database(tmp_path / "queue.db"), Database(tmp_path / "queue.db")
    inside, go = threading.Event(), threading.Event()

    def hold() -> None:
        with first.transaction() as connection:
            connection.execute("INSERT INTO meta VALUES ('one', 1)")
            inside.set()
            go.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.02)
    with pytest.raises(StateError, match="locked by another process"), second.transaction():
        pass
    monkeypatch.undo()
    threading.Timer(0.05, go.set).start()
    with second.transaction() as connection:
        assert connection.execute("SELECT value FROM meta WHERE name = 'one'").fetchone() == (1,)
    assert second.value("PRAGMA busy_timeout") == database.BUSY_SECONDS * 1000
    thread.join()
    first.close()
    second.close()
