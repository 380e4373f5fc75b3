"""Where pools wait for one of a limited number of connections, and are asked for those they have no use for."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkmail.engine.pool import Pool


class Line:
    """Pools in the order they came. `spare` are those that had nothing to send when a connection of theirs was free."""

    __slots__ = ("_spare", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[Pool, None] = {}
        self._spare: dict[Pool, None] = {}

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def join(self, pool: "Pool") -> None:
        """Wait for a connection; whoever has been idle for longest is asked to end one, once."""
        if pool in self._waiting:
            return
        self._waiting[pool] = None
        while self._spare:
            owner = next(iter(self._spare))
            del self._spare[owner]
            if owner.give_up_idle():
                return

    def offer(self, pool: "Pool") -> None:
        """The pool has a connection that it does not need now."""
        self._spare[pool] = None

    def leave(self, pool: "Pool") -> None:
        """The pool has no connection left to offer."""
        self._spare.pop(pool, None)

    def serve(self, free: Callable[[], int]) -> None:
        """Let the first go on while there are `free` connections.

        One that has lost its work meanwhile, or waits for something else, takes none and so leaves it to the next.
        """
        while self._waiting and free() > 0:
            pool = next(iter(self._waiting))
            del self._waiting[pool]
            pool.go_on()
