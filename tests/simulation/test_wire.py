"""Connections in memory: order, distance, ends, cuts, and a process that dies with bytes on the way."""

import asyncio
from collections.abc import Callable

import pytest

from bulkmail.simulation.loop import BEGIN_SECONDS, VirtualClock, VirtualLoop, run
from bulkmail.simulation.wire import Wire, pair


class Ear(asyncio.Protocol):
    """Writes down what it hears, and when."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, bytes | str]] = []

    def _note(self, what: bytes | str) -> None:
        self.heard.append((round(asyncio.get_running_loop().time() - BEGIN_SECONDS, 6), what))

    def data_received(self, data: bytes) -> None:
        self._note(data)

    def eof_received(self) -> bool:
        self._note("eof")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._note("lost" if error is None else type(error).__name__)


def play(scene: Callable[[Wire, Wire], None]) -> tuple[Ear, Ear]:
    """Both ears after `scene(here, there)` and ten seconds."""
    loop = VirtualLoop(VirtualClock())
    ears = Ear(), Ear()

    async def go() -> None:
        here, there = pair(loop, ("127.0.0.1", 1024), ("127.10.1.1", 25), latency_seconds=0.05)
        here.open(ears[0])
        there.open(ears[1])
        scene(here, there)
        await asyncio.sleep(10)

    run(loop, go())
    return ears


def test_what_is_written_arrives_in_order_after_its_way() -> None:
    def scene(here: Wire, there: Wire) -> None:
        here.write(b"one ")
        here.write(b"two")
        asyncio.get_running_loop().call_later(1, there.write, b"three")

    here, there = play(scene)
    assert there.heard == [(0.05, b"one two")]
    assert here.heard == [(1.05, b"three")]


def test_closing_lets_arrive_what_was_written_and_then_the_end() -> None:
    def scene(here: Wire, there: Wire) -> None:
        here.write(b"bye")
        here.close()
        here.write(b"too late")

    here, there = play(scene)
    assert [what for _, what in there.heard] == [b"bye", "eof", "lost"]
    assert [what for _, what in here.heard] == ["lost"]


def test_a_cut_loses_what_is_on_the_way_at_both_ends() -> None:
    def scene(here: Wire, there: Wire) -> None:
        here.write(b"gone")
        there.write(b"gone")
        here.sever()

    for ear in play(scene):
        assert [what for _, what in ear.heard] == ["ConnectionResetError"]


@pytest.mark.parametrize("allowed", [0, 1, 4])
def test_a_connection_that_is_struck_breaks_after_so_many_bytes(allowed: int) -> None:
    def scene(here: Wire, there: Wire) -> None:
        there.drop_after_bytes = allowed
        here.write(b"abcdef")

    _, there = play(scene)
    assert b"".join(what for _, what in there.heard if isinstance(what, bytes)) == b"abcdef"[:allowed]
    assert there.heard[-1][1] == "ConnectionResetError"


def test_a_process_that_died_is_heard_to_its_last_byte_and_hears_nothing() -> None:
    def scene(here: Wire, there: Wire) -> None:
        here.write(b"last words")
        there.write(b"reply")
        here.deafen()
        here.write(b"from the grave")

    here, there = play(scene)
    assert [what for _, what in there.heard] == [b"last words", "eof", "lost"]
    assert here.heard == []


def test_lost_packets_end_nothing() -> None:
    def scene(here: Wire, there: Wire) -> None:
        here.lose = there.lose = True
        here.write(b"into the void")

    here, there = play(scene)
    assert here.heard == there.heard == []


def test_who_stops_reading_gets_it_later() -> None:
    def scene(here: Wire, there: Wire) -> None:
        there.pause_reading()
        here.write(b"wait")
        asyncio.get_running_loop().call_later(3, there.resume_reading)

    _, there = play(scene)
    assert there.heard == [(3.0, b"wait")]
