"""Who gets the next connection where their number is limited."""

from bulkmail.engine.line import Line


class FakePool:
    """Takes a connection of `free` when it is let in, unless it has no use for one."""

    def __init__(self, free: list[int], *, uses: bool = True, idle: int = 0) -> None:
        self.free = free
        self.uses = uses
        self.idle = idle
        self.let_in = 0

    def go_on(self) -> None:
        self.let_in += 1
        if self.uses:
            self.free[0] -= 1

    def give_up_idle(self) -> bool:
        self.idle -= 1
        return self.idle >= 0


def line_of(*pools: FakePool) -> Line:
    line = Line()
    for pool in pools:
        line.join(pool)  # type: ignore[arg-type]
    return line


def test_as_many_are_let_in_as_there_are_connections_in_the_order_they_came() -> None:
    free = [2]
    pools = [FakePool(free) for _ in range(4)]
    line = line_of(*pools)
    line.serve(lambda: free[0])
    assert [pool.let_in for pool in pools] == [1, 1, 0, 0]
    assert line
    free[0] = 5
    line.serve(lambda: free[0])
    assert [pool.let_in for pool in pools] == [1, 1, 1, 1]
    assert not line


def test_one_that_has_no_use_for_its_turn_leaves_it_to_the_next() -> None:
    free = [1]
    idler, worker = FakePool(free, uses=False), FakePool(free)
    line_of(idler, worker).serve(lambda: free[0])
    assert worker.let_in == 1


def test_each_that_comes_has_one_idle_connection_ended_and_the_longest_idle_first() -> None:
    line = Line()
    busy_again, first, second = FakePool([0]), FakePool([0], idle=1), FakePool([0], idle=1)
    for owner in (busy_again, first, second):
        line.offer(owner)  # type: ignore[arg-type]
    line.join(FakePool([0]))  # type: ignore[arg-type]
    assert (busy_again.idle, first.idle, second.idle) == (-1, 0, 1)
    line.leave(second)  # type: ignore[arg-type]
    line.join(FakePool([0]))  # type: ignore[arg-type]
    assert second.idle == 1


def test_one_waits_in_a_line_once() -> None:
    free = [0]
    pool = FakePool(free)
    line = line_of(pool, pool)
    free[0] = 2
    line.serve(lambda: free[0])
    assert pool.let_in == 1
