"""Which lane of a run is at which node: lanes are dealt, supplied, moved and forgotten here.

A lane is at exactly one node at a time: so every limit holds for the run as a whole, though no node knows of another.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from bulkmail.clock import Clock
from bulkmail.engine.lane import LaneStatistics
from bulkmail.engine.lanes import LaneKey
from bulkmail.engine.nodes.messages import Gone, Other, Portion, Rest, Shut
from bulkmail.engine.nodes.mirror import LaneMirror, Mirror
from bulkmail.engine.nodes.seat import Held, Seat
from bulkmail.engine.ways import Way
from bulkmail.engine.work import ActiveChunk, Work
from bulkmail.model.campaign import Campaign, EgressSource

# How long a lane rests that comes from a node that has died: its receiver has noticed by then that the connections
# there are gone, and no bucket of tokens takes longer to fill.
REST_SECONDS = 1.0


class Table:
    """The `seats`, one for each node that was ever started, and the `lanes` by site and position of their source.

    `waiting` is about how many recipients of a destination wait in the store.
    """

    def __init__(
        self, campaign: Campaign, sources: Sequence[EgressSource], *, waiting: Callable[[str], int], clock: Clock
    ) -> None:
        self._sources = sources
        self._waiting = waiting
        self._clock = clock
        self._rated = {name.lower() for name, limits in campaign.limits.domains.items() if limits.messages is not None}
        self.seats: list[Seat] = []
        self.lanes: dict[LaneKey, LaneMirror] = {}

    @property
    def alive(self) -> list[Seat]:
        """Those whose node takes work."""
        return [seat for seat in self.seats if seat.ready and not seat.gone and not seat.drained]

    def exchanges_of(self, ways: Sequence[Way], domain: str) -> list[Mirror]:
        """The exchanges of a domain's ways, each in a lane that is dealt on first use."""
        mirrors = []
        for way in ways:
            for position, source in enumerate(self._sources):
                mirror = self._mirror_of(way, domain, position, len(ways) * len(self._sources))
                mirror.weight, mirror.priority = way.weight * source.weight, way.priority
                mirrors.append(mirror)
        for mirror in mirrors:
            mirror.alternatives = mirrors
        return mirrors

    def _mirror_of(self, way: Way, domain: str, position: int, shares: int) -> Mirror:
        site = way.site
        key = (site.name, position)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = LaneMirror(key, self._least_loaded(), self._waiting(domain) // shares)
            lane.seat.load += lane.expected
            lane.seat.lanes += 1
        kind = (site.hosts, domain if domain in self._rated else "", site.protection)
        mirror = lane.mirrors.get(kind)
        if mirror is None:
            mirror = lane.mirrors[kind] = Mirror(lane, kind, way, domain)
            if kind[1]:
                lane.rated.append(mirror)
        mirror.way, mirror.domain = way, domain
        return mirror

    def _least_loaded(self) -> Seat:
        """Where a lane goes: to the node with the fewest recipients, there and to come; of several the one with the
        fewest lanes."""
        return min(self.alive or self.seats, key=lambda seat: (seat.load, seat.lanes, seat.number))

    def put(self, mirror: Mirror, work: Iterable[Work]) -> None:
        lane, seat = mirror.lane, mirror.lane.seat
        by_chunk: defaultdict[ActiveChunk, list[int]] = defaultdict(list)
        for active, index in work:
            by_chunk[active].append(index)
        lane.told_low = False
        for active, indexes in by_chunk.items():
            held = seat.held.get(active.chunk.number)
            if held is None:
                held = seat.held[active.chunk.number] = Held(active)
            held.places.update(dict.fromkeys(indexes, mirror))
            mirror.count(len(indexes))
            covered = min(len(indexes), lane.expected)
            lane.expected -= covered
            seat.load += len(indexes) - covered
            # What is at a node that has died goes on with the rest of it.
            if not seat.gone:
                seat.channel.post(self._portion(mirror, active, indexes))

    def _portion(self, mirror: Mirror, active: ActiveChunk, indexes: list[int]) -> Portion:
        lane, chunk = mirror.lane, active.chunk
        rest = Rest(seconds=lane.rest_seconds, learned=lane.learned) if lane.rest_seconds else None
        lane.rest_seconds = 0.0
        addresses, rows = chunk.addresses, chunk.rows
        return Portion(
            way=mirror.way,
            domain=mirror.domain,
            position=lane.key[1],
            chunk=chunk.number,
            size=len(addresses),
            list_name=chunk.list_name,
            jitter=active.jitter,
            indexes=indexes,
            addresses=[addresses[index] for index in indexes],
            rows=[rows[index] for index in indexes],
            records=chunk.outcomes.records_of(indexes),
            others=self._others(mirror),
            rest=rest,
        )

    def _others(self, mirror: Mirror) -> tuple[Other, ...]:
        """The other sites among the ways of the same mail: other relays."""
        if len(mirror.alternatives) == len(self._sources):
            return ()
        now, site = self._clock.monotonic(), mirror.lane.key[0]
        others: dict[str, Other] = {}
        for one in mirror.alternatives:
            name, seconds = one.lane.key[0], max(0.0, one.open_again_at - now)
            if name != site and (name not in others or seconds < others[name].shut_seconds):
                others[name] = Other(name, one.priority, seconds)
        return tuple(others.values())

    def statistics(self, now: float) -> list[LaneStatistics]:
        """Of every lane that was reported, the busiest first."""
        lanes = [lane.statistics for lane in self.lanes.values() if lane.statistics is not None]
        lanes.sort(key=lambda lane: (lane.waiting, lane.connections), reverse=True)
        return lanes

    def move_lanes(self, seat: Seat) -> None:
        """Each lane to another node, after a rest; and what was there goes with it."""
        now = self._clock.monotonic()
        for lane in self.lanes.values():
            if lane.seat is seat:
                lane.seat = self._least_loaded()
                lane.seat.load += lane.expected
                lane.seat.lanes += 1
                lane.rest_seconds = max(REST_SECONDS, lane.paused_until - now)
                lane.paused_until = now + lane.rest_seconds
                lane.statistics, lane.lately, lane.told_low = None, 0, False
        left: defaultdict[Mirror, list[Work]] = defaultdict(list)
        for held in seat.held.values():
            for index, mirror in held.places.items():
                left[mirror].append((held.active, index))
        seat.held.clear()
        for mirror, work in left.items():
            mirror.count(-len(work))
            self.put(mirror, work)

    def tell_other_relays(self, lane: LaneMirror, now: float) -> None:
        """Wherever mail may go by another relay, it has to be known when this one takes none."""
        site = lane.key[0]
        for mirror in lane.mirrors.values():
            if len(mirror.alternatives) == len(self._sources):
                continue
            until = min(one.open_again_at for one in mirror.alternatives if one.lane.key[0] == site)
            for seat in self.alive:
                seat.channel.post(Shut(site, max(0.0, until - now)))

    def forget(self, seat: Seat, gone: Gone) -> None:
        """The node has nothing left of these lanes."""
        for key in gone.lanes:
            lane = self.lanes.get(key)
            # One that has got something since is made again there.
            if lane is not None and lane.seat is seat and not lane.outstanding:
                seat.load -= lane.expected
                seat.lanes -= 1
                del self.lanes[key]
