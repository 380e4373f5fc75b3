"""A pool and its connections' short way: in which order the rest of the engine hears of what came in."""

from types import SimpleNamespace
from typing import Any

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


def test_what_was_accepted_before_a_refusal_is_counted_before_it_is_judged() -> None:
    """A pace must not be told of an acceptance as if it had come after the complaint that it was before."""
    told: list[Any] = []

    async def scene() -> None:
        limits = EffectiveLimits(messages_per_second=None, connects_per_second=None)
        lane = Lane(site_of([(10, "mx.b.example")]), EgressSource(), limits, Pacer([1.0]), now=0.0)
        exchange = Exchange(lane, ((10, "mx.b.example"),))
        writer = RecordWriter()
        writer.enter(bytearray(4096), {}, 0, 4096, 0)
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
        courier = SimpleNamespace(
            suppressions=SimpleNamespace(quick=AddressSet(), everywhere=b"all\0"),
            delivered=lambda lane, counts: told.append(counts),
            results=lambda exchange, connection, results: told.append([result[1:3] for result in results]),
        )
        rooms: Any = Rooms(
            composer=None,  # type: ignore[arg-type]
            courier=courier,  # type: ignore[arg-type]
            dialer=None,  # type: ignore[arg-type]
            recorder=SimpleNamespace(deliveries=deliveries),  # type: ignore[arg-type]
            budget=Budget(10),
            clock=SystemClock(),
            may_begin=lambda: bool(exchange.ring),
            on_low=lambda: None,
            on_crash=lambda error: None,
        )
        pool, transactions, parser = Pool(exchange, rooms), Transactions(pipelining=True), ReplyParser()
        connection: Any = SimpleNamespace(
            transactions=transactions,
            capabilities=SimpleNamespace(size_bytes=None),
            host="mx.b.example",
            tls=None,
        )
        conveyor = pool.conveyor(connection, parser, plain=True)
        assert conveyor is not None
        active = SimpleNamespace(
            number=1, chunk=SimpleNamespace(outcomes=OutcomeColumn(2)), list_prefix=None, outstanding=2
        )
        for index in range(2):
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
        conveyor.fill(0.0)
        transactions.outgoing()
        assert conveyor.receive(ENVELOPE, 0.0) == []
        conveyor.fill(0.0)
        transactions.outgoing()
        # The first is taken, the second refused, in one piece.
        left = conveyor.receive(b"250 ok\r\n451 4.7.1 slow down\r\n503 no\r\n503 no\r\n", 0.0)
        assert left is not None and told == []
        pool.results(connection, left)
        assert told == [[(Disposition.OPEN, 1)], [(Stage.MAIL, 451)]]

    run(scene())
