"""`bulkmail` as a command, with its event loop's pulse taken: the longest that it did nothing else, in CPU time.

    python -m tests.engine.pulse send campaign.yaml

A timer of a millisecond is run once in each turn of the loop; the CPU that the loop's thread takes from one to the next
is that of one turn, and says the same on a machine that others use. The last line on standard error has what was found.
"""

import asyncio
import json
import sys
import time
from typing import Any

from bulkmail.cli.main import main
from bulkmail.engine.node import Node

BEAT_SECONDS = 0.001


class Pulse:
    """`turns` are the CPU seconds of the longest turns of the loop, longest first."""

    def __init__(self) -> None:
        self.turns: list[float] = []
        self.beats = 0
        self._cpu = 0.0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._cpu = time.thread_time()
        self._handle = self._loop.call_later(BEAT_SECONDS, self._beat)

    def stop(self) -> None:
        self._handle.cancel()

    def _beat(self) -> None:
        now = time.thread_time()
        self.turns = sorted([*self.turns, now - self._cpu], reverse=True)[:10]
        self.beats += 1
        self._cpu = now
        self._handle = self._loop.call_later(BEAT_SECONDS, self._beat)


def measured() -> None:
    pulse = Pulse()
    original = Node.run

    async def run(node: Node, batches: Any) -> Any:
        pulse.start()
        try:
            return await original(node, batches)
        finally:
            pulse.stop()

    Node.run = run  # type: ignore[method-assign]
    try:
        main()
    finally:
        turns = [round(1000 * seconds, 1) for seconds in pulse.turns]
        print(json.dumps({"turns": turns, "beats": pulse.beats}), file=sys.stderr)


if __name__ == "__main__":
    measured()
