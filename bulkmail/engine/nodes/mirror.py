"""What the owner of a run knows of lanes that are at its nodes: enough to supply them, and to move them."""

from collections.abc import Sequence

from bulkmail.engine.lane import LaneStatistics
from bulkmail.engine.lanes import LaneKey
from bulkmail.engine.nodes.seat import Seat
from bulkmail.engine.ways import Way
from bulkmail.policy.encryption import Protection
from bulkmail.policy.pacing import PacerStatistics
from bulkmail.policy.route import MailHost

Kind = tuple[tuple[MailHost, ...], str, Protection]


class LaneMirror:
    """A lane and the one node that it is at, `seat`. Times are monotonic seconds.

    `outstanding` are the recipients that are there, `held` those of them that wait for a rate of their domain, and
    `rated` the mirrors of such domains. `expected` counts those that are still to come, as far as it was known when the
    lane was dealt. `rest_seconds` is set where it comes from a node that has died. `lately` are the recipients that the
    last word of the node concluded; `quiet`: it has said nothing of any since it last reported.
    """

    __slots__ = (
        "expected",
        "held",
        "key",
        "lately",
        "learned",
        "mirrors",
        "outstanding",
        "paused_until",
        "quiet",
        "rated",
        "rest_seconds",
        "seat",
        "statistics",
        "told_low",
    )

    def __init__(self, key: LaneKey, seat: Seat, expected: int) -> None:
        self.key = key
        self.seat = seat
        self.expected = expected
        self.mirrors: dict[Kind, Mirror] = {}
        self.rated: list[Mirror] = []
        self.paused_until = 0.0
        self.outstanding = self.held = self.lately = 0
        self.quiet = False
        self.told_low = False
        self.rest_seconds = 0.0
        self.learned: PacerStatistics | None = None
        self.statistics: LaneStatistics | None = None

    @property
    def under_way(self) -> int:
        """Recipients that wait for nothing any more, as far as is known: on a connection, or concluded since."""
        connections = self.statistics.connections if self.statistics is not None else 0
        # What a node says of its recipients is a twentieth of a second old: as much again has gone by now.
        return connections + 2 * self.lately

    @property
    def supply(self) -> int:
        """Recipients waiting there, as far as is known, but for those of domains with a rate of their own."""
        return max(0, self.outstanding - self.held - self.under_way)

    @property
    def least_supply(self) -> int:
        """The same, or of the domain with a rate of its own that has the fewest."""
        return min((mirror.outstanding for mirror in self.rated), default=self.supply)


class Mirror:
    """An exchange at a node, as the scheduler needs it (see `Exchange`)."""

    __slots__ = ("alternatives", "closed_until", "domain", "kind", "lane", "outstanding", "priority", "way", "weight")

    def __init__(self, lane: LaneMirror, kind: Kind, way: Way, domain: str) -> None:
        self.lane = lane
        self.kind = kind
        self.way = way
        self.domain = domain
        self.weight = 1
        self.priority = 0
        self.outstanding = 0
        self.closed_until = 0.0
        self.alternatives: Sequence[Mirror] = (self,)

    @property
    def open_again_at(self) -> float:
        return max(self.closed_until, self.lane.paused_until)

    @property
    def supply(self) -> int:
        """Recipients that the scheduler has to look at before it hands out more."""
        return self.outstanding if self.kind[1] else self.lane.supply

    def count(self, change: int) -> None:
        """So many recipients more, or less, are there."""
        self.outstanding += change
        self.lane.outstanding += change
        if self.kind[1]:
            self.lane.held += change
