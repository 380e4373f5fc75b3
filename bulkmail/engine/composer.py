"""Compose messages in batches and have threads sign them, ahead of need, into the rings of their exchanges."""

import asyncio
from collections import deque
from collections.abc import Callable
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
from bulkmail.engine.signatures import SigningThreads
from bulkmail.engine.work import ActiveChunk, Work
from bulkmail.native.message import Message

BATCH = 128
# What is composed together, by exchange.
Batch = list[tuple[Exchange, list[Work]]]


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
        self._signing = SigningThreads(signer, threads=threads, meter=meter)
        self._signs = bool(signer.keys)
        # One batch waits for each thread, if it is a full one.
        self._most = 2 * threads if self._signs else threads
        self._busy = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._hungry: deque[Exchange] = deque()
        self._queued: set[Exchange] = set()
        self.on_ready: Callable[[Exchange], None] = lambda exchange: None
        self.on_failure: Callable[[Exchange, ComposeFailure], None] = lambda exchange, failure: None
        self.on_crash: Callable[[BaseException], None] = lambda error: None

    def request(self, exchange: Exchange) -> None:
        """The exchange may need more ready messages."""
        if exchange.composable > 0 and exchange not in self._queued:
            self._queued.add(exchange)
            self._hungry.append(exchange)
        while self._hungry and (self._busy < self._threads or (self._busy < self._most and self._plenty)):
            batch = self._gather()
            if not batch:
                return
            self._busy += 1
            self._settled.clear()
            asyncio.get_running_loop().call_soon(self._make, batch)

    @property
    def _plenty(self) -> bool:
        """Whether there is enough for a full batch, so that none would have been bigger later."""
        return self._hungry[0].composable >= BATCH or len(self._hungry) >= BATCH

    async def close(self) -> None:
        """Wait for the batches under way; the messages they made stay in their rings."""
        await self._settled.wait()
        self._signing.close()

    def _gather(self) -> Batch:
        batch: Batch = []
        room = BATCH
        while self._hungry and room > 0:
            exchange = self._hungry.popleft()
            self._queued.discard(exchange)
            works = exchange.to_compose(room)
            if works:
                room -= len(works)
                batch.append((exchange, works))
            if exchange.composable > 0:
                self._queued.add(exchange)
                self._hungry.append(exchange)
        return batch

    def _make(self, batch: Batch) -> None:
        try:
            composed = self._compose([work for _, works in batch for work in works])
            if not self._signs:
                self._hand_out(batch, composed)
                return
            messages = [message for message in composed if isinstance(message, Message)]
            self._signing.sign(
                [message.data for message in messages],
                lambda signatures: self._signed(batch, composed, messages, signatures),
                now=int(self._clock.time()),
            )
        except Exception as error:
            self._crashed(error)

    def _signed(
        self,
        batch: Batch,
        composed: list[Message | ComposeFailure],
        messages: list[Message],
        signatures: list[bytes] | Exception,
    ) -> None:
        try:
            if isinstance(signatures, Exception):
                raise signatures
            for message, signature in zip(messages, signatures, strict=True):
                message.signature = signature
            self._hand_out(batch, composed)
        except Exception as error:
            self._crashed(error)

    def _crashed(self, error: Exception) -> None:
        self._ended()
        self.on_crash(error)

    def _ended(self) -> None:
        self._busy -= 1
        if not self._busy:
            self._settled.set()

    def _hand_out(self, batch: Batch, composed: list[Message | ComposeFailure]) -> None:
        place = 0
        for exchange, works in batch:
            made = composed[place : place + len(works)]
            place += len(works)
            messages = [result for result in made if isinstance(result, Message)]
            exchange.composed(messages, failed=len(made) - len(messages))
            if len(messages) < len(made):
                for result in made:
                    if isinstance(result, ComposeFailure):
                        self.on_failure(exchange, result)
        self._ended()
        for exchange, _ in batch:
            self.on_ready(exchange)
        for exchange, _ in batch:
            self.request(exchange)

    def compose(self, batch: list[Work]) -> list[Message | ComposeFailure]:
        """Render and sign a batch, here and now."""
        composed = self._compose(batch)
        began = thread_time()
        messages = [message for message in composed if isinstance(message, Message)]
        signatures = self._signer.sign_many([message.data for message in messages], now=int(self._clock.time()))
        for message, signature in zip(messages, signatures, strict=True):
            message.signature = signature
        self._meter.signed(thread_time() - began)
        return composed

    def _compose(self, batch: list[Work]) -> list[Message | ComposeFailure]:
        began = thread_time()
        date = format_datetime(datetime.fromtimestamp(int(self._clock.time()), UTC))
        composed: list[Message | ComposeFailure] = []
        for active, works in groupby(batch, itemgetter(0)):
            composed += self._compose_chunk(active, [index for _, index in works], date)
        self._meter.composed(len(batch), thread_time() - began)
        return composed

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
            return self._program.message(active, index, attempt, address, chunk.rows[index], tokens, date)
        except ContentError as error:
            return ComposeFailure(active, index, str(error))
