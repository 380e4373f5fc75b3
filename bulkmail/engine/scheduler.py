"""Keep every lane supplied: claim chunks whose time has come, spread their recipients over lanes, fold them when done.

    round:  backlog of the store -> for each destination whose lane is open and hungry: claim, route, hand out
    then    sleep until a chunk is done, a lane has drained or opened, or the next retry is due

Nothing here depends on the number of recipients: rounds go over destinations, a claim is up to 1,000 recipients.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, Generic, TypeVar

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.engine.courier import Courier
from bulkmail.engine.exchange import Outlet
from bulkmail.engine.intake import CHUNK_RECIPIENTS
from bulkmail.engine.lane import LOW_WATER
from bulkmail.engine.router import Router, Unroutable
from bulkmail.engine.ways import Way
from bulkmail.engine.work import FEW, ActiveChunk, Work
from bulkmail.errors import DiskFull
from bulkmail.policy.spread import spread
from bulkmail.store.chunks import Backlog, OpenChunk
from bulkmail.store.store import Store

T = TypeVar("T")
Place = TypeVar("Place", bound=Outlet)

# Recipients in memory, and chunks.
MAX_RECIPIENTS = 256_000
MAX_ACTIVE = 4096
# Chunks of tails of small sites that are opened at once. One counts while more than FEW of it are outstanding, and not
# for longer than a moment: what is left of it then waits for hosts that are slow, and those must not hold up the rest.
MAX_TAILS = 8
TAIL_SECONDS = 0.25
# A destination whose chunks are gone so soon gets twice as many with its next claim, up to so many: each call of the
# store's thread costs the loop some 2 ms, because a thread that waits for the interpreter is woken at each release.
QUICK_SECONDS = 0.25
MOST_TOGETHER = 8
# How long a destination's site is taken for granted.
SITE_SECONDS = 60.0
# Destinations remembered before those whose time is over are dropped.
MOST_SITES = 10_000
# Chunks that are done are folded so many together, or so long after the first: a transaction costs two syncs, and a
# thread that waits for the interpreter, whether it has one chunk or ten.
FOLD_TOGETHER = 16
FOLD_SECONDS = 0.25
# How often a full disk is tried again.
FULL_SECONDS = 1.0
# Domains of a chunk that are asked for in one turn of the loop: a thousand would hold it up for a tenth of a second.
ROUTED_TOGETHER = 32
# The longest nap, so that a clock step or a missed wake-up costs little.
MAX_NAP_SECONDS = 30.0


# How long the answer to a domain that has no way in counts, and at most until one that is asked for is looked at.
DNS_NAP_SECONDS = 1.0


class Supply(Struct, frozen=True, kw_only=True):
    """One round: whether anything was handed out, may be `soon`, and the seconds until there may be more.

    `again`: another round may find something at once.
    """

    supplied: bool
    again: bool
    soon: bool
    nap_seconds: float


class Scheduler(Generic[Place]):
    """Supplies the lanes of one run until every recipient is final, or nothing is due and `wait` is False.

    `exchanges_of(ways, domain)` are the exchanges of a domain's ways, one for each egress source; `put` hands them
    recipients. While `disk_full`, nothing is claimed. `backlog` is what waited in the store when it was last asked.
    `on_fold` is called before chunks are folded, and what it returns with their numbers when they are.
    """

    def __init__(
        self,
        store: Store,
        run_number: int,
        *,
        router: Router,
        courier: Courier,
        exchanges_of: Callable[[Sequence[Way], str], Sequence[Place]],
        put: Callable[[Place, Iterable[Work]], None],
        store_thread: Executor,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._rng = rng
        self._store = store
        self._run_number = run_number
        self._router = router
        self._courier = courier
        self._exchanges_of = exchanges_of
        self._put = put
        self._store_thread = store_thread
        self._clock = clock
        self._active: dict[int, ActiveChunk] = {}
        self._recipients = 0
        self._idle: list[ActiveChunk] = []
        self._idle_since = 0.0
        self._wake = asyncio.Event()
        self._stopping = False
        self._asked: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._routing = asyncio.Lock()
        self._failure: BaseException | None = None
        self.disk_full = False
        self.backlog: Sequence[Backlog] = ()
        self.on_fold: Callable[[], Callable[[Collection[int]], None]] = lambda: _nothing
        self._sites: dict[str, tuple[float, Sequence[Way] | Unroutable]] = {}
        self._claimed: dict[str, tuple[float, int]] = {}

    def wake(self) -> None:
        """Something changed: look again soon."""
        self._wake.set()

    def stop(self) -> None:
        """Claim nothing more; `run` returns."""
        self._stopping = True
        self._wake.set()

    def progressed(self, active: ActiveChunk) -> None:
        """Few recipients of a chunk are outstanding, or none: then each has its outcome or was handed back."""
        if active.outstanding == 0:
            first = not self._idle
            if first:
                self._idle_since = self._clock.monotonic()
            self._idle.append(active)
            # The first begins the time that others are waited for; in between there is nothing to do.
            if first or not self._few_idle:
                self._wake.set()
        elif not active.chunk.destination:
            # Another chunk of the tail may be opened; a lane of its own says itself when it wants more.
            self._wake.set()

    @property
    def _few_idle(self) -> bool:
        return len(self._idle) < min(FOLD_TOGETHER, len(self._active))

    async def run(self, *, wait: bool) -> bool:
        """Supply the lanes; True when every recipient of the run is final."""
        try:
            return await self._run(wait=wait)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def checkpoint(self, numbers: Collection[int]) -> bool:
        """Fold these chunks where they are in memory; they stay there. False where the disk has no room for that."""
        chunks = [active.chunk for number, active in self._active.items() if number in numbers]
        if chunks:
            folded = self.on_fold()
            try:
                await self._in_store(self._store.fold, chunks)
            except DiskFull:
                self.disk_full = True
                return False
            folded([chunk.number for chunk in chunks])
        return True

    async def release_all(self) -> None:
        """Fold every chunk in memory, its untried recipients open again; for a stop."""
        await self._fold(list(self._active.values()))

    # Beneath.

    async def _run(self, *, wait: bool) -> bool:
        while not self._stopping:
            self._wake.clear()
            if not await self._fold_idle():
                await self._nap(FULL_SECONDS)
                continue
            backlog = await self._in_store(self._store.backlog, self._run_number, self._clock.time())
            self.backlog = backlog
            supply = await self._supply(backlog)
            if self._failure is not None:
                raise self._failure
            if not self._active and not supply.supplied and not self._idle:
                if not backlog:
                    return True
                if not wait and not supply.soon:
                    return False
            if not supply.again or self._saturated:
                await self._nap(min(supply.nap_seconds, FOLD_SECONDS) if self._idle else supply.nap_seconds)
        return False

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that may wait for the DNS, while the others go on."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
        self._wake.set()

    @property
    def _saturated(self) -> bool:
        return self._recipients >= MAX_RECIPIENTS or len(self._active) >= MAX_ACTIVE

    @property
    def _room(self) -> int:
        """How many more chunks may be opened, at least one."""
        free = (MAX_RECIPIENTS - self._recipients) // CHUNK_RECIPIENTS
        return max(1, min(free, MAX_ACTIVE - len(self._active)))

    async def _nap(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(min(max(seconds, 0.005), MAX_NAP_SECONDS)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _supply(self, backlog: Sequence[Backlog]) -> Supply:
        """One round over the destinations."""
        supplied = again = soon = False
        nap_seconds = MAX_NAP_SECONDS
        for entry in backlog:
            if self._stopping or self._saturated:
                break
            if not entry.chunks_ready:
                if entry.next_due is not None:
                    nap_seconds = min(nap_seconds, max(0.0, entry.next_due - self._clock.time()))
                continue
            left = entry.chunks_ready
            if entry.destination:
                wait_seconds = self._wait_of(entry.destination)
                if wait_seconds > 0:
                    nap_seconds = min(nap_seconds, wait_seconds)
                    soon = soon or wait_seconds <= self._courier.park_seconds
                    continue
            elif self._open_tails >= MAX_TAILS:
                nap_seconds = min(nap_seconds, TAIL_SECONDS)
                soon = True
                continue
            for chunk in await self._in_store(self._claim, entry.destination, self._at_once(entry)):
                self._hand_out(chunk)
                supplied = True
                left -= 1
            # Of what is left a lane that has enough will say when it wants more; what is due later, the backlog says.
            again = again or left <= 0 or not entry.destination or self._wait_of(entry.destination) <= 0
        return Supply(supplied=supplied, again=again and supplied, soon=soon, nap_seconds=nap_seconds)

    def _at_once(self, entry: Backlog) -> int:
        """How many chunks to claim together: more where those claimed last were gone in no time."""
        if not entry.destination or entry.chunks_ready < 2:
            return 1
        now = self._clock.monotonic()
        then, count = self._claimed.get(entry.destination, (0.0, 1))
        count = min(2 * count, MOST_TOGETHER, self._room) if now - then < QUICK_SECONDS else 1
        if len(self._claimed) >= MOST_SITES:
            self._claimed.clear()
        self._claimed[entry.destination] = (now, count)
        return count

    def _claim(self, destination: str, count: int) -> list[OpenChunk]:
        """Up to so many chunks of a destination; on the store's thread."""
        return self._store.claim_many(self._run_number, destination, self._clock.time(), count)

    @property
    def _open_tails(self) -> int:
        since = self._clock.monotonic() - TAIL_SECONDS
        return sum(
            not active.chunk.destination and active.outstanding > FEW and active.since > since
            for active in self._active.values()
        )

    def _wait_of(self, domain: str) -> float:
        """Seconds until a lane for the domain may take another chunk; 0 where one may now, or there is no way in."""
        now = self._clock.monotonic()
        known = self._sites.get(domain)
        if known is None or known[0] <= now:
            if domain not in self._asked:
                self._asked.add(domain)
                self._begin(self._ask(domain))
            return DNS_NAP_SECONDS
        ways = known[1]
        if isinstance(ways, Unroutable):
            return 0.0
        exchanges = self._exchanges_of(ways, domain)
        return min(
            max(0.0, exchange.open_again_at - now) if exchange.supply < LOW_WATER else MAX_NAP_SECONDS
            for exchange in self._fit_ones(exchanges) or exchanges
        )

    async def _ask(self, domain: str) -> None:
        ways = await self._router.ways(domain)
        seconds = DNS_NAP_SECONDS if isinstance(ways, Unroutable) else SITE_SECONDS
        now = self._clock.monotonic()
        if len(self._sites) >= MOST_SITES:
            self._sites = {name: known for name, known in self._sites.items() if known[0] > now}
        self._sites[domain] = (now + seconds, ways)
        self._asked.discard(domain)

    def _hand_out(self, chunk: OpenChunk) -> None:
        """Spread a chunk's ready recipients over the lanes of their domains."""
        active = ActiveChunk(chunk, jitter=self._rng.random(), since=self._clock.monotonic())
        self._active[chunk.number] = active
        self._recipients += len(chunk.addresses)
        ready = chunk.ready(self._clock.time())
        # One more, so that the chunk is not taken for idle before all of it is handed out.
        active.outstanding = len(ready) + 1
        if chunk.destination:
            self._put_all(active, chunk.destination, ready, self._sites[chunk.destination][1])
            self._handed_out(active)
            return
        by_domain: dict[str, list[int]] = {}
        for index in ready:
            by_domain.setdefault(chunk.addresses[index].rpartition("@")[2], []).append(index)
        self._begin(self._route_all(active, by_domain))

    def _handed_out(self, active: ActiveChunk) -> None:
        active.outstanding -= 1
        if active.outstanding == 0:
            self.progressed(active)

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
            self._courier.unroutable(active, indexes, ways, domain)
            return
        indexes = [index for index in indexes if not self._courier.expired(active, index, ways[0].site)]
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

    async def _fold_idle(self) -> bool:
        """Close the chunks that are done; False where the disk has no room for that: they stay, for another time."""
        if self._few_idle and self._clock.monotonic() - self._idle_since < FOLD_SECONDS:
            return True
        idle, self._idle = self._idle, []
        try:
            await self._fold(idle)
        except DiskFull:
            for active in idle:
                if active.chunk.number not in self._active:
                    self._active[active.chunk.number] = active
                    self._recipients += len(active.chunk.addresses)
            self._idle = idle + self._idle
            self.disk_full = True
            return False
        self.disk_full = False
        return True

    async def _fold(self, chunks: list[ActiveChunk]) -> None:
        if not chunks:
            return
        for active in chunks:
            if self._active.pop(active.chunk.number, None) is not None:
                self._recipients -= len(active.chunk.addresses)
        opened = [active.chunk for active in chunks]
        numbers = [chunk.number for chunk in opened]
        folded = self.on_fold()
        await self._in_store(partial(self._store.fold, opened, release=numbers))
        folded(numbers)

    async def _in_store(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._store_thread, function, *arguments)


def _nothing(chunks: Collection[int]) -> None:
    """Nobody has to know."""
