"""Many that begin at once are let in a few at a time."""

import asyncio

from bulkmail.engine.turnstile import Admission, Turnstile
from tests.engine.scene import run

LONG = 3600.0


def test_so_many_are_inside_at_once_in_the_order_that_they_came() -> None:
    """Hundreds of dials in one turn kept the loop for 60 ms, their TLS handshakes, which came back together, 117."""
    entered: list[int] = []
    inside = most = 0

    async def one(turnstile: Turnstile, number: int) -> None:
        nonlocal inside, most
        admission = await turnstile.enter()
        entered.append(number)
        inside += 1
        most = max(most, inside)
        for _ in range(number % 3 + 1):
            await asyncio.sleep(0)
        inside -= 1
        admission.leave()
        admission.leave()

    async def play() -> None:
        turnstile = Turnstile(4, LONG)
        await asyncio.wait_for(asyncio.gather(*(one(turnstile, number) for number in range(50))), 5)
        assert entered == list(range(50)) and most == 4

    run(play())


def test_who_stays_for_long_keeps_nobody_out() -> None:
    async def play() -> None:
        turnstile = Turnstile(2, 0.01)
        slow = [await asyncio.wait_for(turnstile.enter(), 5) for _ in range(6)]
        for admission in slow:
            admission.leave()
        # They were let out already, each once.
        strict = [await turnstile.enter(), await turnstile.enter()]
        third = asyncio.get_running_loop().create_task(turnstile.enter())
        await asyncio.sleep(0)
        assert not third.done()
        for admission in (*strict, await asyncio.wait_for(third, 5)):
            admission.leave()

    run(play())


def test_who_gives_up_takes_no_turn_from_the_others() -> None:
    async def play() -> None:
        turnstile = Turnstile(1, LONG)
        loop = asyncio.get_running_loop()
        first = await turnstile.enter()
        tasks = [loop.create_task(turnstile.enter()) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        first.leave()
        # The second has its turn, and is cancelled before it could take it.
        tasks[1].cancel()
        done = await asyncio.wait_for(asyncio.gather(*tasks[:3], return_exceptions=True), 5)
        assert [type(one) for one in done] == [asyncio.CancelledError, asyncio.CancelledError, Admission]
        assert not tasks[3].done()
        done[2].leave()  # type: ignore[union-attr]
        (await asyncio.wait_for(tasks[3], 5)).leave()

    run(play())
