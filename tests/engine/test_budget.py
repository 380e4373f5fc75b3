"""Who gives way to whom where all connections of a process are taken."""

from typing import Any

import pytest

from bulkmail.engine.budget import LATE_SECONDS, PATIENCE_SECONDS, PATIENCE_TIMES, Budget, Wait


class Holder:
    """A pool, as far as this goes."""

    def __init__(self, waits: list[Wait]) -> None:
        self._waits = waits

    def late(self, now: float) -> list[Wait]:
        return [wait for wait in self._waits if wait.seconds >= LATE_SECONDS]

    def go_on(self) -> None:
        pass


class Scene:
    """Ten connections, all of them kept waiting, some of them longer than others, and a pool that would have one."""

    def __init__(self, waits: list[float]) -> None:
        self.ended: list[float] = []
        self.budget = Budget(len(waits))
        self.budget.open = len(waits)
        holder: Any = Holder([Wait(seconds, self.ended.append) for seconds in waits])
        without: Any = Holder([])
        self.budget.holders[holder] = None
        self.budget.line.join(without)


def test_the_slowest_of_too_many_give_way_where_others_are_quick() -> None:
    scene = Scene([0.1] * 3 + [PATIENCE_SECONDS + number for number in range(7)])
    for _ in range(20):
        scene.budget.answered(0.02)
    scene.budget.relieve(0.0)
    # Five of the seven have room beside the others.
    assert scene.ended == [PATIENCE_SECONDS + 6, PATIENCE_SECONDS + 5]


@pytest.mark.parametrize("usual", [1.0, 5.0])
def test_nobody_gives_way_for_being_as_slow_as_everybody(usual: float) -> None:
    """An overloaded machine or link makes every host late: thousands of them were put off as if they were tarpits."""
    scene = Scene([usual * PATIENCE_TIMES - 0.1] * 10)
    for _ in range(20):
        scene.budget.answered(usual)
    scene.budget.relieve(0.0)
    assert scene.ended == []


def test_a_few_slow_answers_do_not_make_tarpits_welcome() -> None:
    scene = Scene([PATIENCE_SECONDS] * 10)
    for number in range(64):
        scene.budget.answered(60.0 if number % 3 == 0 else 0.05)
    scene.budget.relieve(0.0)
    assert len(scene.ended) == 5
