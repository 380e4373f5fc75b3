"""One set of mail exchangers of a lane: what waits for it, composed and not."""

from collections import deque
from collections.abc import Iterable

from bulkmail.engine.lane import Lane
from bulkmail.engine.work import Work
from bulkmail.model.message import Message
from bulkmail.policy.route import MailHost

# Messages composed ahead of need for each connection.
AHEAD_PER_CONNECTION = 8


class Exchange:
    """Work waits in `backlog` (not composed), then in `ring` (ready).

    `closed_until` (monotonic) is set while none of its hosts can be reached; the lane's other exchanges go on.
    """

    def __init__(self, lane: Lane, hosts: tuple[MailHost, ...]) -> None:
        self.lane = lane
        self.hosts = hosts
        self.backlog: deque[Work] = deque()
        self.ring: deque[Message] = deque()
        self.composing = 0
        self.connections = 0
        self.closed_until = 0.0
        self.failed_connects = 0

    @property
    def waiting(self) -> int:
        """Recipients that are not on a connection."""
        return len(self.backlog) + self.composing + len(self.ring)

    @property
    def composable(self) -> int:
        """How many more messages should be composed now: none for an exchange without a connection."""
        ahead = AHEAD_PER_CONNECTION * self.connections
        return min(len(self.backlog), ahead - len(self.ring) - self.composing)

    @property
    def open_again_at(self) -> float:
        """Monotonic time from which connections and messages make sense."""
        return max(self.closed_until, self.lane.pacer.paused_until)

    def put(self, work: Iterable[Work]) -> None:
        before = len(self.backlog)
        self.backlog.extend(work)
        self.lane.waiting += len(self.backlog) - before

    def take(self, now: float) -> Message | None:
        message = self.lane.take(self.ring, now)
        if message is not None:
            self.lane.waiting -= 1
        return message

    def give_back(self, message: Message, *, first: bool = False) -> None:
        """The message is ready again, as if never taken; `first` where it was not its own fault."""
        self.lane.waiting += 1
        if first:
            self.ring.appendleft(message)
        else:
            self.ring.append(message)

    def composed(self, message: Message | None) -> None:
        """A message that was being composed is ready, or (None) cannot be."""
        self.composing -= 1
        if message is None:
            self.lane.waiting -= 1
        else:
            self.ring.append(message)

    def clear(self) -> list[Work]:
        """Take back all that waits, apart from what is being composed."""
        work: list[Work] = [(message.chunk, message.index) for message in self.ring]
        work.extend(self.backlog)
        self.ring.clear()
        self.backlog.clear()
        self.lane.waiting -= len(work)
        return work
