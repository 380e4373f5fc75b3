"""Journals of several processes over the same chunks: recovery makes of them what one journal would have been."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkmail.clock import SystemClock
from bulkmail.engine.recovery import publish_recovered
from bulkmail.events.log import EventLog, read_events
from bulkmail.model.delivery import Disposition, Event, Reason, Stage
from bulkmail.store.chunks import NewChunk, OpenChunk
from bulkmail.store.handover import leftovers, outcomes_in
from bulkmail.store.journal import Journal
from bulkmail.store.outcomes import Outcome
from bulkmail.store.runs import IntakeProgress, Run
from bulkmail.store.segments import node_folder
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppressions
from bulkmail.store.view import StoreView

PEOPLE = 6
SEGMENT_BYTES = 1 << 16
ENDS = (Disposition.DELIVERED, Disposition.BOUNCED, Disposition.EXPIRED, Disposition.SUPPRESSED)

# Where each attempt is made (0: the owner, who alone can find no way in), and whether its reply was recorded there, was
# about something else than the recipient, or was lost with the process; then an end without another attempt, and where.
attempts = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["deferred", "deferred", "answered", "lost"])), max_size=4
)
endings = st.tuples(st.integers(0, 2), st.sampled_from([*ENDS, "open", "in flight"]))
lives = st.lists(st.tuples(attempts, endings), min_size=PEOPLE, max_size=PEOPLE)


def outcome(disposition: Disposition, attempt: int) -> Outcome:
    return Outcome(disposition, attempt, Reason.OTHER, Stage.MESSAGE, code=450, time=1.0, due=2.0, text="450 later")


class Owner:
    """A store with one chunk, and the journals of two nodes; `kill` leaves everything as a crash does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Store.open(path, clock=SystemClock(), segment_bytes=SEGMENT_BYTES)
        self.run: Run = self.store.create_run("trial", "", "", b"")
        people = [f"r{n}@shop.example" for n in range(PEOPLE)]
        progress = IntakeProgress(rows=PEOPLE, rejected=0, duplicates=0, suppressed=0, watermark=PEOPLE)
        self.store.ingest(self.run.number, [NewChunk("shop.example", None, people, [b"[]"] * PEOPLE)], progress)
        chunk = self.store.claim(self.run.number, "shop.example", SystemClock.time())
        assert chunk is not None
        self.chunk: OpenChunk = chunk
        self.journals = [self.store.journal]
        for number in (1, 2):
            folder = node_folder(self.store.journal_folder, number)
            folder.mkdir()
            self.journals.append(Journal(folder, first=self.store.first_segment, segment_bytes=SEGMENT_BYTES))
        for journal in self.journals:
            journal.mark(self.run.number, 0)

    def live(self, index: int, life: tuple[list[tuple[int, str]], tuple[int, object]]) -> tuple[Disposition, int]:
        """One recipient's attempts, in the order of time; where it stands afterwards, and after how many."""
        number, stands, attempt = self.chunk.number, Disposition.OPEN, 0
        for place, what in life[0]:
            journal = self.journals[place]
            journal.intent(number, index, attempt + 1, 1.0)
            if what == "answered":
                journal.answered(number, index)
                continue
            # The doubt of a node that died is settled by its owner, in the owner's journal.
            attempt += 1
            self.journals[0 if what == "lost" else place].outcome(number, index, outcome(Disposition.DEFERRED, attempt))
            stands = Disposition.DEFERRED
        place, end = life[1]
        journal = self.journals[place]
        if isinstance(end, Disposition):
            without = end in (Disposition.EXPIRED, Disposition.SUPPRESSED)
            if not without:
                journal.intent(number, index, attempt + 1, 1.0)
                attempt += 1
            journal.outcome(number, index, outcome(end, attempt))
            stands = end
        elif end == "in flight":
            journal.intent(number, index, attempt + 1, 1.0)
            attempt, stands = attempt + 1, Disposition.IN_DOUBT
        return stands, attempt

    def kill(self) -> None:
        """What a killed process leaves, is left; the files are closed, for there is no process to be killed here."""
        for journal in self.journals:
            for segment in journal._segments:
                segment.close()
            if journal._spare is not None:
                journal._spare.close()
        self.store._database.close()
        self.store._lock.release()


