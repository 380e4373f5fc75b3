"""Where a run's CPU time goes: measured while it sends, kept with it, added up over its processes."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bulkmail import Engine
from bulkmail.engine.meter import CpuMeter
from bulkmail.model.cpu import STAGES, CpuSpent
from bulkmail.store.view import StoreView
from tests.engine.scene import Internet, addresses, run, send


def burn(seconds: float) -> None:
    """Take so much CPU time on this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_each_stage_gets_the_time_of_its_thread_and_all_add_up_to_that_of_the_process() -> None:
    async def measure() -> CpuSpent:
        with ThreadPoolExecutor(1) as store, ThreadPoolExecutor(1) as sync, ThreadPoolExecutor(1) as other:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(store, burn, 0.02)  # before it begins: nobody's
            meter = CpuMeter(store, sync)
            process = time.process_time()
            await meter.begin(CpuSpent(signing=1.0, messages=5))
            await loop.run_in_executor(store, burn, 0.04)
            burn(0.01)
            await meter.sending()
            await loop.run_in_executor(store, burn, 0.02)
            await loop.run_in_executor(sync, burn, 0.03)
            await loop.run_in_executor(other, burn, 0.05)
            burn(0.06)
            meter.composed(10, 0.01)
            meter.signed(0.02)
            spent = await meter.spent()
            assert spent.total - 1.0 == pytest.approx(time.process_time() - process, abs=0.004)
            return spent

    spent = asyncio.run(measure())
    assert spent.intake == pytest.approx(0.05, abs=0.008)
    assert spent.store == pytest.approx(0.02, abs=0.005)
    assert spent.recording == pytest.approx(0.03, abs=0.005)
    assert (spent.composing, spent.signing) == (0.01, 1.02)
    assert spent.loop == pytest.approx(0.05, abs=0.01)
    assert spent.rest == pytest.approx(0.03, abs=0.01)
    assert spent.loop_seconds == pytest.approx(0.06, abs=0.01)
    assert spent.messages == 15


def test_a_run_keeps_what_it_took_and_a_second_process_adds_to_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(300), limits={"default": {"messages": "300/s"}})
            async with Engine(tmp_path / "state") as engine:
                delivered = 0
                async for event in engine.send(campaign):
                    delivered += event.disposition == "delivered"
                    if delivered >= 20:
                        engine.stop()
            first = spent(tmp_path / "state")
            assert 20 <= first.messages < 300
            assert all(getattr(first, stage) > 0 for stage in STAGES if stage not in ("signing", "rest")), first
            await send(campaign, tmp_path / "state")
        both = spent(tmp_path / "state")
        assert both.messages >= 300
        # All rows were in: the second had nothing to read but its own place.
        assert first.intake <= both.intake < first.intake + 0.01
        assert both.loop > first.loop and both.total > first.total and both.wall_seconds > first.wall_seconds
        assert 0 < both.loop_share < 1

    run(scene())


def spent(state: Path) -> CpuSpent:
    with StoreView.open_readonly(state) as view:
        return view.cpu(1)
