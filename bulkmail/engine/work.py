"""A chunk in memory, with the count of its recipients that are on their way."""

from bulkmail.store.chunks import OpenChunk
from bulkmail.store.pseudonyms import entry_name

# A chunk with so few recipients outstanding is as good as done: the scheduler may open another one.
FEW = 50


class ActiveChunk:
    """An open chunk whose ready recipients were handed to lanes; it may be folded once none is outstanding.

    `jitter` (0 to 1) spreads the retries of chunks; within a chunk they stay together. `since` is when it was opened,
    in monotonic seconds; `list_prefix` is what `Suppressions.quick` has before an address suppressed for its list.
    """

    __slots__ = ("chunk", "jitter", "list_prefix", "number", "outstanding", "since")

    def __init__(self, chunk: OpenChunk, *, jitter: float, since: float = 0.0) -> None:
        self.chunk = chunk
        self.number = chunk.number
        self.list_prefix = None if chunk.list_name is None else entry_name(chunk.list_name, "")
        self.jitter = jitter
        self.since = since
        self.outstanding = 0


Work = tuple[ActiveChunk, int]
