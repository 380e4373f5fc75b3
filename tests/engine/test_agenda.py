"""Who is to be looked at: a destination that waits is never lost and never in two places, whatever happens to it."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bulkmail.engine.agenda import Agenda
from bulkmail.store.chunks import Waiting


def agenda_of(ready: dict[str, int] | None = None, later: list[tuple[float, str]] | None = None) -> Agenda:
    agenda = Agenda()
    entries = [(name, chunks, 100 * chunks) for name, chunks in (ready or {}).items()]
    agenda.load(Waiting(ready=entries, later=later or [], held=0))
    return agenda


def all_of(agenda: Agenda) -> list[str]:
    found = []
    while (destination := agenda.take()) is not None:
        found.append(destination)
    return found


def test_what_is_due_later_is_awake_when_its_time_has_come() -> None:
    agenda = agenda_of({"a": 1}, [(50.0, "b"), (20.0, "c"), (20.0, "c")])
    assert agenda.next_seconds(10.0, 0.0) == 10.0
    agenda.advance(20.0, 0.0)
    assert (all_of(agenda), agenda.ready("c"), agenda.ready("b")) == (["a", "c"], 2, 0)
    assert agenda.next_seconds(20.0, 0.0) == 30.0


def test_sleepers_of_a_lane_are_woken_one_by_one_in_their_order() -> None:
    agenda = agenda_of({"a": 1, "b": 1, "c": 1})
    for destination in all_of(agenda):
        agenda.sleep_for(destination, "lane" if destination != "b" else "other")
    assert list(agenda.sleepers()) == [("lane", "a"), ("other", "b")]
    agenda.wake_one("lane")
    assert all_of(agenda) == ["a"]
    agenda.wake_one("lane")
    agenda.wake_one("lane")
    assert all_of(agenda) == ["c"]
    assert list(agenda.sleepers()) == [("other", "b")]


def test_whoever_sleeps_until_a_time_is_awake_then_and_not_before() -> None:
    agenda = agenda_of({"a": 1, "b": 1})
    for destination, at in zip(all_of(agenda), (30.0, 10.0), strict=True):
        agenda.sleep_until(destination, at)
    assert agenda.next_seconds(0.0, 4.0) == agenda.sleep_seconds(4.0) == 6.0
    agenda.advance(0.0, 10.0)
    assert all_of(agenda) == ["b"]


def test_the_tail_is_looked_at_by_itself() -> None:
    agenda = agenda_of({"": 2, "a": 1})
    assert (all_of(agenda), agenda.ready("")) == (["a"], 2)
    agenda.claimed("", wanted=1, chunks=1, recipients=100)
    assert agenda.ready("") == 1


def test_fewer_chunks_than_were_wanted_means_that_there_are_no_more() -> None:
    agenda = agenda_of({"a": 5})
    agenda.claimed("a", wanted=4, chunks=3, recipients=300)
    assert agenda.ready("a") == agenda.recipients("a") == 0
    assert agenda.is_empty


def test_recipients_that_are_held_keep_the_run_from_its_end() -> None:
    agenda = Agenda()
    agenda.load(Waiting(ready=[], later=[], held=7))
    assert not agenda.is_empty
    agenda.load(Waiting(ready=[], later=[], held=0))
    assert agenda.is_empty


NAMES = st.sampled_from("abcd")


class Waits(RuleBasedStateMachine):
    """Chunks go out and come back, destinations are put to sleep; `hands` are those that the scheduler has now."""

    def __init__(self) -> None:
        super().__init__()
        self.agenda = agenda_of({"a": 2, "b": 1})
        self.ready = {"a": 2, "b": 1}
        self.later: list[tuple[float, str]] = []
        self.hands: list[str] = []
        self.clock = 0.0

    @rule()
    def take(self) -> None:
        if (destination := self.agenda.take()) is not None:
            assert self.ready[destination] and destination not in self.hands
            self.hands.append(destination)

    @precondition(lambda self: self.hands)
    @rule(how=st.sampled_from(["lane", "time", "wake"]), which=st.integers(0, 9))
    def let_go(self, how: str, which: int) -> None:
        destination = self.hands.pop(which % len(self.hands))
        if how == "lane":
            self.agenda.sleep_for(destination, "even" if destination in "ac" else "odd")
        elif how == "time":
            self.agenda.sleep_until(destination, self.clock + which)
        else:
            self.agenda.wake(destination)

    @precondition(lambda self: self.hands)
    @rule(chunks=st.integers(1, 3))
    def claim(self, chunks: int) -> None:
        destination = self.hands[0]
        got = min(chunks, self.ready[destination])
        self.agenda.claimed(destination, wanted=chunks, chunks=got, recipients=got)
        self.ready[destination] -= got
        if not self.ready[destination]:
            self.hands.pop(0)

    @rule(destination=NAMES, seconds=st.integers(0, 20))
    def come_back(self, destination: str, seconds: int) -> None:
        self.agenda.returned(destination, self.clock + seconds, self.clock)
        if seconds:
            self.later.append((self.clock + seconds, destination))
        else:
            self.ready[destination] = self.ready.get(destination, 0) + 1

    @rule(seconds=st.integers(1, 10))
    def pass_time(self, seconds: int) -> None:
        self.clock += seconds
        for entry in [entry for entry in self.later if entry[0] <= self.clock]:
            self.later.remove(entry)
            self.ready[entry[1]] = self.ready.get(entry[1], 0) + 1
        self.agenda.advance(self.clock, self.clock)

    @rule(lane=st.sampled_from(["even", "odd"]))
    def wake_one(self, lane: str) -> None:
        self.agenda.wake_one(lane)

    @invariant()
    def counts_hold(self) -> None:
        assert all(self.agenda.ready(destination) == count for destination, count in self.ready.items())
        assert self.agenda.is_empty == (not any(self.ready.values()) and not self.later)

    def teardown(self) -> None:
        # Whoever waits can be found: awake, by the time, or by the lane.
        self.agenda.advance(0.0, float("inf"))
        while waiting := list(self.agenda.sleepers()):
            for lane, _ in waiting:
                self.agenda.wake_one(lane)
        found = all_of(self.agenda)
        assert sorted(found + self.hands) == sorted(name for name, count in self.ready.items() if count)


Waits.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestWaits = Waits.TestCase
