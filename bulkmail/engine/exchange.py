"""One set of mail exchangers of a lane: what waits for it, composed and not."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

from bulkmail.engine.lane import Lane
from bulkmail.engine.work import Work
from bulkmail.native.buckets import TokenBucket
from bulkmail.native.message import Message
from bulkmail.policy.encryption import Protection
from bulkmail.policy.route import MailHost

# Messages composed ahead of need for each connection.
AHEAD_PER_CONNECTION = 16
# Fewer of large ones, so that what is ready fits into this for each connection; but so many in any case.
AHEAD_BYTES_PER_CONNECTION = 1 << 18
AHEAD_AT_LEAST = 4
# Domains that a session is counted for.
MOST_DOMAINS = 200


class Alternative(Protocol):
    """Another way for the same mail: an exchange here, or what is known of one at another node."""

    priority: int

    @property
    def site_name(self) -> str: ...

    @property
    def open_again_at(self) -> float: ...


class Outlet(Protocol):
    """What the scheduler hands recipients to: an exchange, or what stands for one that is at a node."""

    weight: int
    priority: int
    closed_until: float

    @property
    def supply(self) -> int: ...

    @property
    def open_again_at(self) -> float: ...


class Exchange:
    """Work waits in `backlog` (not composed), then in `ring` (ready).

    Messages of a domain with a rate of its own are in an exchange of their own, with its `bucket`: what waits for such
    a rate holds up nobody else. `closed_until` (monotonic) is set while none of its hosts can be reached; the lane's
    other exchanges go on. All of its mail goes under one `protection`; `domains` are those that had mail for it since
    it was last empty, as far as there is room.

    A domain's mail may go by any of `alternatives` (other sources, other relays): by those of the lowest `priority`
    that are open, shared by `weight`.
    """

    def __init__(
        self,
        lane: Lane,
        hosts: tuple[MailHost, ...],
        bucket: TokenBucket | None = None,
        protection: Protection = Protection(),  # noqa: B008 - frozen
    ) -> None:
        self.lane = lane
        self.hosts = hosts
        self.bucket = bucket
        self.protection = protection
        self.domains: set[str] = set()
        self.weight = 1
        self.priority = 0
        self.alternatives: Sequence[Alternative] = (self,)
        self.backlog: deque[Work] = deque()
        self.ring: deque[Message] = deque()
        self.composing = 0
        self.connections = 0
        # Messages that should be ready for each connection.
        self.ahead = AHEAD_PER_CONNECTION
        self.closed_until = 0.0
        self.failed_connects = 0
        # Whether the scheduler was told, since it last handed something out, that there is little left.
        self.told_low = False

    @property
    def site_name(self) -> str:
        return self.lane.site.name

    @property
    def waiting(self) -> int:
        """Recipients that are not on a connection."""
        return len(self.backlog) + self.composing + len(self.ring)

    @property
    def supply(self) -> int:
        """Recipients waiting that the scheduler has to look at before it hands out more."""
        return self.lane.waiting - self.lane.held if self.bucket is None else self.waiting

    @property
    def composable(self) -> int:
        """How many more messages should be composed now: none for an exchange without a connection.

        None either while half of what should be ready is: it pays to compose many together.
        """
        ahead = self.ahead * self.connections
        missing = ahead - len(self.ring) - self.composing
        return min(len(self.backlog), missing) if 2 * missing >= ahead else 0

    @property
    def low(self) -> int:
        """With how many in the ring there may be something to ask for, `composable` or from the store; -1: never."""
        if not self.backlog and self.told_low:
            return -1
        return self.ahead * self.connections // 2 - self.composing

    @property
    def open_again_at(self) -> float:
        """Monotonic time from which connections and messages make sense."""
        return max(self.closed_until, self.lane.pacer.paused_until)

    def serve(self, domain: str) -> None:
        """Mail for `domain` is about to come."""
        if not self.waiting and not self.connections:
            self.domains.clear()
        if len(self.domains) < MOST_DOMAINS:
            self.domains.add(domain)

    def has_another_relay(self, now: float, *, spare: bool) -> bool:
        """Whether what waits here need not: another source would meet the same site, another relay is another.

        With `spare`, which is for one that has failed, also one of a higher priority number counts.
        """
        return any(
            one.site_name != self.site_name and (spare or one.priority <= self.priority) and one.open_again_at <= now
            for one in self.alternatives
        )

    def put(self, work: Iterable[Work]) -> None:
        self.told_low = False
        before = len(self.backlog)
        self.backlog.extend(work)
        self._count(len(self.backlog) - before)

    def take(self, now: float) -> Message | None:
        """The next message, its tokens spent: this is the way to the wire."""
        if not self.ring or self.wait_seconds(now) > 0:
            return None
        self.lane.spend(now)
        if self.bucket is not None:
            self.bucket.take(now)
        self._count(-1)
        return self.ring.popleft()

    def wait_seconds(self, now: float) -> float:
        """Seconds until `take` may succeed, as far as pauses and tokens are concerned."""
        wait = self.lane.wait_seconds(now)
        return wait if self.bucket is None else max(wait, self.bucket.wait_seconds(now))

    def give_back(self, message: Message, *, first: bool = False) -> None:
        """The message is ready again, as if never taken; `first` where it was not its own fault."""
        self._count(1)
        if first:
            self.ring.appendleft(message)
        else:
            self.ring.append(message)

    def to_compose(self, most: int) -> list[Work]:
        """What should be composed now, up to so much: from here on it is being composed."""
        count = min(self.composable, most)
        self.composing += count
        take = self.backlog.popleft
        return [take() for _ in range(count)]

    def composed(self, messages: Sequence[Message], failed: int = 0) -> None:
        """Messages that were being composed are ready, and so many cannot be."""
        self.composing -= len(messages) + failed
        self.ring.extend(messages)
        if messages:
            fitting = AHEAD_BYTES_PER_CONNECTION // (len(messages[-1].data) + 1)
            self.ahead = max(AHEAD_AT_LEAST, min(fitting, AHEAD_PER_CONNECTION))
        if failed:
            self._count(-failed)

    def clear(self) -> list[Work]:
        """Take back all that waits, apart from what is being composed."""
        work: list[Work] = [(message.chunk, message.index) for message in self.ring]
        work.extend(self.backlog)
        self.ring.clear()
        self.backlog.clear()
        self._count(-len(work))
        return work

    def _count(self, change: int) -> None:
        self.lane.waiting += change
        if self.bucket is not None:
            self.lane.held += change
