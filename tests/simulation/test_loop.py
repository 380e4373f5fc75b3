"""The loop of simulations: time jumps, threads take turns, and a standstill is a defect."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from bulkmail.errors import InternalError
from bulkmail.simulation.loop import BEGIN_SECONDS, VirtualClock, VirtualLoop, run


def test_three_days_pass_at_once() -> None:
    clock = VirtualClock()

    async def wait() -> float:
        await asyncio.sleep(3 * 86400)
        return asyncio.get_running_loop().time()

    began = clock.time()
    assert run(VirtualLoop(clock), wait()) == pytest.approx(BEGIN_SECONDS + 3 * 86400)
    assert clock.time() - began == pytest.approx(3 * 86400)


def test_jobs_of_one_executor_are_done_in_order_however_long_each_takes() -> None:
    loop = VirtualLoop(VirtualClock())
    seconds = iter((5.0, 0.0, 1.0))
    loop.job_seconds = lambda function: next(seconds)
    done: list[tuple[str, float]] = []

    async def give() -> None:
        with ThreadPoolExecutor(1) as executor:
            jobs = [
                loop.run_in_executor(executor, lambda name=name: done.append((name, loop.time() - BEGIN_SECONDS)))
                for name in "abc"
            ]
            assert done == []
            await asyncio.gather(*jobs)

    run(loop, give())
    assert done == [("a", 5.0), ("b", 5.0), ("c", 6.0)]


def test_an_error_of_a_job_reaches_who_waits_for_it() -> None:
    async def give() -> None:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)

    run(VirtualLoop(VirtualClock()), give())


def test_a_timeout_ends_what_never_would() -> None:
    async def wait() -> None:
        async with asyncio.timeout(30):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(VirtualLoop(VirtualClock()), wait())


def test_a_standstill_is_said_and_not_waited_for() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(InternalError, match="stands still"):
        run(VirtualLoop(VirtualClock()), wait())


def test_the_wall_clock_may_be_set_while_the_other_goes_on() -> None:
    clock = VirtualClock()
    before, steady = clock.time(), clock.monotonic()
    clock.step(-86400)
    assert clock.time() == before - 86400
    assert clock.monotonic() == steady
