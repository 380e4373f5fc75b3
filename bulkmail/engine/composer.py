"""Compose messages in batches and have threads sign them, ahead of need, into the rings of their exchanges."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import groupby
from operator import itemgetter
from time import thread_time
from typing import cast

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.content.errors import ContentError
from bulkmail.content.identity import Issuer
from bulkmail.content.program import Program
from bulkmail.dkim.signing import Signer
from bulkmail.engine.exchange import Exchange
from bulkmail.engine.meter import CpuMeter
from bulkmail.engine.work import ActiveChunk, Work
from bulkmail.native.message import Message

BATCH = 64


class ComposeFailure(Struct, frozen=True):
    """A row that could not be rendered, found only now."""

    active: ActiveChunk
    index: int
    explanation: str


class Composer:
    """Turns work into ready messages: rows are rendered on the loop, then hashed and signed on a signing thread.

    Rendering holds the GIL, so that a thread for it would only be waited for; signing does without.

    A batch takes from as many exchanges as needed, so that a tail of small sites costs no more than one big one.
    `on_ready(exchange)` is called on the loop when a exchange's ring has got something, `on_failure` for each bad row.
    """

    def __init__(
        self, program: Program, signer: Signer, issuer: Issuer, *, threads: int, clock: Clock, meter: CpuMeter
    ) -> None:
        self._program = program
        self._signer = signer
        self._issuer = issuer
        self._press = program.press(issuer)
        self._clock = clock
        self._meter = meter
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="bulkmail-signer")
        self._signs = bool(signer.keys)
        self._busy = 0
        self._hungry: deque[Exchange] = deque()
        self._queued: set[Exchange] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_ready: Callable[[Exchange], None] = lambda exchange: None
        self.on_failure: Callable[[Exchange, ComposeFailure], None] = lambda exchange, failure: None
        self.on_crash: Callable[[BaseException], None] = lambda error: None

    def request(self, exchange: Exchange) -> None:
        """The exchange may need more ready messages."""
        if exchange.composable > 0 and exchange not in self._queued:
            self._queued.add(exchange)
            self._hungry.append(exchange)
        while self._hungry and self._busy < self._threads:
            batch = self._gather()
            if not batch:
                return
            self._busy += 1
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.on_crash(error)

    async def close(self) -> None:
        """Wait for the batches under way; the messages they made stay in their rings."""
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown()

    def _gather(self) -> list[tuple[Exchange, Work]]:
        batch: list[tuple[Exchange, Work]] = []
        while self._hungry and len(batch) < BATCH:
            exchange = self._hungry.popleft()
            self._queued.discard(exchange)
            for _ in range(min(exchange.composable, BATCH - len(batch))):
                exchange.composing += 1
                batch.append((exchange, exchange.backlog.popleft()))
            if exchange.composable > 0:
                self._queued.add(exchange)
                self._hungry.append(exchange)
        return batch

    async def _run(self, batch: list[tuple[Exchange, Work]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            composed = self._compose([work for _, work in batch])
            if self._signs:
                messages = [message for message in composed if isinstance(message, Message)]
                await loop.run_in_executor(self._pool, self._sign, messages)
        finally:
            self._busy -= 1
        touched: dict[Exchange, None] = {}
        for (exchange, _), result in zip(batch, composed, strict=True):
            if isinstance(result, Message):
                exchange.composed(result)
                touched[exchange] = None
            else:
                exchange.composed(None)
                self.on_failure(exchange, result)
        for exchange in touched:
            self.on_ready(exchange)
        for exchange in touched:
            self.request(exchange)

    def compose(self, batch: list[Work]) -> list[Message | ComposeFailure]:
        """Render and sign a batch, here and now."""
        composed = self._compose(batch)
        if self._signs:
            self._sign([message for message in composed if isinstance(message, Message)])
        return composed

    def _compose(self, batch: list[Work]) -> list[Message | ComposeFailure]:
        began = thread_time()
        date = format_datetime(datetime.fromtimestamp(int(self._clock.time()), UTC))
        composed: list[Message | ComposeFailure] = []
        for active, works in groupby(batch, itemgetter(0)):
            composed += self._compose_chunk(active, [index for _, index in works], date)
        self._meter.composed(len(batch), thread_time() - began)
        return composed

    def _sign(self, messages: list[Message]) -> None:
        """On a signing thread: touches nothing but its messages."""
        began = thread_time()
        whole = [message.data for message in messages]
        for message, data in zip(messages, self._signer.seal(whole, now=int(self._clock.time())), strict=True):
            message.data = data
        self._meter.signed(thread_time() - began)

    def _compose_chunk(self, active: ActiveChunk, indexes: list[int], date: str) -> list[Message | ComposeFailure]:
        chunk = active.chunk
        tried = chunk.outcomes.attempts(indexes)
        if self._press is None:
            return [
                self._compose_one(active, index, attempt + 1, date)
                for index, attempt in zip(indexes, tried, strict=True)
            ]
        word = self._issuer.word(chunk.number)
        made, left = self._press.messages(active, word, chunk.addresses, chunk.rows, indexes, tried, date.encode())
        composed = cast(list[Message | ComposeFailure], made)
        for place in left:
            composed[place] = self._compose_one(active, indexes[place], tried[place] + 1, date)
        return composed

    def _compose_one(self, active: ActiveChunk, index: int, attempt: int, date: str) -> Message | ComposeFailure:
        """The general way, whatever the row and the content."""
        chunk = active.chunk
        tokens = self._issuer.tokens(chunk.number, index)
        address = chunk.addresses[index]
        try:
            rendered = self._program.render(
                address, chunk.rows[index], token=tokens.returning, date=date, link=tokens.link
            )
        except ContentError as error:
            return ComposeFailure(active, index, str(error))
        recipient = address.encode()
        return Message(
            chunk=active,
            index=index,
            attempt=attempt,
            address=address,
            sender=self._program.envelope_sender(tokens.returning).encode(),
            recipient=recipient,
            data=rendered.data,
            message_id=rendered.message_id,
            utf8=not recipient.isascii(),
        )
