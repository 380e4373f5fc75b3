"""The connections to one set of mail exchangers: opened as limits allow, fed, watched, closed.

Hosts that have answered for no message yet get one connection, and what waits for one that is late takes no place from
the others: a tarpit costs a connection, and nobody else's time.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.engine.budget import LATE_SECONDS, Budget, Wait
from bulkmail.engine.composer import Composer
from bulkmail.engine.conclusions import Conclusions
from bulkmail.engine.courier import Courier
from bulkmail.engine.dialer import Dialer, Refusal
from bulkmail.engine.exchange import Exchange
from bulkmail.engine.lane import LOW_WATER
from bulkmail.engine.line import Line
from bulkmail.engine.recorder import Recorder
from bulkmail.errors import DiskFull, StateError
from bulkmail.model.delivery import Reason, Stage
from bulkmail.native.conveyor import Conveyor, Dispenser
from bulkmail.native.message import Message
from bulkmail.native.reply import ReplyParser
from bulkmail.net.connection import Connection
from bulkmail.net.owner import Left, Result

# How many waiting recipients justify one more connection. To open one takes as long as four or five messages on one
# that is open, and costs us both more CPU time than these.
RECIPIENTS_PER_CONNECTION = 8
# How long a host may keep us waiting before another of its site's is asked.
SLOW_SECONDS = 10.0
# How long before its first message a connection is opened, at most: one that waits for longer would be closed as idle.
EARLY_SECONDS = 2.0


class Rooms(Struct, frozen=True):
    """What every pool of a run works with.

    `uncounted` are the pools with deliveries that are on record and not in the counts. `may_begin` is asked before each
    message: False stops the flow (stopping, disk full) and lets replies drain.
    `on_low` is called when a lane has few recipients left waiting, `on_crash` for a defect of ours.
    """

    composer: Composer
    conclusions: Conclusions
    courier: Courier
    dialer: Dialer
    recorder: Recorder
    budget: Budget
    clock: Clock
    uncounted: dict["Pool", None]
    may_begin: Callable[[], bool]
    on_low: Callable[[], None]
    on_crash: Callable[[BaseException], None]


class Pool:
    """Owner of an exchange's connections (see `bulkmail.net.connection.Owner`)."""

    def __init__(self, exchange: Exchange, rooms: Rooms) -> None:
        self.exchange = exchange
        self._lane = exchange.lane
        self._rooms = rooms
        self._clock = rooms.clock
        # Dictionaries in place of sets: in the order that they were opened, so that a run can be repeated.
        self._connections: dict[Connection, None] = {}
        self._establishing: dict[Connection, None] = {}
        self._openings: dict[asyncio.Task[None], float] = {}
        self._giving_way: dict[asyncio.Task[None], float] = {}
        self._answered = False
        self._wake: asyncio.TimerHandle | None = None
        self._wake_at = 0.0
        self._kicked = False
        self._dispenser = Dispenser(
            ring=exchange.ring,
            lane=exchange.lane,
            suppressions=rooms.conclusions.suppressions,
            deliveries=rooms.recorder.deliveries,
            bucket=exchange.lane.bucket,
            held=exchange.bucket is not None,
            may_begin=rooms.may_begin,
            on_delivered=self._delivered,
            on_low=self._low,
        )

    # What the engine asks.

    def kick(self) -> None:
        """Something changed (work, a ready message, a token, a free connection): go on with what is possible now."""
        if not self._kicked:
            self._kicked = True
            asyncio.get_running_loop().call_soon(self.go_on)

    def go_on(self) -> None:
        """Do now what is possible now."""
        self._kicked = False
        exchange = self.exchange
        if not self._rooms.may_begin() or not exchange.waiting:
            return
        now = self._clock.monotonic()
        if self._rooms.courier.should_park(exchange, now):
            # Given back or composed since the lane was closed: parked as the rest was.
            self._rooms.courier.park(exchange)
        self._refill()
        if exchange.ring:
            for connection in list(self._connections):
                if not exchange.ring:
                    break
                connection.pump()
        wait = max(exchange.open_again_at - now, exchange.wait_seconds(now))
        if wait <= EARLY_SECONDS:
            self._open_more(now)
        if exchange.waiting and wait > 0:
            self._schedule(wait - EARLY_SECONDS if wait > EARLY_SECONDS else wait)

    def give_up_idle(self) -> bool:
        """End one connection that has nothing to do; False where there is none."""
        if not self.exchange.waiting:
            for connection in self._connections:
                if connection.idle_since is not None:
                    connection.drain()
                    return True
        return False

    def late(self, now: float) -> Iterator[Wait]:
        """What has been waiting for a host for LATE_SECONDS or more."""
        for task, since in self._openings.items():
            if now - since >= LATE_SECONDS:
                yield Wait(now - since, partial(self._give_up_opening, task))
        for connection in self._connections:
            seconds = connection.stalled_seconds(now)
            if seconds >= LATE_SECONDS:
                yield Wait(seconds, None if connection.in_doubt else connection.give_way)

    def drain(self) -> None:
        """Let replies come in, then QUIT everywhere."""
        for connection in list(self._connections):
            connection.drain()

    async def close(self) -> None:
        """End everything at once."""
        for task in list(self._openings):
            task.cancel()
        if self._openings:
            await asyncio.gather(*self._openings, return_exceptions=True)
        for connection in [*self._connections, *self._establishing]:
            connection.abort()
        self.forget()

    def forget(self) -> None:
        """Nothing is to be done any more; a timer left behind would keep all of the run in memory until it is due."""
        self._dispenser.forget()
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None

    @property
    def in_flight(self) -> int:
        return sum(connection.in_flight for connection in self._connections)

    # What the connections ask (Owner).

    def conveyor(self, connection: Connection, parser: ReplyParser, *, plain: bool) -> Conveyor | None:
        assert connection.transactions is not None
        most_bytes = connection.capabilities.size_bytes
        return Conveyor(
            parser,
            connection.transactions,
            self._dispenser,
            site=self._lane.site.name,
            host=connection.host,
            source=self._lane.source.address,
            tls=connection.tls,
            most_bytes=sys.maxsize if most_bytes is None else most_bytes,
            plain=plain,
        )

    def take(self, connection: Connection) -> Message | None:
        rooms, exchange = self._rooms, self.exchange
        if not rooms.may_begin():
            return None
        while True:
            message = exchange.take(self._clock.monotonic())
            if message is None:
                break
            if not rooms.conclusions.suppressed(self._lane, message.chunk, message.index):
                break
        self._look_at_supply()
        if message is None:
            self._count_deliveries()
            if exchange.ring:
                self._schedule(exchange.wait_seconds(self._clock.monotonic()))
            elif not exchange.waiting:
                if self._lane.line or rooms.budget.line:
                    # Others wait for a connection that this one does not need any more.
                    asyncio.get_running_loop().call_soon(connection.drain)
                else:
                    self._lane.line.offer(self)
                    rooms.budget.line.offer(self)
        return message

    def begun(self, connection: Connection, messages: Sequence[Message]) -> bool:
        try:
            return self._rooms.recorder.intents.record(messages, connection.release)
        except DiskFull:
            asyncio.get_running_loop().call_soon(connection.abort)
        except StateError as error:
            self._rooms.on_crash(error)
        # Without a record nothing goes: it is held until the connection ends.
        return True

    def results(self, connection: Connection, results: Sequence[Result]) -> None:
        # What was accepted before must not seem to have come after.
        self._count_deliveries()
        self._rooms.courier.results(self.exchange, connection, results)
        self._go_on_after_replies()

    def _delivered(self) -> None:
        """The first since they were counted. That can wait, unless the lane's pace or connections hang on it."""
        self._rooms.uncounted[self] = None
        if not self._answered or self._lane.pacer.has_learned:
            asyncio.get_running_loop().call_soon(self.account)

    def _low(self) -> None:
        asyncio.get_running_loop().call_soon(self.account)

    def account(self) -> None:
        """Count what the conveyors have delivered since this was asked last, and go on with what follows from it."""
        self._count_deliveries()
        self._go_on_after_replies()

    def _count_deliveries(self) -> None:
        self._rooms.uncounted.pop(self, None)
        if counts := self._dispenser.take_counts():
            self._rooms.courier.delivered(self._lane, counts)

    def _go_on_after_replies(self) -> None:
        lane = self._lane
        self._look_at_supply()
        if not self._answered:
            self._answered = True
            self.kick()
        if lane.pacer.paused_until > self._clock.monotonic():
            self.kick()
        elif lane.line:
            # What was accepted may have raised the number of connections that the lane may have.
            lane.line.serve(lane.free_connections)

    def unfit(self, connection: Connection, message: Message, reason: Reason, explanation: str) -> None:
        self._rooms.courier.unfit(self.exchange, connection, message, reason, explanation)

    def again(self, connection: Connection, messages: Sequence[Message]) -> None:
        self._rooms.courier.again(self.exchange, messages)

    def lost(self, connection: Connection, left: Sequence[Left], reason: Reason, explanation: str) -> None:
        self._connections.pop(connection, None)
        if reason is Reason.TIMEOUT:
            self._answered = False
        self._release()
        self._count_deliveries()
        self._rooms.courier.lost(self.exchange, connection, left, reason, explanation)
        self.kick()

    # Beneath.

    def _look_at_supply(self) -> None:
        """Have more composed, and more claimed, where little is left."""
        exchange = self.exchange
        if not exchange.told_low and exchange.supply < LOW_WATER:
            exchange.told_low = True
            self._rooms.on_low()
        self._refill()

    def _refill(self) -> None:
        """Have more composed where enough is missing, and hear of it when that is so again."""
        exchange, dispenser = self.exchange, self._dispenser
        if exchange.composable > 0:
            self._rooms.composer.request(exchange)
            # It comes with a kick.
            dispenser.low = -1
        else:
            dispenser.low = exchange.low

    def _open_more(self, now: float) -> None:
        exchange, lane, budget = self.exchange, self._lane, self._rooms.budget
        if self._answered:
            wanted = 1 + (exchange.waiting - 1) // RECIPIENTS_PER_CONNECTION
        else:
            wanted = 2 if self._kept_waiting(now) else 1
        if any(connection.idle_since is not None for connection in self._connections):
            return
        while exchange.waiting and exchange.connections < wanted:
            if exchange.open_again_at > now:
                return
            if lane.free_connections() <= 0:
                self._wait_in(lane.line)
                return
            if budget.free_connections() <= 0:
                self._wait_in(budget.line)
                return
            wait = lane.take_connect(now)
            if wait > 0:
                self._schedule(wait)
                return
            exchange.connections += 1
            lane.connections += 1
            budget.open += 1
            budget.holders[self] = None
            task = asyncio.get_running_loop().create_task(self._open())
            self._openings[task] = now
            task.add_done_callback(self._opened)
        if not self._answered:
            self._kept_waiting(now)

    def _kept_waiting(self, now: float) -> bool:
        """Whether the one host that was asked is slow, and there is another to ask."""
        if len(self.exchange.hosts) == 1 or len(self._openings) != 1:
            return False
        wait = next(iter(self._openings.values())) + SLOW_SECONDS - now
        if wait > 0:
            self._schedule(wait)
        return wait <= 0

    def _wait_in(self, line: Line) -> None:
        """Wait for a connection of others; only a pool without any does, the rest get on with what they have."""
        if not self.exchange.connections:
            line.join(self)

    def _release(self) -> None:
        """One connection less: let those that wait for it have it."""
        lane, budget = self._lane, self._rooms.budget
        self.exchange.connections -= 1
        lane.connections -= 1
        budget.open -= 1
        if not self.exchange.connections:
            budget.holders.pop(self, None)
            lane.line.leave(self)
            budget.line.leave(self)
        lane.line.serve(lane.free_connections)
        budget.line.serve(budget.free_connections)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._openings.pop(task, None)
        self._giving_way.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._rooms.on_crash(error)

    def _give_up_opening(self, task: asyncio.Task[None], seconds: float) -> None:
        self._giving_way[task] = seconds
        task.cancel()

    def _schedule(self, seconds: float) -> None:
        """Go on in `seconds`, unless that will happen earlier already."""
        loop = asyncio.get_running_loop()
        when = loop.time() + max(seconds, 0.001)
        if self._wake is not None:
            if self._wake_at <= when:
                return
            self._wake.cancel()
        self._wake_at = when
        self._wake = loop.call_later(when - loop.time(), self._woken)

    def _woken(self) -> None:
        self._wake = None
        self.go_on()

    async def _open(self) -> None:
        self._refill()
        began = self._clock.monotonic()
        connection = None
        try:
            found = await self._rooms.dialer.dial(self, self.exchange, self._establishing)
            if isinstance(found, Refusal):
                self._refused(found)
            else:
                connection = found
                self._connections[connection] = None
                self.exchange.failed_connects = 0
                self._lane.pacer.on_connected()
                self._rooms.budget.answered(self._clock.monotonic() - began)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task not in self._giving_way:
                raise
            task.uncancel()
            host = self.exchange.hosts[0][1]
            why = f"gave way to others after {self._giving_way[task]:.1f} s without an answer"
            self._refused(Refusal(stage=Stage.CONNECT, host=host, reason=Reason.TIMEOUT, explanation=why))
        finally:
            if connection is None:
                self._release()
                self.kick()
        if connection is not None:
            connection.pump()

    def _refused(self, refusal: Refusal) -> None:
        now = self._clock.monotonic()
        if self._connections:
            # Others are open and work: the receiver allows this many for now.
            self._lane.pacer.on_connection_refused_busy(now, self._lane.connections - 1)
        elif now >= self.exchange.open_again_at:
            self._rooms.courier.unreachable(self.exchange, refusal)
