"""A pool and its connections' short way: in which order the rest of the engine hears of what came in."""

import asyncio
from types import SimpleNamespace
from typing import Any

from msgspec import structs

from bulkmail.clock import SystemClock, rfc3339
from bulkmail.engine.budget import Budget
from bulkmail.engine.exchange import Exchange
from bulkmail.engine.lane import Lane
from bulkmail.engine.pool import Pool, Rooms
from bulkmail.model.campaign import EgressSource
from bulkmail.model.delivery import Disposition, Stage
from bulkmail.native.deliveries import Deliveries
from bulkmail.native.hashset import AddressSet
from bulkmail.native.lines import DeliveredLines
from bulkmail.native.message import Message
from bulkmail.native.records import RecordWriter
from bulkmail.native.reply import ReplyParser
from bulkmail.native.session import Transactions
from bulkmail.policy.limits import EffectiveLimits
from bulkmail.policy.pacing import Pacer
from bulkmail.policy.route import site_of
from bulkmail.store.outcomes import OutcomeColumn
from tests.engine.scene import run

ENVELOPE = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n"
TAKEN = b"250 ok\r\n"


class Scene:
    """A pool with one connection, whose short way is played by hand; `told` is what the courier hears, in order."""

    def __init__(self, messages: int, *, waiting: int = 0) -> None:
        self.told: list[Any] = []
        self.asked: list[str] = []
        limits = EffectiveLimits(messages_per_second=None, connects_per_second=None)
        lane = Lane(site_of([(10, "mx.b.example")]), EgressSource(), limits, Pacer([1.0]), now=0.0)
        self.exchange = exchange = Exchange(lane, ((10, "mx.b.example"),))
        writer = RecordWriter()
        writer.enter(bytearray(1 << 16), {}, 0, 1 << 16, 0)
        deliveries = Deliveries(
            journal=SimpleNamespace(writer=writer),
            lines=DeliveredLines("trial-1"),
            time=lambda: 1.7e9,
            stamp=rfc3339,
            few=0,
            on_first=lambda: None,
            on_few=lambda active: None,
            intents_wanted=True,
        )
        conclusions = SimpleNamespace(suppressions=SimpleNamespace(quick=AddressSet(), everywhere=b"all\0"))
        courier = SimpleNamespace(
            delivered=lambda lane, counts: self.told.append(counts),
            results=lambda exchange, connection, results: self.told.append([result[1:3] for result in results]),
        )
        self.uncounted: dict[Pool, None] = {}
        rooms: Any = Rooms(
            composer=SimpleNamespace(request=lambda exchange: self.asked.append("messages")),  # type: ignore[arg-type]
            conclusions=conclusions,  # type: ignore[arg-type]
            courier=courier,  # type: ignore[arg-type]
            dialer=None,  # type: ignore[arg-type]
            recorder=SimpleNamespace(deliveries=deliveries),  # type: ignore[arg-type]
            budget=Budget(10),
            clock=SystemClock(),
            uncounted=self.uncounted,
            may_begin=lambda: bool(exchange.ring),
            on_low=lambda: self.asked.append("chunks"),
            on_crash=lambda error: None,
        )
        self.pool, self.transactions = Pool(exchange, rooms), Transactions(pipelining=True)
        self.connection: Any = SimpleNamespace(
            transactions=self.transactions,
            capabilities=SimpleNamespace(size_bytes=None),
            host="mx.b.example",
            tls=None,
        )
        conveyor = self.pool.conveyor(self.connection, ReplyParser(), plain=True)
        assert conveyor is not None
        self.conveyor = conveyor
        count = messages + waiting
        active = SimpleNamespace(
            number=1, chunk=SimpleNamespace(outcomes=OutcomeColumn(count)), list_prefix=None, outstanding=count
        )
        exchange.connections = 1
        exchange.put([(active, messages + number) for number in range(waiting)])  # type: ignore[misc]
        lane.waiting += messages
        for index in range(messages):
            exchange.ring.append(
                Message(
                    chunk=active,
                    index=index,
                    attempt=1,
                    address=f"r{index}@b.example",
                    sender=b"s@a.example",
                    recipient=b"r%d@b.example" % index,
                    data=b"Subject: x\r\n\r\n",
                    message_id="<x@a.example>",
                )
            )

    def begin(self) -> None:
        """The first message is on its way, and the envelope of the second behind it."""
        self.conveyor.fill(0.0)
        self.transactions.outgoing()
        assert isinstance(self.conveyor.turn(ENVELOPE, 0.0), bytes)

    def deliver(self, messages: int) -> None:
        for _ in range(messages):
            assert isinstance(self.conveyor.turn(TAKEN + ENVELOPE, 0.0), bytes)


