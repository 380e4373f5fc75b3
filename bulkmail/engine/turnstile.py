"""Let in only so many at once of those that want to begin something, and hold nobody back for the slow.

What begins together comes back together: hundreds of connections opened at one moment bring hundreds of TLS handshakes
at another, a millisecond each with what belongs to it, and nothing else is done meanwhile.
"""

import asyncio
from collections import deque


class Turnstile:
    """`most` may be inside at once, in the order that they came; who stays for `seconds` is not counted any more.

    It is of one loop.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> "Admission":
        """Wait to be let in; who is over with it leaves."""
        loop = asyncio.get_running_loop()
        if self._inside < self._most:
            self._inside += 1
        else:
            turn = loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():
                    self.release()
                raise
        return Admission(self, loop, self._seconds)

    def release(self) -> None:
        """There is one less inside."""
        self._inside -= 1
        while self._waiting and self._inside < self._most:
            turn = self._waiting.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)


class Admission:
    """Of one that is inside."""

    __slots__ = ("_timer", "_turnstile")

    def __init__(self, turnstile: Turnstile, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._turnstile: Turnstile | None = turnstile
        self._timer = loop.call_later(seconds, self.leave)

    def leave(self) -> None:
        """Let the next one in, if that has not happened yet."""
        if self._turnstile is not None:
            self._timer.cancel()
            self._turnstile.release()
            self._turnstile = None
