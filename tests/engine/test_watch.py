"""Who blocks the event loop is named, and a send does not."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bulkmail.cli.output import out
from bulkmail.cli.spending import print_cpu
from bulkmail.cli.tally import tally
from bulkmail.composition import Send
from bulkmail.config.load import load_campaign
from bulkmail.engine.watch import BLOCKED_SECONDS, Block, LoopWatch
from bulkmail.model.cpu import CpuSpent
from bulkmail.store.view import StoreView
from tests.engine.scene import Internet, addresses, run, write_campaign

ROOT = Path(__file__).parents[2]


def hog(seconds: float) -> None:
    """Work for so long."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(1000))


def test_who_works_for_too_long_and_who_waits_is_named_with_the_cpu_that_it_took() -> None:
    blocks: list[Block] = []

    async def scene() -> None:
        watch = LoopWatch(blocks.append)
        watch.start()
        await asyncio.sleep(0.1)
        hog(0.2)
        await asyncio.sleep(0.1)
        time.sleep(0.2)  # noqa: ASYNC251 - what must not be done
        await asyncio.sleep(0.1)
        watch.close()
        assert watch.blocks >= 2
        assert watch.blocked_seconds >= 0.25

    run(scene())
    working = next(block for block in blocks if " hog < " in block.place)
    assert working.place.startswith("engine/test_watch.py:")
    assert BLOCKED_SECONDS <= working.cpu_seconds <= working.seconds
    waiting = next(block for block in blocks if " < " in block.place and " hog < " not in block.place)
    assert waiting.place.startswith("engine/test_watch.py:")
    assert waiting.cpu_seconds < 0.05 < waiting.seconds
    assert "ms CPU) in engine/test_watch.py:" in str(waiting)


def test_a_loop_that_is_busy_in_short_steps_is_not_blamed() -> None:
    blocks: list[Block] = []

    async def scene() -> None:
        watch = LoopWatch(blocks.append)
        watch.start()
        until = time.thread_time() + 0.3
        while time.thread_time() < until:
            hog(0.005)
            await asyncio.sleep(0)
        watch.close()

    run(scene())
    # What the machine did to it meanwhile is another matter.
    assert not [block for block in blocks if block.cpu_seconds >= BLOCKED_SECONDS]


def test_the_same_place_is_counted_each_time_and_told_once() -> None:
    blocks: list[Block] = []

    async def scene() -> None:
        watch = LoopWatch(blocks.append)
        watch.start()
        for _ in range(3):
            await asyncio.sleep(0.05)
            time.sleep(0.15)  # noqa: ASYNC251 - what must not be done
        await asyncio.sleep(0.05)
        watch.close()
        assert watch.blocks >= 3

    run(scene())
    assert len([block for block in blocks if block.place.startswith("engine/test_watch.py:")]) == 1


def test_nothing_is_left_of_a_watch_that_is_closed() -> None:
    async def scene() -> None:
        before = len(os.listdir("/proc/self/fd"))
        watch = LoopWatch()
        watch.close()
        watch.start()
        assert any(thread.name == "bulkmail-watch" for thread in threading.enumerate())
        watch.close()
        watch.close()
        assert not any(thread.name == "bulkmail-watch" for thread in threading.enumerate())
        assert len(os.listdir("/proc/self/fd")) == before

    run(scene())


def test_a_send_says_who_blocked_its_loop_in_its_events_and_its_report(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = load_campaign(
                internet.campaign(tmp_path, addresses(9), limits={"default": {"messages": "10/s"}})
            )
            async with Send(campaign, tmp_path / "state") as sending:
                sending.subscribe(lambda events: hog(0.15))
                summary = await sending.execute()
        assert summary.delivered == 9

    run(scene())
    with StoreView.open_readonly(tmp_path / "state") as view:
        found = view.latest_run("trial")
        assert found is not None
        tallies, spent = tally(tmp_path / "state", found, view), view.cpu(found.number)
    assert any("engine/test_watch.py:" in place and " hog < " in place for place in tallies.stalls)
    assert spent.blocks >= 1
    assert spent.blocked_seconds >= BLOCKED_SECONDS


def test_the_report_tells_how_often_and_where_and_nothing_where_nothing_was(capsys: pytest.CaptureFixture[str]) -> None:
    print_cpu(out(), CpuSpent(messages=5, blocks=1, blocked_seconds=0.123), ["the loop was blocked in a.py:1 f"])
    told = capsys.readouterr().out
    assert "blocked once, 0.12 s in all:" in told
    assert "  the loop was blocked in a.py:1 f\n" in told
    print_cpu(out(), CpuSpent(messages=5, blocks=2000, blocked_seconds=100.0))
    assert "blocked 2,000 times, 100.00 s in all\n" in capsys.readouterr().out
    print_cpu(out(), CpuSpent(messages=5))
    assert capsys.readouterr().out == ""


def test_a_send_of_thousands_to_fifteen_hundred_sites_never_holds_its_loop_up_for_50_ms(tmp_path: Path) -> None:
    # Names, TLS, greylisting, domains that are not there, intake and folds, all to another process.
    rows = [f"r{n}@own-{n % 1500}.test" for n in range(4000)]
    rows += [f"p{n}@gmail.com" for n in range(500)]
    rows += [f"g{n}@greylisting-{n % 30}.test" for n in range(300)]
    rows += [f"n{n}@nxdomain-{n}.test" for n in range(100)]
    campaign = write_campaign(tmp_path, rows, delivery={"route": "sandbox", "retry": ["1s"], "expire": "5s"})
    for attempt in range(3):
        # Where the machine was slow for a moment, that is not so again; what blocks does it each time.
        summary, pulse = under_observation(campaign, tmp_path / f"state-{attempt}")
        assert summary["delivered"] > 4200
        assert summary["bounced"] >= 100
        assert pulse["beats"] > 1000
        if pulse["turns"][0] < 50.0:
            break
    else:
        pytest.fail(f"CPU milliseconds of the longest turns of the loop: {pulse['turns']}")


def under_observation(campaign: Path, state: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the command says of its send, and what its pulse was."""
    command = ["send", str(campaign), "--state", str(state), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.pulse", *command],
        cwd=ROOT,
        capture_output=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), json.loads(done.stderr.splitlines()[-1])