def test_what_was_accepted_before_a_refusal_is_counted_before_it_is_judged() -> None:
    """A pace must not be told of an acceptance as if it had come after the complaint that it was before."""

    async def play() -> None:
        scene = Scene(3)
        scene.begin()
        # The first is taken, the second refused, in one piece.
        left = scene.conveyor.turn(TAKEN + b"451 4.7.1 slow down\r\n503 no\r\n503 no\r\n", 0.0)
        assert isinstance(left, list) and left and scene.told == []
        scene.pool.results(scene.connection, left)
        assert scene.told == [[(Disposition.OPEN, 1)], [(Stage.MAIL, 451)]]

    run(play())


async def answered(scene: Scene) -> None:
    """The first delivery of a pool, which is counted at once."""
    scene.begin()
    scene.deliver(1)
    assert scene.told == []
    await asyncio.sleep(0)
    assert scene.told == [[(Disposition.OPEN, 1)]] and not scene.uncounted
    scene.told.clear()
    scene.asked.clear()


def test_deliveries_are_counted_together_unless_the_lane_has_learned_something() -> None:
    async def play() -> None:
        scene = Scene(30, waiting=600)
        await answered(scene)
        for _ in range(3):
            scene.deliver(1)
            await asyncio.sleep(0)
        assert scene.told == [] and list(scene.uncounted) == [scene.pool]
        scene.pool.account()
        assert scene.told == [[(Disposition.OPEN, 3)]] and not scene.uncounted
        scene.exchange.lane.pacer.on_closed_between(0.0, 20)
        scene.deliver(1)
        await asyncio.sleep(0)
        assert scene.told[1:] == [[(Disposition.OPEN, 1)]]

    run(play())


def test_a_ring_of_which_half_is_gone_asks_once_for_more_and_again_when_it_came() -> None:
    async def play() -> None:
        scene = Scene(30, waiting=600)
        await answered(scene)
        left = len(scene.exchange.ring)
        half = scene.exchange.ahead // 2
        scene.deliver(left - half - 1)
        await asyncio.sleep(0)
        assert scene.asked == []
        for _ in range(3):
            scene.deliver(1)
            await asyncio.sleep(0)
        assert scene.asked == ["messages"]
        scene.pool._refill()
        assert scene.asked == ["messages", "messages"]

    run(play())


def test_a_lane_with_little_left_asks_for_chunks_before_its_ring_is_empty_though_all_of_it_is_composed() -> None:
    async def play() -> None:
        scene = Scene(12)
        scene.pool._refill()
        scene.begin()
        scene.deliver(6)
        assert scene.asked == []
        await asyncio.sleep(0)
        assert scene.asked == ["chunks"] and scene.exchange.ring
        scene.deliver(2)
        await asyncio.sleep(0)
        assert scene.asked == ["chunks"]

    run(play())


def test_a_connection_without_another_message_has_all_counted() -> None:
    async def play() -> None:
        scene = Scene(4, waiting=600)
        await answered(scene)
        scene.deliver(1)
        scene.exchange.ring.clear()
        scene.pool._rooms = structs.replace(scene.pool._rooms, may_begin=lambda: True)
        assert scene.pool.take(scene.connection) is None
        assert scene.told == [[(Disposition.OPEN, 1)]] and not scene.uncounted

    run(play())
