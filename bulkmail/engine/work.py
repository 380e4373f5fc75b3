"""A chunk in memory, with the count of its recipients that are on their way."""

from bulkmail.store.chunks import OpenChunk

# A chunk with so few recipients outstanding is as good as done: the scheduler may open another one.
FEW = 50


class ActiveChunk:
    """An open chunk whose ready recipients were handed to lanes; it may be folded once none is outstanding.

    `refusals` counts, per index, how often a lane-wide refusal or a lost connection met this recipient: a lane that
    refuses everybody is paused, but one recipient that makes a lane look bad must not hold the others up. `jitter`
    (0 to 1) spreads the retries of chunks; within a chunk they stay together.
    """

    __slots__ = ("chunk", "jitter", "outstanding", "refusals")

    def __init__(self, chunk: OpenChunk, *, jitter: float) -> None:
        self.chunk = chunk
        self.jitter = jitter
        self.outstanding = 0
        self.refusals: dict[int, int] = {}

    def refused(self, index: int) -> int:
        count = self.refusals.get(index, 0) + 1
        self.refusals[index] = count
        return count


Work = tuple[ActiveChunk, int]
