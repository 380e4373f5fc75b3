"""Keep every lane supplied: claim the chunks whose time has come, and fold them when they are done.

    round:  for each destination that is awake and whose lane is open and hungry (`claims`): claim, hand out (`placing`)
    then    sleep until a chunk is done, a lane has drained or opened, or the next retry is due

Nothing here depends on the number of recipients or destinations: `agenda` knows who is awake, and a claim is up to
1,000 recipients.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Generic

from bulkmail.clock import Clock
from bulkmail.engine.agenda import Agenda
from bulkmail.engine.claims import Claim, Claims
from bulkmail.engine.conclusions import Conclusions
from bulkmail.engine.courier import Courier
from bulkmail.engine.intake import CHUNK_RECIPIENTS
from bulkmail.engine.lookups import Lookups
from bulkmail.engine.placing import Place, Placing
from bulkmail.engine.router import Router
from bulkmail.engine.storethread import StoreThread
from bulkmail.engine.ways import Way
from bulkmail.engine.work import FEW, ActiveChunk, Work
from bulkmail.errors import DiskFull
from bulkmail.store.chunks import OpenChunk
from bulkmail.store.store import Store

# Recipients in memory, and chunks.
MAX_RECIPIENTS = 256_000
MAX_ACTIVE = 4096
# Chunks of tails of small sites that are opened at once. One counts while more than FEW of it are outstanding, and not
# for longer than a moment: what is left of it then waits for hosts that are slow, and those must not hold up the rest.
MAX_TAILS = 8
TAIL_SECONDS = 0.1
# Chunks that are done are folded so many together, or so long after the first: a transaction costs two syncs, and a
# thread that waits for the interpreter, whether it has one chunk or ten.
FOLD_TOGETHER = 16
FOLD_SECONDS = 0.25
# How often a full disk is tried again.
FULL_SECONDS = 1.0
# The longest nap, so that a clock step or a missed wake-up costs little.
MAX_NAP_SECONDS = 30.0


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
        in_store: StoreThread,
        clock: Clock,
        rng: random.Random,
        rated: Collection[str] = (),
    ) -> None:
        self._rng = rng
        self._store = store
        self._run_number = run_number
        self._courier = courier
        self._in_store = in_store
        self._clock = clock
        self._active: dict[int, ActiveChunk] = {}
        self._recipients = 0
        self._idle: list[ActiveChunk] = []
        self._idle_since = 0.0
        self._wake = asyncio.Event()
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self.disk_full = False
        self.on_fold: Callable[[], Callable[[Collection[int]], None]] = lambda: _nothing
        self._tails: deque[ActiveChunk] = deque()
        self._agenda = Agenda()
        self._lookups = Lookups(router, clock=clock, begin=self._begin, found=self._agenda.wake)
        self._placing = Placing(
            router=router,
            conclusions=conclusions,
            courier=courier,
            exchanges_of=exchanges_of,
            put=put,
            clock=clock,
            begin=self._begin,
            done=self.progressed,
        )
        self._claims = Claims(self._agenda, self._lookups, self._placing, clock=clock, rated=rated)
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
        self._claims.wake_hungry()
        while not self._stopping and not self._saturated and (self._few_idle or not self._idle):
            claims: list[Claim] = []
            if self._agenda.ready("") and self._open_tails < MAX_TAILS:
                claims.append(Claim("", 1))
            claims += self._claims.take(self._room - len(claims))
            if not claims:
                break
            for claim, chunks in zip(claims, await self._in_store(self._claim, claims), strict=True):
                recipients = sum(len(chunk.addresses) for chunk in chunks)
                self._agenda.claimed(claim.destination, wanted=claim.most, chunks=len(chunks), recipients=recipients)
                for chunk in chunks:
                    self._placing.hand_out(self._opened(chunk), claim.ways)
                    supplied = True
                self._claims.settled(claim)
        return supplied

    def _claim(self, claims: Sequence[Claim]) -> list[list[OpenChunk]]:
        """The chunks of each claim; on the store's thread."""
        now = self._clock.time()
        return [self._store.claim_many(self._run_number, claim.destination, now, claim.most) for claim in claims]

    @property
    def _open_tails(self) -> int:
        """How many of those opened within the last moment are still well under way."""
        since = self._clock.monotonic() - TAIL_SECONDS
        while self._tails and self._tails[0].since <= since:
            self._tails.popleft()
        return sum(active.outstanding > FEW for active in self._tails)

    def _opened(self, chunk: OpenChunk) -> ActiveChunk:
        active = ActiveChunk(chunk, jitter=self._rng.random(), since=self._clock.monotonic())
        self._active[chunk.number] = active
        if not chunk.destination:
            self._tails.append(active)
        self._recipients += len(chunk.addresses)
        return active

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


def _nothing(chunks: Collection[int]) -> None:
    """Nobody has to know."""
