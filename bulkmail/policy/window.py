"""How many transactions a site is given at once where it offers CHUNKING, and when it is trusted with one alone.

Problem. RFC 3030 lets a client go on behind `BDAT n LAST`, RFC 4468 says wait: what a server does with many
transactions in flight is known only from trying, and every one of them is in doubt when a connection breaks.

Rule. From 1, one more for each transaction that filled the window and was answered right, so doubling every round
trip, up to the limit. What a server that keeps its replies in order would not do ends it: DATA from then on, for good.
"""

from collections.abc import Callable


class Window:
    """The window of one site, shared by all connections to it. `size` never exceeds `limit`; 1 after an `anomaly`.

    `on_anomaly` is called once, with the window's new state.
    """

    __slots__ = ("anomaly", "limit", "on_anomaly", "size")

    def __init__(self, limit: int = 1, *, size: int = 1, anomaly: str = "") -> None:
        self.limit = limit
        self.size = 1 if anomaly else min(size, limit)
        self.anomaly = anomaly
        self.on_anomaly: Callable[[str], None] = lambda what: None

    @property
    def wants_chunks(self) -> bool:
        """Whether BDAT is to be used where it is offered."""
        return self.limit > 1 and not self.anomaly

    def grow(self, proven: int) -> None:
        """So many transactions filled the window and were answered right."""
        if not self.anomaly:
            self.size = min(self.limit, self.size + proven)

    def distrust(self, what: str) -> None:
        """Something went wrong that the window may be the reason of."""
        if self.limit > 1 and not self.anomaly:
            self.anomaly = what
            self.size = 1
            self.on_anomaly(what)
