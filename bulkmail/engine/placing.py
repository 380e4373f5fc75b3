"""Hand out an opened chunk: route its domains, and put each recipient to an exchange that can take it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Generic, TypeVar

from bulkmail.clock import Clock
from bulkmail.engine.conclusions import Conclusions
from bulkmail.engine.courier import Courier
from bulkmail.engine.exchange import Outlet
from bulkmail.engine.lane import LOW_WATER
from bulkmail.engine.router import Router, Unroutable
from bulkmail.engine.ways import Way
from bulkmail.engine.work import ActiveChunk, Work
from bulkmail.policy.spread import spread

Place = TypeVar("Place", bound=Outlet)

# Domains of a chunk that are asked for in one turn of the loop: a thousand would hold it up for a tenth of a second.
ROUTED_TOGETHER = 32


class Placing(Generic[Place]):
    """Spreads the recipients of chunks over the exchanges of their domains.

    `exchanges_of(ways, domain)` are the exchanges of a domain's ways, one for each egress source; `put` hands them
    recipients. `begin` runs what may wait for the DNS. `done` is called with a chunk of which nothing is outstanding
    as soon as all of it is handed out.
    """

    def __init__(
        self,
        *,
        router: Router,
        conclusions: Conclusions,
        courier: Courier,
        exchanges_of: Callable[[Sequence[Way], str], Sequence[Place]],
        put: Callable[[Place, Iterable[Work]], None],
        clock: Clock,
        begin: Callable[[Coroutine[Any, Any, None]], None],
        done: Callable[[ActiveChunk], None],
    ) -> None:
        self._router = router
        self._conclusions = conclusions
        self._courier = courier
        self._exchanges_of = exchanges_of
        self._put = put
        self._clock = clock
        self._begin = begin
        self._done = done
        self._routing = asyncio.Lock()

    def hand_out(self, active: ActiveChunk, ways: Sequence[Way] | Unroutable) -> None:
        """Spread a chunk's ready recipients over the lanes of their domains; `ways` are those of its destination."""
        chunk = active.chunk
        ready = chunk.ready(self._clock.time())
        # One more, so that the chunk is not taken for idle before all of it is handed out.
        active.outstanding = len(ready) + 1
        if chunk.destination:
            self._put_all(active, chunk.destination, ready, ways)
            self._handed_out(active)
            return
        by_domain: dict[str, list[int]] = {}
        for index in ready:
            by_domain.setdefault(chunk.addresses[index].rpartition("@")[2], []).append(index)
        self._begin(self._route_all(active, by_domain))

    def working(self, ways: Sequence[Way], domain: str) -> Sequence[Place]:
        """The exchanges of a domain that may be given recipients; where all stay closed, each of them."""
        exchanges = self._exchanges_of(ways, domain)
        return self._fit_ones(exchanges) or exchanges

    # Beneath.

    def _handed_out(self, active: ActiveChunk) -> None:
        active.outstanding -= 1
        if active.outstanding == 0:
            self._done(active)

    async def _route_all(self, active: ActiveChunk, by_domain: dict[str, list[int]]) -> None:
        routes: list[asyncio.Task[None]] = []
        try:
            async with self._routing:
                for domain, indexes in by_domain.items():
                    if len(routes) % ROUTED_TOGETHER == ROUTED_TOGETHER - 1:
                        await asyncio.sleep(0)
                    routes.append(asyncio.get_running_loop().create_task(self._route(active, domain, indexes)))
            await asyncio.gather(*routes)
        finally:
            for route in routes:
                route.cancel()
        self._handed_out(active)

    async def _route(self, active: ActiveChunk, domain: str, indexes: list[int]) -> None:
        self._put_all(active, domain, indexes, await self._router.ways(domain))

    def _put_all(self, active: ActiveChunk, domain: str, indexes: list[int], ways: Sequence[Way] | Unroutable) -> None:
        if isinstance(ways, Unroutable):
            self._conclusions.unroutable(active, indexes, ways, domain)
            return
        if active.chunk.outcomes.any_tried():
            indexes = [index for index in indexes if not self._conclusions.expired(active, index, ways[0].site)]
        exchanges = self._open_ones(self._exchanges_of(ways, domain))
        now = self._clock.monotonic()
        shares = spread(indexes, tuple(exchange.weight for exchange in exchanges), offset=active.chunk.number)
        for exchange, share in zip(exchanges, shares, strict=True):
            if not share:
                continue
            work = [(active, index) for index in share]
            if exchange.open_again_at - now > self._courier.park_seconds:
                self._courier.park_work(exchange, work)
            else:
                self._put(exchange, work)

    def _open_ones(self, exchanges: Sequence[Place]) -> Sequence[Place]:
        """Those that can take more now; where none can, those that open first."""
        fit = self._fit_ones(exchanges)
        if not fit:
            return [min(exchanges, key=lambda one: one.open_again_at)]
        return [one for one in fit if one.supply < LOW_WATER] or fit

    def _fit_ones(self, exchanges: Sequence[Place]) -> Sequence[Place]:
        """Of the best priority that works: the open ones, else those that soon are; none where all stay closed."""
        now = self._clock.monotonic()
        soon = [one for one in exchanges if one.open_again_at - now <= self._courier.park_seconds]
        if len(soon) < 2:
            return soon
        # A relay that cannot be reached has failed; one that only asked for a pause has not.
        working = [one for one in soon if one.closed_until <= now] or soon
        best = min(one.priority for one in working)
        working = [one for one in working if one.priority == best]
        return [one for one in working if one.open_again_at <= now] or working
