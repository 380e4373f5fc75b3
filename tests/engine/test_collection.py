"""The collector's thresholds during a run, and after it."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkmail.engine.collection import THRESHOLDS, seldom_collecting
from tests.engine.scene import Internet, addresses, run, send


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
