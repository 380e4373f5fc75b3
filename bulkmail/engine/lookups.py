"""The ways of destinations that wait in the store: looked up once, and taken for granted for a while."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bulkmail.clock import Clock
from bulkmail.engine.router import Router, Unroutable
from bulkmail.engine.ways import Way

# How long a destination's ways are taken for granted, and how long it is that it has no way in.
WAYS_SECONDS = 60.0
UNROUTABLE_SECONDS = 1.0
# Look-ups at the same time, and destinations remembered.
MOST_ASKED = 500
MOST_KNOWN = 10_000


class Lookups:
    """`begin` runs a look-up, `found` is told of each destination when its ways are known."""

    def __init__(
        self,
        router: Router,
        *,
        clock: Clock,
        begin: Callable[[Coroutine[Any, Any, None]], None],
        found: Callable[[str], None],
    ) -> None:
        self._router = router
        self._clock = clock
        self._begin = begin
        self._found = found
        self._asked: set[str] = set()
        self._known: dict[str, tuple[float, Sequence[Way] | Unroutable]] = {}

    def __bool__(self) -> bool:
        """Whether anything is being looked up."""
        return bool(self._asked)

    @property
    def full(self) -> bool:
        """Whether what is looked up already is enough for now."""
        return len(self._asked) >= MOST_ASKED

    def ways_of(self, destination: str) -> Sequence[Way] | Unroutable | None:
        """None while they are looked up."""
        known = self._known.get(destination)
        if known is not None and known[0] > self._clock.monotonic():
            return known[1]
        if destination not in self._asked:
            self._asked.add(destination)
            self._begin(self._ask(destination))
        return None

    async def _ask(self, destination: str) -> None:
        ways = await self._router.ways(destination)
        now = self._clock.monotonic()
        self._known.pop(destination, None)
        self._known[destination] = now + (UNROUTABLE_SECONDS if isinstance(ways, Unroutable) else WAYS_SECONDS), ways
        # The oldest stand in front.
        while self._known[oldest := next(iter(self._known))][0] <= now or len(self._known) > MOST_KNOWN:
            del self._known[oldest]
        self._asked.discard(destination)
        self._found(destination)