@settings(max_examples=40, deadline=None)
@example([([(2, "deferred")], (0, Disposition.EXPIRED))] * PEOPLE)
@example([([(0, "deferred")], (1, Disposition.SUPPRESSED))] * PEOPLE)
@given(lives)
def test_whichever_process_recorded_what_the_end_is_that_of_the_last_attempt(
    given_lives: list[tuple[list[tuple[int, str]], tuple[int, object]]],
) -> None:
    with TemporaryDirectory() as name:
        owner = Owner(Path(name) / "state")
        expected = [owner.live(index, life) for index, life in enumerate(given_lives)]
        with StoreView.open_readonly(owner.path) as beside:
            # A doubt is none before somebody knows that the processes are gone.
            stands = [beside.at(owner.run.number, owner.chunk.number, index) for index in range(PEOPLE)]
        for found, (disposition, _) in zip(stands, expected, strict=True):
            assert found is not None
            assert found.disposition is disposition or disposition is Disposition.IN_DOUBT
        owner.kill()
        with Store.open(owner.path, clock=SystemClock()) as store:
            after = [store.at(owner.run.number, owner.chunk.number, index) for index in range(PEOPLE)]
            assert [(one.disposition, one.attempts) for one in after if one is not None] == expected
            doubts = [index for index, (disposition, _) in enumerate(expected) if disposition is Disposition.IN_DOUBT]
            assert sorted(doubt.index for doubt in store.recovered.doubts) == doubts
            assert not list(store.journal_folder.glob("node-*"))


def test_an_event_that_two_journals_know_of_is_published_once(tmp_path: Path) -> None:
    owner = Owner(tmp_path / "state")
    number = owner.chunk.number
    log = EventLog(owner.store.events_path(owner.run))
    # The first is published and marked by its node, the second published alone, the third adopted by the owner.
    for index in range(3):
        owner.journals[1].outcome(number, index, outcome(Disposition.BOUNCED, 1))
        if index < 2:
            event = Event(
                time="", event="attempt", run="trial-1", recipient=f"r{index}@shop.example", attempt=1,
                disposition="bounced",
            )  # fmt: skip
            log.append([event])
        if index == 0:
            owner.journals[1].mark(owner.run.number, log.offset)
    owner.journals[0].outcome(number, 2, outcome(Disposition.BOUNCED, 1))
    log.sync()
    log.close()
    owner.kill()
    with Store.open(owner.path, clock=SystemClock()) as store, Suppressions.open(owner.path) as suppressions:
        assert publish_recovered(store, suppressions).events == 1
        told = [event.recipient for event in read_events(store.events_path(owner.run))]
        assert sorted(map(str, told)) == [f"r{index}@shop.example" for index in range(3)]


def test_what_a_node_hands_over_is_what_its_journal_has_across_segments(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    journal = Journal(folder, segment_bytes=4096)
    handed: list[tuple[int, Disposition, str]] = []
    position = journal.position
    for index in range(200):
        journal.intent(1, index, 1, 1.0)
        disposition = Disposition.DELIVERED if index % 3 else Disposition.BOUNCED
        journal.outcome(1, index, outcome(disposition, 1))
        if index % 7 == 0:
            pieces = journal.recorded(position, journal.position)
            position = journal.position
            handed += [(one.index, one.outcome.disposition, one.outcome.text) for one in outcomes_in(pieces)]
    handed += [
        (one.index, one.outcome.disposition, one.outcome.text)
        for one in outcomes_in(journal.recorded(position, journal.position))
    ]
    for index in (200, 201):
        journal.intent(1, index, 1, 1.0)
    journal.answered(1, 200)
    left = leftovers(folder)
    assert handed == [(one.index, one.outcome.disposition, one.outcome.text) for one in left.outcomes]
    assert [index for index, _, _ in handed] == list(range(200))
    assert {text for _, disposition, text in handed if disposition is Disposition.BOUNCED} == {"450 later"}
    assert [(intent.index, intent.attempt) for intent in left.intents] == [(201, 1)]
    journal.close()
