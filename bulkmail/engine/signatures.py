"""Have batches of messages signed on threads of their own; they come back on the event loop."""

import asyncio
import threading
from collections.abc import Callable
from time import thread_time

from bulkmail.dkim.signing import Signer
from bulkmail.engine.meter import CpuMeter
from bulkmail.native.crew import Crew
from bulkmail.native.signing import Batch


class SigningThreads:
    """Signs off the loop: threads do all that needs no interpreter without it, the loop puts the results together.

    The threads begin with the first batch.
    """

    def __init__(self, signer: Signer, *, threads: int, meter: CpuMeter) -> None:
        self._signer = signer
        self._threads = threads
        self._meter = meter
        self._crew: Crew | None = None
        self._under_way: dict[Batch, Callable[[list[bytes] | Exception], None]] = {}

    def sign(self, messages: list[bytes], then: Callable[[list[bytes] | Exception], None], *, now: int) -> None:
        """`then` is called on the loop with the signed messages, in order, or with what went wrong.

        Wants keys; `now` is Unix seconds.
        """
        crew = self._crew or self._begin()
        batch = self._signer.prepare(messages, now=now)
        self._under_way[batch] = then
        crew.submit(batch)

    def close(self) -> None:
        """End the threads. What is under way is lost."""
        if self._crew is not None:
            asyncio.get_running_loop().remove_reader(self._crew.fileno())
            self._crew.close()
            self._crew = None

    def _begin(self) -> Crew:
        self._signer.go_without_interpreter()
        self._crew = crew = Crew()
        asyncio.get_running_loop().add_reader(crew.fileno(), self._collect)
        for number in range(self._threads):
            # A process that ends without `close` waits for none of them.
            threading.Thread(target=self._serve, args=(crew,), name=f"bulkmail-signer_{number}", daemon=True).start()
        return crew

    def _serve(self, crew: Crew) -> None:
        while (batch := crew.serve()) is not None:
            began = thread_time()
            try:
                self._signer.complete(batch)
            except Exception as error:
                batch.error = error
            self._meter.signed(thread_time() - began)
            crew.give_back(batch)

    def _collect(self) -> None:
        assert self._crew is not None
        for batch in self._crew.take():
            then = self._under_way.pop(batch)
            self._meter.signed(batch.seconds)
            then(batch.error or self._signer.collect(batch))
