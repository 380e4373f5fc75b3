"""The collector's thresholds during a run, and after it."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkmail.clock import Clock
from bulkmail.engine.collection import THRESHOLDS, seldom_collecting
from bulkmail.engine.exchange import Exchange
from bulkmail.engine.lane import Lane
from bulkmail.engine.pool import Pool
from bulkmail.native.conveyor import Dispenser
from bulkmail.net.connection import Connection
from tests.engine.scene import Internet, addresses, run, send
from tests.simulation.playing import play


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield (700, 10, 10)
    gc.set_threshold(*before)


def test_the_thresholds_are_back_when_the_last_of_two_runs_has_ended(thresholds: tuple[int, int, int]) -> None:
    first, second = seldom_collecting(), seldom_collecting()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() == THRESHOLDS
    second.__exit__(None, None, None)
    assert gc.get_threshold() == thresholds


@pytest.mark.parametrize("own", [(50_000, 5, 20), (0, 10, 10)])
def test_what_the_program_has_set_wider_stays(own: tuple[int, int, int]) -> None:
    gc.set_threshold(*own)
    with seldom_collecting():
        assert gc.get_threshold() == own
    assert gc.get_threshold() == own


def test_a_run_has_them(tmp_path: Path, thresholds: tuple[int, int, int]) -> None:
    seen = []

    async def scene() -> None:
        async with Internet() as internet:

            def behave(*_: object) -> None:
                seen.append(gc.get_threshold())

            await internet.exchanger("mx.shop.example", behave, "shop.example")
            await send(internet.campaign(tmp_path, addresses(1)), tmp_path / "state")

    run(scene())
    assert set(seen) == {THRESHOLDS}
    assert gc.get_threshold() == thresholds


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_what_belongs_to_an_idle_site_goes_without_the_collector(tmp_path: Path) -> None:
    """Pools and their dispensers knew each other: a look at all there was after 18,000 sites took 0.8 s."""
    rows = [f"a{number}@own-{number}.test" for number in range(40)]
    rows += [f"b{number}@small-1.test" for number in range(3)]
    kinds = (Lane, Exchange, Pool, Dispenser, Connection)
    left: list[Counter[type]] = []

    def look() -> None:
        left.append(Counter(type(one) for one in gc.get_objects() if type(one) in kinds))

    def act(_: Clock) -> None:
        asyncio.get_running_loop().call_later(1.0, look)
        asyncio.get_running_loop().call_later(900.0, look)

    played = play(tmp_path, rows, act=act, limits={"default": {"messages": "6/h"}})
    assert played.summary.delivered == 43
    then, later = left
    # A closed connection may be in the hands of whoever waits for the next.
    assert all(then[kind] > 30 for kind in kinds)
    assert all(later[kind] <= 2 for kind in kinds)
