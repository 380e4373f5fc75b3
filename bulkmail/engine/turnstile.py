"""Let many through that want to begin something at once, a few in each turn of the event loop.

What begins together comes back together: hundreds of connections opened in one turn bring hundreds of TLS handshakes
in another, and nothing else is done meanwhile.
"""

import asyncio
from collections import deque


class Turnstile:
    """`a_turn` may enter in each turn of the loop, in the order that they came. It is of one loop."""

    def __init__(self, a_turn: int) -> None:
        self._most = a_turn
        self._entered = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a turn with room; none where this one has."""
        if self._entered < self._most:
            self._entered += 1
            if self._entered == 1:
                asyncio.get_running_loop().call_soon(self._next_turn)
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        await place

    def _next_turn(self) -> None:
        self._entered = 0
        while self._waiting and self._entered < self._most:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                self._entered += 1
        if self._entered:
            asyncio.get_running_loop().call_soon(self._next_turn)
