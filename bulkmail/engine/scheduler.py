"""Keep every lane supplied: claim chunks whose time has come, spread their recipients over lanes, fold them when done.

    round:  for each destination that is awake and whose lane is open and hungry: claim, route, hand out
    then    sleep until a chunk is done, a lane has drained or opened, or the next retry is due

Nothing here depends on the number of recipients or destinations: `agenda` knows who is awake, and a claim is up to
1,000 recipients.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, Generic, TypeVar

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.engine.agenda import Agenda
from bulkmail.engine.conclusions import Conclusions
from bulkmail.engine.courier import Courier
from bulkmail.engine.exchange import Outlet
from bulkmail.engine.intake import CHUNK_RECIPIENTS
from bulkmail.engine.lane import LOW_WATER
from bulkmail.engine.lookups import Lookups
from bulkmail.engine.router import Router, Unroutable
from bulkmail.engine.ways import Way
from bulkmail.engine.work import FEW, ActiveChunk, Work
from bulkmail.errors import DiskFull
from bulkmail.policy.spread import spread
from bulkmail.store.chunks import OpenChunk
from bulkmail.store.store import Store

T = TypeVar("T")
Place = TypeVar("Place", bound=Outlet)

# Recipients in memory, and chunks.
MAX_RECIPIENTS = 256_000
MAX_ACTIVE = 4096
# Chunks of tails of small sites that are opened at once. One counts while more than FEW of it are outstanding, and not
# for longer than a moment: what is left of it then waits for hosts that are slow, and those must not hold up the rest.
MAX_TAILS = 8
TAIL_SECONDS = 0.1
# A destination whose chunks are gone so soon gets twice as many with its next claim, up to so many: each call of the
# store's thread costs the loop some 2 ms, because a thread that waits for the interpreter is woken at each release.
QUICK_SECONDS = 0.25
MOST_TOGETHER = 8
# Chunks that are claimed with one call of the store's thread.
CLAIMED_TOGETHER = 16
# How long a destination whose lanes are closed sleeps before it is looked at again, and one that has others, too.
LONGEST_SLEEP_SECONDS = 300.0
SLEEP_SECONDS = 1.0
# Destinations whose last claim is remembered.
MOST_CLAIMED = 10_000
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


# The sites of a destination's ways, and the destination where it has a rate of its own.
LaneName = tuple[tuple[str, ...], str]


class Order(Struct, frozen=True):
    """So many chunks of a destination are to be claimed, and go these ways; "" is the tail, which goes many."""

    destination: str
    most: int
    ways: Sequence[Way] | Unroutable = ()


class Scheduler(Generic[Place]):
    """Supplies the lanes of one run until every recipient is final, or nothing is due and `wait` is False.

    `exchanges_of(ways, domain)` are the exchanges of a domain's ways, one for each egress source; `put` hands them
    recipients. While `disk_full`, nothing is claimed. `on_fold` is called before chunks are folded, and what it returns
    with their numbers when they are.
    """

    def __init__(
        self,
        store: Store,
        run_number: int,
        *,
        router: Router,
        conclusions: Conclusions,
        courier: Courier,
        exchanges_of: Callable[[Sequence[Way], str], Sequence[Place]],
        put: Callable[[Place, Iterable[Work]], None],
        store_thread: Executor,
        clock: Clock,
        rng: random.Random,
        rated: Collection[str] = (),
    ) -> None:
        self._rng = rng
        self._rated = rated
        self._store = store
        self._run_number = run_number
        self._router = router
        self._conclusions = conclusions
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
        self._tasks: set[asyncio.Task[None]] = set()
        self._routing = asyncio.Lock()
        self._failure: BaseException | None = None
        self.disk_full = False
        self.on_fold: Callable[[], Callable[[Collection[int]], None]] = lambda: _nothing
        self._claimed: dict[str, tuple[float, int]] = {}
        self._tails: deque[ActiveChunk] = deque()
        self._agenda = Agenda()
        self._lookups = Lookups(router, clock=clock, begin=self._begin, found=self._agenda.wake)
        self._stale = True

    def wake(self) -> None:
        """Something changed: look again soon."""
        self._wake.set()

    def reload(self) -> None:
        """What waits in the store was changed by somebody else: read it anew."""
        self._stale = True
        self._wake.set()

    def recipients_waiting(self, destination: str) -> int:
        """About how many recipients of a destination wait in the store to be claimed."""
        return self._agenda.recipients(destination)

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
            if self._stale:
                self._stale = False
                self._agenda.load(await self._in_store(self._store.waiting, self._run_number, self._clock.time()))
            self._agenda.advance(self._clock.time(), self._clock.monotonic())
            supplied = await self._supply()
            if self._failure is not None:
                raise self._failure
            if not self._active and not supplied and not self._idle:
                if self._agenda.is_empty:
                    return True
                if not wait and not self._soon:
                    return False
            if self._few_idle or not self._idle:
                await self._nap(self._nap_seconds)
        return False

    @property
    def _soon(self) -> bool:
        """Whether something may be claimed before long."""
        return bool(
            self._lookups
            or self._agenda.ready("")
            or self._agenda.any_asleep_for_lanes
            or self._agenda.sleep_seconds(self._clock.monotonic()) <= self._courier.park_seconds
        )

    @property
    def _nap_seconds(self) -> float:
        """How long there will be nothing to do, if nobody says so."""
        seconds = self._agenda.next_seconds(self._clock.time(), self._clock.monotonic())
        if self._agenda.ready("") and not self._saturated:
            seconds = min(seconds, TAIL_SECONDS)
        return min(seconds, FOLD_SECONDS) if self._idle else seconds

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

    async def _supply(self) -> bool:
        """Claim for all that are awake and hungry, until there is no room or enough to fold; whether anything was."""
        supplied = False
        for lane, destination in self._agenda.sleepers():
            if not self._has_enough(destination):
                self._agenda.wake_one(lane)
        while not self._stopping and not self._saturated and (self._few_idle or not self._idle):
            orders: list[Order] = []
            if self._agenda.ready("") and self._open_tails < MAX_TAILS:
                orders.append(Order("", 1))
            orders += self._hungry(self._room - len(orders))
            if not orders:
                break
            for order, chunks in zip(orders, await self._in_store(self._claim, orders), strict=True):
                recipients = sum(len(chunk.addresses) for chunk in chunks)
                self._agenda.claimed(order.destination, wanted=order.most, chunks=len(chunks), recipients=recipients)
                for chunk in chunks:
                    self._hand_out(chunk, order.ways)
                    supplied = True
                self._look_after(order)
        return supplied

    def _hungry(self, most: int) -> list[Order]:
        """For whom to claim now: one destination a lane, and no more chunks than `most`."""
        orders: list[Order] = []
        lanes: set[LaneName] = set()
        left = min(most, CLAIMED_TOGETHER)
        while left > 0 and not self._lookups.full and (destination := self._agenda.take()) is not None:
            ways = self._lookups.ways_of(destination)
            if ways is None:
                continue
            if not isinstance(ways, Unroutable):
                lane = self._lane_name(ways, destination)
                # What is claimed for one may be enough for its lane: the next is looked at after that.
                if lane in lanes:
                    self._agenda.sleep_for(destination, lane)
                    continue
                if not self._is_hungry(ways, destination):
                    continue
                lanes.add(lane)
            orders.append(Order(destination, min(self._at_once(destination), left), ways))
            left -= orders[-1].most
        return orders

    def _is_hungry(self, ways: Sequence[Way], destination: str) -> bool:
        """Whether to claim for it now; else it is put to sleep."""
        now = self._clock.monotonic()
        exchanges = self._exchanges_of(ways, destination)
        fit = self._fit_ones(exchanges) or exchanges
        hungry = [one for one in fit if one.supply < LOW_WATER]
        if not hungry:
            self._agenda.sleep_for(destination, self._lane_name(ways, destination))
            return False
        opens = min(one.open_again_at for one in hungry)
        if opens <= now:
            return True
        # Others that are open may have little left before that.
        longest = LONGEST_SLEEP_SECONDS if len(hungry) == len(fit) else SLEEP_SECONDS
        self._agenda.sleep_until(destination, min(opens, now + longest))
        return False

    def _has_enough(self, destination: str) -> bool:
        """Whether every lane for it that could take more has enough."""
        ways = self._lookups.ways_of(destination)
        if ways is None or isinstance(ways, Unroutable):
            return False
        exchanges = self._exchanges_of(ways, destination)
        return all(one.supply >= LOW_WATER for one in self._fit_ones(exchanges) or exchanges)

    def _look_after(self, order: Order) -> None:
        """After a claim: look at the destination once more, or at the next one that sleeps for its lane."""
        if not order.destination:
            return
        if self._agenda.ready(order.destination):
            self._agenda.wake(order.destination)
        elif not isinstance(order.ways, Unroutable):
            self._agenda.wake_one(self._lane_name(order.ways, order.destination))

    def _lane_name(self, ways: Sequence[Way], destination: str) -> LaneName:
        """What destinations have in common that are supplied together: a domain with a rate of its own is alone."""
        return tuple(way.site.name for way in ways), destination if destination in self._rated else ""

    def _at_once(self, destination: str) -> int:
        """How many chunks to claim together: more where those claimed last were gone in no time."""
        if self._agenda.ready(destination) < 2:
            return 1
        now = self._clock.monotonic()
        then, count = self._claimed.get(destination, (0.0, 1))
        count = min(2 * count, MOST_TOGETHER) if now - then < QUICK_SECONDS else 1
        if len(self._claimed) >= MOST_CLAIMED:
            self._claimed.clear()
        self._claimed[destination] = (now, count)
        return count

    def _claim(self, orders: Sequence[Order]) -> list[list[OpenChunk]]:
        """The chunks of each order; on the store's thread."""
        now = self._clock.time()
        return [self._store.claim_many(self._run_number, order.destination, now, order.most) for order in orders]

    @property
    def _open_tails(self) -> int:
        """How many of those opened within the last moment are still well under way."""
        since = self._clock.monotonic() - TAIL_SECONDS
        while self._tails and self._tails[0].since <= since:
            self._tails.popleft()
        return sum(active.outstanding > FEW for active in self._tails)

    def _hand_out(self, chunk: OpenChunk, ways: Sequence[Way] | Unroutable) -> None:
        """Spread a chunk's ready recipients over the lanes of their domains; `ways` are those of its destination."""
        active = ActiveChunk(chunk, jitter=self._rng.random(), since=self._clock.monotonic())
        self._active[chunk.number] = active
        if not chunk.destination:
            self._tails.append(active)
        self._recipients += len(chunk.addresses)
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
        for chunk in opened:
            if chunk.open_count and (due := chunk.outcomes.next_due()) is not None:
                self._agenda.returned(chunk.destination, due, self._clock.time())

    async def _in_store(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._store_thread, function, *arguments)


def _nothing(chunks: Collection[int]) -> None:
    """Nobody has to know."""
