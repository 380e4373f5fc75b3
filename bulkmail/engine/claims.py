"""Decide for whom chunks are claimed next and how many: destinations that are awake and whose lanes are hungry."""

from collections.abc import Collection, Sequence
from typing import Any

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.engine.agenda import Agenda
from bulkmail.engine.lane import LOW_WATER
from bulkmail.engine.lookups import Lookups
from bulkmail.engine.placing import Placing
from bulkmail.engine.router import Unroutable
from bulkmail.engine.ways import Way

# A destination whose chunks are gone so soon gets twice as many with its next claim, up to so many: each call of the
# store's thread costs the loop some 2 ms, because a thread that waits for the interpreter is woken at each release.
QUICK_SECONDS = 0.25
MOST_TOGETHER = 8
# Chunks that are claimed with one call of the store's thread.
CLAIMED_TOGETHER = 16
# How long a destination whose lanes are closed sleeps before it is looked at again, and one that has others, too.
LONGEST_SLEEP_SECONDS = 300.0
SLEEP_SECONDS = 1.0
# Destinations whose last claim is remembered.
MOST_CLAIMED = 10_000

# The sites of a destination's ways, and the destination where it has a rate of its own.
LaneName = tuple[tuple[str, ...], str]


class Claim(Struct, frozen=True):
    """So many chunks of a destination are to be claimed, and go these ways; "" is the tail, which goes many."""

    destination: str
    most: int
    ways: Sequence[Way] | Unroutable = ()


class Claims:
    """Takes from the agenda whom to claim for, and puts the others to sleep; `rated` domains have their own rate."""

    def __init__(
        self, agenda: Agenda, lookups: Lookups, placing: Placing[Any], *, clock: Clock, rated: Collection[str]
    ) -> None:
        self._agenda = agenda
        self._lookups = lookups
        self._placing = placing
        self._clock = clock
        self._rated = rated
        # When chunks were claimed for a destination, and how many.
        self._claimed: dict[str, tuple[float, int]] = {}

    def wake_hungry(self) -> None:
        """Wake one destination of each lane that has become hungry while somebody slept for it."""
        for lane, destination in self._agenda.sleepers():
            if not self._has_enough(destination):
                self._agenda.wake_one(lane)

    def take(self, most: int) -> list[Claim]:
        """For whom to claim now: one destination a lane, and no more chunks than `most`."""
        claims: list[Claim] = []
        lanes: set[LaneName] = set()
        left = min(most, CLAIMED_TOGETHER)
        while left > 0 and not self._lookups.full and (destination := self._agenda.take()) is not None:
            ways = self._lookups.ways_of(destination)
            if ways is None:
                continue
            if not isinstance(ways, Unroutable):
                lane = self._lane_name(ways, destination)
                # What is claimed for one may be enough for its lane: the next is looked at after that.
                if lane in lanes:
                    self._agenda.sleep_for(destination, lane)
                    continue
                if not self._is_hungry(ways, destination):
                    continue
                lanes.add(lane)
            claims.append(Claim(destination, min(self._at_once(destination), left), ways))
            left -= claims[-1].most
        return claims

    def settled(self, claim: Claim) -> None:
        """After a claim: look at the destination once more, or at the next one that sleeps for its lane."""
        if not claim.destination:
            return
        if self._agenda.ready(claim.destination):
            self._agenda.wake(claim.destination)
        elif not isinstance(claim.ways, Unroutable):
            self._agenda.wake_one(self._lane_name(claim.ways, claim.destination))

    # Beneath.

    def _is_hungry(self, ways: Sequence[Way], destination: str) -> bool:
        """Whether to claim for it now; else it is put to sleep."""
        now = self._clock.monotonic()
        fit = self._placing.working(ways, destination)
        hungry = [one for one in fit if one.supply < LOW_WATER]
        if not hungry:
            self._agenda.sleep_for(destination, self._lane_name(ways, destination))
            return False
        opens = min(one.open_again_at for one in hungry)
        if opens <= now:
            return True
        # Others that are open may have little left before that.
        longest = LONGEST_SLEEP_SECONDS if len(hungry) == len(fit) else SLEEP_SECONDS
        self._agenda.sleep_until(destination, min(opens, now + longest))
        return False

    def _has_enough(self, destination: str) -> bool:
        """Whether every lane for it that could take more has enough."""
        ways = self._lookups.ways_of(destination)
        if ways is None or isinstance(ways, Unroutable):
            return False
        return all(one.supply >= LOW_WATER for one in self._placing.working(ways, destination))

    def _lane_name(self, ways: Sequence[Way], destination: str) -> LaneName:
        """What destinations have in common that are supplied together: a domain with a rate of its own is alone."""
        return tuple(way.site.name for way in ways), destination if destination in self._rated else ""

    def _at_once(self, destination: str) -> int:
        """How many chunks to claim together: more where those claimed last were gone in no time."""
        if self._agenda.ready(destination) < 2:
            return 1
        now = self._clock.monotonic()
        then, count = self._claimed.get(destination, (0.0, 1))
        count = min(2 * count, MOST_TOGETHER) if now - then < QUICK_SECONDS else 1
        if len(self._claimed) >= MOST_CLAIMED:
            self._claimed.clear()
        self._claimed[destination] = (now, count)
        return count
