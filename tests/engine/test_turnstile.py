"""Many that begin at once begin in several turns of the loop."""

import asyncio

from bulkmail.engine.turnstile import Turnstile
from tests.engine.scene import run


def test_a_few_enter_in_each_turn_in_the_order_that_they_came() -> None:
    """Hundreds of dials in one turn kept the loop for 60 ms, their TLS handshakes, which came back together, 117."""
    entered: list[tuple[int, int]] = []
    turn = 0

    async def one(turnstile: Turnstile, number: int) -> None:
        await turnstile.enter()
        entered.append((turn, number))

    async def play() -> None:
        nonlocal turn
        turnstile = Turnstile(4)
        tasks = [asyncio.get_running_loop().create_task(one(turnstile, number)) for number in range(18)]
        while not all(task.done() for task in tasks):
            turn += 1
            await asyncio.sleep(0)
        assert [number for _, number in entered] == list(range(18))
        turns = [turn for turn, _ in entered]
        assert max(turns.count(turn) for turn in turns) == 4
        # Alone, nobody waits.
        entered.clear()
        await asyncio.wait_for(turnstile.enter(), 5)

    run(play())


def test_who_gives_up_takes_no_place_from_the_others() -> None:
    async def play() -> None:
        turnstile = Turnstile(1)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(turnstile.enter()) for _ in range(6)]
        await asyncio.sleep(0)
        assert [task.done() for task in tasks] == [True] + [False] * 5
        for task in tasks[1:4]:
            task.cancel()
        done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        assert [isinstance(one, asyncio.CancelledError) for one in done] == [False] + [True] * 3 + [False] * 2

    run(play())
