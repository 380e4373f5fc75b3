"""Nothing polls: how often anything wakes while everybody waits, counted on a clock that jumps."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any
from weakref import ref

import pytest

from bulkmail.engine.overdue import look_after
from bulkmail.engine.pool import Pool
from bulkmail.net.connection import Connection
from bulkmail.net.timeouts import Timeouts
from bulkmail.simulation.loop import VirtualClock, VirtualLoop, run
from bulkmail.smtp.handshake import Handshake
from tests.net.test_connection import FakeOwner
from tests.simulation.playing import play

HOUR = 3600.0


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often these were called."""
    counted: Counter[str] = Counter()

    def count(owner: type, name: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        @wraps(function)
        def counting(*arguments: Any, **named: Any) -> Any:
            counted[name] += 1
            return function(*arguments, **named)

        monkeypatch.setattr(owner, name, counting)

    count(Pool, "go_on")
    count(Connection, "expire")
    return counted


def waiting(clock: VirtualClock, timeouts: Timeouts) -> Connection:
    """A connection that waits for a greeting."""
    handshake = Handshake(ehlo_name="me.example", tls="none")
    return Connection(
        FakeOwner(), handshake, clock=clock, timeouts=timeouts, host="mx.example", address="192.0.2.1", max_messages=1
    )


def test_a_throttled_lane_sleeps_until_its_token(tmp_path: Path, calls: Counter[str]) -> None:
    rows = [f"r{number}@small-1.test" for number in range(20)]
    played = play(tmp_path, rows, limits={"default": {"messages": "6/h", "connections": 1}})
    assert played.summary.delivered == 20
    assert played.seconds_until(1.0) > 3 * HOUR
    # It wakes for each token, and for its connection, which is closed in between: three hours have 43,200 quarters of
    # a second.
    assert calls["go_on"] < 20 * 6


def test_connections_that_wait_are_looked_at_seldom_and_end_in_time(calls: Counter[str]) -> None:
    clock = VirtualClock()
    timeouts = Timeouts()

    async def scene() -> None:
        began = clock.monotonic()
        connections = [waiting(clock, timeouts) for _ in range(100)]
        for connection in connections:
            look_after(connection, clock)
        await asyncio.sleep(timeouts.greeting - 1)
        assert not any(connection.closed for connection in connections)
        assert calls["expire"] <= 100 * timeouts.greeting / timeouts.shortest
        await asyncio.sleep(1.5)
        assert all(connection.closed for connection in connections)
        assert clock.monotonic() - began < timeouts.greeting + 1
        looks = calls["expire"]
        await asyncio.sleep(HOUR)
        assert calls["expire"] == looks

    run(VirtualLoop(clock), scene())


@pytest.mark.parametrize("after", [0.0, 0.9, 1.0, 3.3])
def test_a_timeout_that_begins_between_two_looks_is_not_missed(after: float) -> None:
    clock = VirtualClock()
    timeouts = Timeouts(greeting=100.0, idle=1.0)

    async def scene() -> None:
        connection = waiting(clock, timeouts)
        ended = []
        connection.drain = lambda: ended.append(clock.monotonic()) or connection.abort()  # type: ignore[method-assign]
        look_after(connection, clock)
        await asyncio.sleep(after)
        connection.idle_since = idle_since = clock.monotonic()
        await asyncio.sleep(3.0)
        assert ended == [pytest.approx(idle_since + timeouts.idle, abs=0.01)]

    run(VirtualLoop(clock), scene())


def test_a_connection_that_is_gone_is_not_kept() -> None:
    clock = VirtualClock()

    async def scene() -> None:
        connection = waiting(clock, Timeouts())
        look_after(connection, clock)
        gone = ref(connection)
        del connection
        assert gone() is None

    run(VirtualLoop(clock), scene())
