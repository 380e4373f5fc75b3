"""How lanes are dealt out: each to one node, and to the one that has the least to do."""

from pathlib import Path
from typing import Any

from bulkmail.clock import SystemClock
from bulkmail.config.load import load_campaign
from bulkmail.engine.nodes.deal import Deal
from bulkmail.engine.nodes.desk import Desk
from bulkmail.engine.nodes.messages import ENCODER, FROM_OWNER, Gone, Portion
from bulkmail.engine.nodes.mirror import Mirror
from bulkmail.engine.nodes.seat import Seat
from bulkmail.engine.ways import Way
from bulkmail.engine.work import ActiveChunk
from bulkmail.model.campaign import EgressSource
from bulkmail.model.delivery import Disposition
from bulkmail.policy.route import site_of
from bulkmail.store.chunks import OpenChunk
from bulkmail.store.outcomes import Outcome, OutcomeColumn
from tests.engine.scene import run, write_campaign

SOURCES = (EgressSource(address="192.0.2.1"), EgressSource(address="192.0.2.2"))


class Posts:
    """A channel that keeps what is posted, as it arrives at the other end."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def post(self, message: object) -> None:
        self.messages += FROM_OWNER.decode(ENCODER.encode([message]))


def dealer(folder: Path, waiting: dict[str, int], sources: tuple[EgressSource, ...] = SOURCES) -> Deal:
    """Two nodes that are up; nobody is asked to fold, publish or record anything here."""
    nothing: Any = None
    desk = Desk(
        store=nothing,
        recorder=nothing,
        syncs=nothing,
        conclusions=nothing,
        tally=nothing,
        in_store=nothing,
        waiting=lambda domain: waiting.get(domain, 0),
        checkpoint=nothing,
        keep_anomaly=nothing,
        may_begin=lambda: True,
        events_offset=lambda: 0,
        on_low=lambda: None,
        on_crash=nothing,
    )
    campaign = load_campaign(write_campaign(folder, ["a@shop.example"]))
    deal = Deal(campaign, sources, desk, starter=nothing, nodes=2, connections=100, clock=SystemClock())
    for number in (1, 2):
        seat = Seat(number, folder, nothing)
        seat.channel = Posts()  # type: ignore[assignment]
        seat.ready = True
        deal._table.seats.append(seat)
    return deal


def way_to(domain: str) -> Way:
    return Way(site=site_of([(10, f"mx.{domain}")]))


def dealt(deal: Deal, domain: str) -> list[Mirror]:
    return deal.exchanges_of([way_to(domain)], domain)


def chunk_of(domain: str, size: int) -> ActiveChunk:
    people = [f"r{n}@{domain}" for n in range(size)]
    rows = [b'["%d"]' % n for n in range(size)]
    chunk = OpenChunk(
        number=7, run=1, destination=domain, list_name="news", addresses=people, rows=rows, outcomes=OutcomeColumn(size)
    )
    return ActiveChunk(chunk, jitter=0.5)


def test_the_lanes_of_one_big_site_are_spread_and_a_site_of_the_same_size_finds_its_place(tmp_path: Path) -> None:
    async def scene() -> None:
        deal = dealer(tmp_path, {"big.example": 10_000, "other.example": 10_000})
        assert {mirror.lane.seat.number for mirror in dealt(deal, "big.example")} == {1, 2}
        assert {mirror.lane.seat.number for mirror in dealt(deal, "other.example")} == {1, 2}
        # A lane stays where it is, whatever else is dealt.
        again = dealt(deal, "big.example")
        assert [mirror.lane for mirror in again] == [mirror.lane for mirror in dealt(deal, "big.example")]

    run(scene())


def test_many_small_sites_go_where_the_big_one_is_not(tmp_path: Path) -> None:
    async def scene() -> None:
        deal = dealer(tmp_path, {"big.example": 10_000, **{f"s{n}.example": 100 for n in range(90)}}, SOURCES[:1])
        (big,) = dealt(deal, "big.example")
        small = [dealt(deal, f"s{n}.example")[0] for n in range(90)]
        assert {mirror.lane.seat for mirror in small} == set(deal._table.seats) - {big.lane.seat}
        assert sorted(seat.load for seat in deal._table.seats) == [9_000, 10_000]

    run(scene())


def test_a_portion_brings_what_the_node_needs_and_is_counted_until_it_comes_back(tmp_path: Path) -> None:
    async def scene() -> None:
        deal = dealer(tmp_path, {"big.example": 3}, SOURCES[:1])
        (mirror,) = dealt(deal, "big.example")
        active, seat = chunk_of("big.example", 3), mirror.lane.seat
        active.chunk.outcomes.set(2, Outcome(Disposition.DEFERRED, 4, time=5.0))
        deal.put(mirror, [(active, 0), (active, 2)])
        (portion,) = seat.channel.messages  # type: ignore[attr-defined]
        assert isinstance(portion, Portion)
        assert (portion.way, portion.domain, portion.position) == (way_to("big.example"), "big.example", 0)
        assert (portion.chunk, portion.size, portion.list_name, portion.jitter) == (7, 3, "news", 0.5)
        assert portion.addresses == ["r0@big.example", "r2@big.example"] and portion.rows == [b'["0"]', b'["2"]']
        column = OutcomeColumn(3)
        column.take_records(portion.indexes, portion.records)
        assert (column.attempt(0), column.attempt(2), column.first_tried(2)) == (0, 4, 5.0)
        assert (mirror.supply, seat.load) == (2, 3)
        # Idle lanes are forgotten, but not one that has something on the way to it.
        deal._receive(seat, [Gone([mirror.lane.key])])
        assert dealt(deal, "big.example") == [mirror]
        mirror.count(-2)
        deal._receive(seat, [Gone([mirror.lane.key])])
        assert dealt(deal, "big.example") != [mirror]

    run(scene())
