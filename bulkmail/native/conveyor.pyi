from collections.abc import Callable
from typing import Any

from bulkmail.native.buckets import TokenBucket
from bulkmail.native.deliveries import Deliveries
from bulkmail.native.reply import ReplyParser
from bulkmail.native.session import Transactions

class Dispenser:
    """What the connections of one exchange may take from its `ring` without asking anybody.

    Nothing where messages are `held` by a rate of their own, nothing while `may_begin()` is false or the lane's pacer
    is paused, and nothing without a token of `bucket`, if there is one. `suppressions` has `quick`, the set that is the
    whole truth or None, and `everywhere`, what stands there before an address suppressed for all. `on_delivered` is
    called at the first delivery since `take_counts`; `on_low` at the first since `low` was set that finds so few
    messages in the ring, or fewer.
    """

    low: int

    def __init__(
        self,
        *,
        ring: Any,
        lane: Any,
        suppressions: Any,
        deliveries: Deliveries,
        bucket: TokenBucket | None,
        held: bool,
        may_begin: Callable[[], bool],
        on_delivered: Callable[[], None],
        on_low: Callable[[], None],
    ) -> None: ...
    def forget(self) -> None:
        """Call nobody any more: who is called knows the dispenser, and neither would go without the collector."""

    def take_counts(self) -> list[tuple[int, int]]:
        """How many were delivered since the last call, by the disposition that they had before."""

class Conveyor:
    """The short way of one connection. It does what the general way would, or leaves all as it was.

    `most_bytes` is the largest message that the server takes; without `plain`, envelopes need parameters that are not
    made here.
    """

    def __init__(
        self,
        parser: ReplyParser,
        transactions: Transactions,
        dispenser: Dispenser,
        *,
        site: str,
        host: str,
        source: str | None,
        tls: str | None,
        most_bytes: int,
        plain: bool,
    ) -> None: ...
    def receive(self, data: bytes, now: float) -> list[tuple[Any, int, int, bytes]] | None:
        """Take bytes from the server; the results that have to be judged, or None where no reply is complete.

        `now` is monotonic. Raises what `ReplyParser.feed` and the journal raise.
        """

    def turn(self, data: bytes, now: float) -> bytes | list[tuple[Any, int, int, bytes]] | None:
        """`receive`, and where nothing needs a look, all that follows: what is to be written, its intents recorded."""

    @property
    def well(self) -> bool:
        """Whether nothing of the connection needs a look after `receive`."""

    def fill(self, now: float) -> None:
        """Begin transactions while there is room for an envelope and a message that may be taken."""

    def intend(self) -> bool:
        """Record the intents of the messages whose last byte goes out next; False: that is left to the general way."""
