"""Record that a message is about to be sent whole, and where that is wanted, wait until the disk has the record."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from bulkmail.clock import Clock
from bulkmail.native.message import Message
from bulkmail.store.journal import Journal


class Intents:
    """The one writer of intents, but for `native.deliveries`. With `synced`, each must outlive a power failure.

    `on_crash` is called where the disk refuses that.
    """

    def __init__(self, journal: Journal, *, clock: Clock, sync_thread: Executor, synced: bool) -> None:
        self._journal = journal
        self._clock = clock
        self._sync_thread = sync_thread
        self._synced = synced
        self._unsynced: list[Callable[[], None]] = []
        self._sync: asyncio.Task[None] | None = None
        self.on_crash: Callable[[BaseException], None] = lambda error: None

    @property
    def simple(self) -> bool:
        """Whether a record in memory is all that an intent needs."""
        return self._journal.mapped and not self._synced

    def record(self, messages: Sequence[Message], written: Callable[[], None]) -> bool:
        """The last bytes of these messages are about to be written (what makes a doubt known after a crash).

        True where the disk has to have the record first: `written` is called when it has. Raises DiskFull, StateError.
        """
        now = self._clock.time()
        for message in messages:
            self._journal.intent(message.chunk.number, message.index, message.attempt, now)
        self._journal.flush()
        if not self._synced:
            return False
        self._unsynced.append(written)
        if self._sync is None:
            self._sync = asyncio.get_running_loop().create_task(self._sync_together())
            self._sync.add_done_callback(self._ended)
        return True

    async def _sync_together(self) -> None:
        """One sync for all that came while the one before was under way."""
        loop = asyncio.get_running_loop()
        try:
            while self._unsynced:
                written, self._unsynced = self._unsynced, []
                await loop.run_in_executor(self._sync_thread, self._journal.sync)
                for call in written:
                    call()
        finally:
            # Here, and not when the loop comes to say that the task is done: who asks in between begins another.
            self._sync = None

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.on_crash(error)
