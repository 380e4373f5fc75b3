"""The connections that a node may have at once, and who waits for one."""

from collections import deque
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from msgspec import Struct

from bulkmail.engine.line import Line

if TYPE_CHECKING:
    from bulkmail.engine.pool import Pool

# A connection that has been kept waiting for so long takes no place from others that wait for one, as far as there is
# room beside those; and how long the slowest of too many are kept at least.
LATE_SECONDS = 0.5
PATIENCE_SECONDS = 3.0
# Where most hosts take long, it is not they but the way to them, or this machine: nobody who takes up to so many times
# as long as others did lately is called slow.
PATIENCE_TIMES = 4
REMEMBERED_ANSWERS = 64


class Budget:
    """The connections a node may have at once; `holders` are the pools that have one, `line` is where they wait.

    Half as many more may be open, in place of those that late hosts keep waiting: however few there are, the others
    have nearly all of them.
    """

    def __init__(self, connections: int) -> None:
        self.resize(connections)
        self.open = 0
        self._late = 0
        self.holders: dict[Pool, None] = {}
        self.line = Line()
        self._answers: deque[float] = deque(maxlen=REMEMBERED_ANSWERS)

    def resize(self, connections: int) -> None:
        """Another share of what all nodes have together."""
        self.connections = connections
        self.most_late = connections // 2

    def free_connections(self) -> int:
        return self.connections + self._late - self.open

    def answered(self, seconds: float) -> None:
        """A host let us in after so long."""
        self._answers.append(seconds)

    @property
    def patience_seconds(self) -> float:
        """How long the slowest are kept at least."""
        usual = median(self._answers) if self._answers else 0.0
        return max(PATIENCE_SECONDS, PATIENCE_TIMES * usual)

    def relieve(self, now: float) -> None:
        """Count the late ones; where pools wait, end the slowest of too many. Nobody is in doubt by it."""
        self._late = 0
        if self.free_connections() > 0:
            return
        late = [found for pool in self.holders for found in pool.late(now)]
        self._late = min(len(late), self.most_late)
        if not self.line:
            return
        patience = self.patience_seconds
        slow = [found for found in late if found.give_way is not None and found.seconds >= patience]
        slow.sort(key=lambda found: found.seconds, reverse=True)
        for found in slow[: max(0, len(late) - self.most_late)]:
            if found.give_way is not None:
                found.give_way(found.seconds)
        self.line.serve(self.free_connections)


class Wait(Struct, frozen=True):
    """Something that has been waiting for a host for so long; `give_way(seconds)` ends it where that loses nothing."""

    seconds: float
    give_way: Callable[[float], None] | None
