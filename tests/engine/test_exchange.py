"""What an exchange has composed ahead: many small messages, few large ones, a half of it at a time."""

from typing import Any

import pytest

from bulkmail.engine.exchange import Exchange
from bulkmail.engine.lane import Lane
from bulkmail.model.campaign import EgressSource
from bulkmail.native.message import Message
from bulkmail.policy.limits import EffectiveLimits
from bulkmail.policy.pacing import Pacer
from bulkmail.policy.route import site_of

SITE = site_of([(10, "mx.shop.example")])


def exchange_of(connections: int, works: int) -> Exchange:
    exchange = Exchange(Lane(SITE, EgressSource(), EffectiveLimits(), Pacer([300.0]), now=0.0), SITE.hosts)
    chunk: Any = object()
    exchange.put([(chunk, index) for index in range(works)])
    exchange.connections = connections
    return exchange


def message_of(size: int) -> Message:
    return Message(
        chunk=None,
        index=0,
        attempt=1,
        address="a@shop.example",
        sender=b"b@garden.example",
        recipient=b"a@shop.example",
        data=bytes(size),
        message_id="<1@garden.example>",
    )


@pytest.mark.parametrize(
    ("size", "ahead"), [(0, 16), (2_000, 16), (11_000, 16), (40_000, 6), (100_000, 4), (5_000_000, 4)]
)
def test_so_many_are_ready_for_each_connection_as_fit_into_its_share_of_memory(size: int, ahead: int) -> None:
    exchange = exchange_of(10, 1000)
    assert exchange.composable == 160
    exchange.to_compose(1)
    exchange.composed([message_of(size)])
    exchange.ring.clear()
    assert exchange.composable == 10 * ahead


def test_messages_are_composed_when_half_of_what_should_be_ready_is_wanting() -> None:
    exchange = exchange_of(2, 1000)
    exchange.to_compose(32)
    assert exchange.composable == 0
    exchange.composed([message_of(10)] * 17, failed=15)
    assert exchange.composable == 0
    exchange.ring.pop()
    assert exchange.composable == 16


def test_none_is_composed_without_a_connection_or_more_than_there_are() -> None:
    assert exchange_of(0, 1000).composable == 0
    assert exchange_of(1, 3).composable == 3
