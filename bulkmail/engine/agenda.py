"""What waits in the store for a run, by destination: whom to look at now, and what the others sleep for.

Read from the store once, and kept up with every claim and every fold from then on, so that a round of the scheduler
costs what it does, and not what there is: a million deferred recipients and 100,000 destinations change nothing.

A destination with chunks that may be claimed is in one of these states:

    awake       to be looked at
    asleep      until a point in time (its lanes are closed), or until a lane has little left (they have enough)
    asked for   until it is woken by name (its site is being looked up)

The tail of small sites, whose chunks are of many destinations and have "" for one, is in none.
"""

from collections import deque
from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush

from bulkmail.store.chunks import Waiting


class Agenda:
    """Times of chunks are Unix seconds, those that destinations sleep until monotonic ones."""

    def __init__(self) -> None:
        self._ready: dict[str, int] = {}
        self._recipients: dict[str, int] = {}
        self._later: list[tuple[float, str]] = []
        self._held = 0
        self._awake: deque[str] = deque()
        self._until: list[tuple[float, str]] = []
        # The destinations that sleep for a lane, by what stands for it; and the lane of each.
        self._sleepers: dict[Hashable, dict[str, None]] = {}

    def load(self, waiting: Waiting) -> None:
        """Begin anew with what the store has; everybody is awake."""
        self._ready.clear()
        self._recipients.clear()
        self._awake.clear()
        self._until.clear()
        self._sleepers.clear()
        for destination, chunks, recipients in waiting.ready:
            self._ready[destination] = chunks
            self._recipients[destination] = recipients
        self._later = list(waiting.later)
        heapify(self._later)
        self._held = waiting.held
        self._awake.extend(self._ready)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits in the store, be it for later."""
        return not (self._ready or self._later or self._held)

    def ready(self, destination: str) -> int:
        """How many of its chunks may be claimed."""
        return self._ready.get(destination, 0)

    def recipients(self, destination: str) -> int:
        """About how many recipients of a destination were to be sent to when it was read, and are not claimed yet."""
        return self._recipients.get(destination, 0)

    def advance(self, time: float, now: float) -> None:
        """Wake those whose time has come; `time` is Unix seconds, `now` monotonic."""
        while self._later and self._later[0][0] <= time:
            self._add(heappop(self._later)[1])
        while self._until and self._until[0][0] <= now:
            self._awake.append(heappop(self._until)[1])

    def next_seconds(self, time: float, now: float) -> float:
        """How long nobody will be woken by `advance`."""
        later = self._later[0][0] - time if self._later else float("inf")
        return max(0.0, min(later, self._until[0][0] - now if self._until else float("inf")))

    def sleep_seconds(self, now: float) -> float:
        """How long nobody wakes of those whose lanes are closed."""
        return max(0.0, self._until[0][0] - now) if self._until else float("inf")

    # Destinations.

    def take(self) -> str | None:
        """One that is awake and has chunks; it is in no state until it is put to sleep or woken."""
        while self._awake:
            destination = self._awake.popleft()
            if destination and destination in self._ready:
                return destination
        return None

    @property
    def any_awake(self) -> bool:
        return bool(self._awake)

    @property
    def any_asleep_for_lanes(self) -> bool:
        return bool(self._sleepers)

    def wake(self, destination: str) -> None:
        """Look at it again, behind all that are awake."""
        self._awake.append(destination)

    def sleep_until(self, destination: str, at: float) -> None:
        heappush(self._until, (at, destination))

    def sleep_for(self, destination: str, lane: Hashable) -> None:
        """Until `wake_one` of this lane."""
        self._sleepers.setdefault(lane, {})[destination] = None

    def sleepers(self) -> Iterator[tuple[Hashable, str]]:
        """Of each lane that somebody sleeps for, the one who has done so for longest."""
        return iter([(lane, next(iter(sleepers))) for lane, sleepers in self._sleepers.items()])

    def wake_one(self, lane: Hashable) -> None:
        """The one who has been asleep for longest for it, if anybody is."""
        sleepers = self._sleepers.get(lane)
        if sleepers is None:
            return
        destination = next(iter(sleepers))
        del sleepers[destination]
        if not sleepers:
            del self._sleepers[lane]
        self._awake.append(destination)

    # Chunks.

    def claimed(self, destination: str, *, wanted: int, chunks: int, recipients: int) -> None:
        """So many chunks of those wanted were got; less than that means that there are no more."""
        left = self._ready.get(destination, 0) - chunks
        if left > 0 and chunks >= wanted:
            self._ready[destination] = left
            self._recipients[destination] = max(0, self._recipients.get(destination, 0) - recipients)
        else:
            self._ready.pop(destination, None)
            self._recipients.pop(destination, None)

    def returned(self, destination: str, due: float, time: float) -> None:
        """A chunk was folded that has recipients left, the first of them due then."""
        if due <= time:
            self._add(destination)
        else:
            heappush(self._later, (due, destination))

    def _add(self, destination: str) -> None:
        count = self._ready.get(destination, 0)
        self._ready[destination] = count + 1
        if not count:
            self._awake.append(destination)
