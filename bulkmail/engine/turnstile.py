"""Let in only so many at once of those that want to begin something, and hold nobody back for the slow.

What begins together comes back together: hundreds of connections opened at one moment bring hundreds of TLS handshakes
at another, a millisecond each with what belongs to it, and nothing else is done meanwhile.
"""

import asyncio


class Turnstile:
    """`most` may be inside at once, in the order that they came; who stays for `seconds` is not counted any more.

    It is of one loop.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._room = asyncio.Semaphore(most)
        self._seconds = seconds

    async def enter(self) -> "Admission":
        """Wait to be let in; who is over with it leaves."""
        await self._room.acquire()
        return Admission(self._room, self._seconds)


class Admission:
    """Of one that is inside."""

    __slots__ = ("_room", "_timer")

    def __init__(self, room: asyncio.Semaphore, seconds: float) -> None:
        self._room: asyncio.Semaphore | None = room
        self._timer = asyncio.get_running_loop().call_later(seconds, self.leave)

    def leave(self) -> None:
        """Let the next one in, if that has not happened yet."""
        if self._room is not None:
            self._timer.cancel()
            self._room.release()
            self._room = None
