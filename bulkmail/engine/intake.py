"""Take recipients in: reject, drop duplicates and suppressed ones (all recorded), group by destination, store chunks.

One transaction per INGEST_ROWS rows of the sources holds their chunks and the count of rows read, so an interrupted
intake goes on behind the last one. Memory is bounded by INGEST_ROWS, and 64 bits a recipient to know duplicates by.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor

from bulkmail.address import AddressError, comparison_key, parse_address, wire_address
from bulkmail.clock import Clock, rfc3339
from bulkmail.content.errors import ContentError
from bulkmail.content.program import Program
from bulkmail.engine.statistics import DISK_FULL, Statistics
from bulkmail.engine.timing import Timing
from bulkmail.errors import DiskFull
from bulkmail.events.log import EventLog
from bulkmail.model.delivery import Disposition, Event, Reason
from bulkmail.model.recipient import PlainBatch, Recipient, RejectedRow
from bulkmail.native.hashset import AddressSet
from bulkmail.native.rows import group
from bulkmail.store.chunks import HELD_SECONDS, NewChunk
from bulkmail.store.runs import IntakeProgress, Run
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppressions

INGEST_ROWS = 50_000
# How often a full disk is tried again.
FULL_SECONDS = 1.0
CHUNK_RECIPIENTS = 1_000
# A destination with fewer recipients in a batch shares chunks with others.
OWN_CHUNK_RECIPIENTS = 50

Row = Recipient | RejectedRow
Batch = PlainBatch | Sequence[Row]
Groups = dict[str, tuple[list[str], list[bytes]]]


class Intake:
    """One run's intake; `take` is called with rows in order of the sources, `finish` after the last.

    `publish` gets the events of rejected, duplicate and suppressed rows once they are durable.
    """

    def __init__(
        self,
        store: Store,
        run: Run,
        program: Program,
        suppressions: Suppressions,
        event_log: EventLog,
        statistics: Statistics,
        *,
        timing: Timing,
        clock: Clock,
        publish: Callable[[Sequence[Event]], None],
    ) -> None:
        self._store = store
        self._run = run
        self._program = program
        self._suppressions = suppressions
        self._event_log = event_log
        self._statistics = statistics
        self._timing = timing
        self._clock = clock
        self._seen = AddressSet()
        self._rows = 0
        self._since_ingest = 0
        self._groups: defaultdict[tuple[str, float], Groups] = defaultdict(dict)
        self._chunks: list[NewChunk] = []
        self._events: list[Event] = []
        self._logged: list[Event] = []
        self._publish = publish
        self._durable: list[Event] = []

    async def run(
        self, batches: AsyncIterator[Batch], thread: Executor, *, limit: int | None, stop: Callable[[], bool]
    ) -> bool:
        """Take all rows in; False where `stop` said so before the end. Raises CampaignError, StateError.

        A full disk is waited for until `stop` says otherwise.
        """
        async for batch in batches:
            if limit is not None and len(batch) > limit - self._rows:
                batch = _first(batch, limit - self._rows)
            await self._stored(thread, stop, self.take, batch)
            if stop():
                await self._stored(thread, stop, self.finish)
                return False
            if limit is not None and self._rows >= limit:
                break
        await self._stored(thread, stop, self.finish)
        return True

    def take(self, batch: Batch) -> None:
        """Take some rows in. Rows that an earlier intake of this run stored only mark their addresses as seen."""
        if isinstance(batch, PlainBatch):
            self._take_plain(batch)
        else:
            self._take(batch)
        fresh = self._rows - max(self._run.watermark, self._statistics.rows)
        if fresh > 0:
            self._statistics.rows += fresh
            self._since_ingest += fresh
        if self._since_ingest >= INGEST_ROWS:
            self._ingest()

    def finish(self) -> None:
        """Store what is left."""
        self._ingest()

    def _take(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._rows += 1
            replayed = self._rows <= self._run.watermark
            if isinstance(row, RejectedRow):
                if not replayed:
                    self._reject(row.address, f"{row.source}:{row.line}: {row.reason}")
                continue
            try:
                address = parse_address(row.address)
                problem = self._program.problem(row.fields)
                key = comparison_key(address)
                due = self._timing.due(row.fields, key.encode())
            except (AddressError, ContentError) as error:
                problem = str(error)
            if problem is not None:
                if not replayed:
                    self._reject(row.address, f"{row.source}:{row.line}: {problem}")
                continue
            if not self._seen.add(key.encode()):
                if not replayed:
                    self._statistics.duplicates += 1
                    self._note("duplicate", row.address, f"{row.source}:{row.line}: the address stands further up")
                continue
            if replayed:
                continue
            list_name = row.list or ""
            if self._suppressions.contains(key, row.list):
                self._suppressed(wire_address(address))
                continue
            if self._program.send_at is not None:
                due = max(due, self._program.send_time(row.fields) + (HELD_SECONDS if due >= HELD_SECONDS else 0.0))
            addresses, rows_kept = self._groups[list_name, due].setdefault(address.domain, ([], []))
            addresses.append(wire_address(address))
            rows_kept.append(self._program.encode_row(row.fields))

    def _take_plain(self, batch: PlainBatch) -> None:
        """The same for rows that are good beyond doubt."""
        behind = self._run.watermark - self._rows
        if 0 < behind < len(batch):
            replayed, batch = batch.split(behind)
            self._take_plain(replayed)
        self._rows += len(batch)
        wanted = self._seen.add_many(batch.keys)
        if self._rows > self._run.watermark:
            if not all(wanted):
                for position, fresh in enumerate(wanted):
                    if not fresh:
                        where = f"{batch.source}:{batch.lines[position]}"
                        self._statistics.duplicates += 1
                        self._note("duplicate", batch.addresses[position], f"{where}: the address stands further up")
            suppressed = self._suppressions.contains_many(batch.keys, batch.list)
            if any(suppressed):
                for position, unwanted in enumerate(suppressed):
                    if unwanted and wanted[position]:
                        wanted[position] = False
                        self._suppressed(batch.addresses[position])
            due = self._timing.common
            if self._timing.has_canary:
                first = [self._timing.goes_first(key) for key in batch.keys]
                later = [fresh and not ahead for fresh, ahead in zip(wanted, first, strict=True)]
                group(batch.addresses, batch.rows, later, self._groups[batch.list or "", due + HELD_SECONDS])
                wanted = [fresh and ahead for fresh, ahead in zip(wanted, first, strict=True)]
            group(batch.addresses, batch.rows, wanted, self._groups[batch.list or "", due])

    async def _stored(
        self, thread: Executor, stop: Callable[[], bool], function: Callable[..., None], *arguments: object
    ) -> None:
        """Call it on the thread; what the disk had no room for is stored when there is some."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(thread, function, *arguments)
        except DiskFull:
            self._statistics.problem = DISK_FULL
            while True:
                await asyncio.sleep(FULL_SECONDS)
                try:
                    await loop.run_in_executor(thread, self.finish)
                    break
                except DiskFull:
                    if stop():
                        raise
            self._statistics.problem = ""
        self._publish_durable()

    def _publish_durable(self) -> None:
        if self._durable:
            events, self._durable = self._durable, []
            self._publish(events)

    def _suppressed(self, address: str) -> None:
        self._statistics.suppressed_at_intake += 1
        self._note("suppressed", address, Reason.SUPPRESSED.label, Disposition.SUPPRESSED.label)

    def _reject(self, address: str, reason: str) -> None:
        self._statistics.rejected += 1
        self._note("rejected", address, reason)

    def _note(self, event: str, address: str, reason: str, disposition: str | None = None) -> None:
        self._events.append(
            Event(
                time=rfc3339(self._clock.time()),
                event=event,
                run=self._run.id,
                recipient=address,
                disposition=disposition,
                reason=reason,
            )
        )

    def _ingest(self) -> None:
        """Store what has been gathered. Where the disk is full it is kept, and the next call goes on with it."""
        self._chunks += build_chunks(self._groups)
        self._groups.clear()
        self._since_ingest = 0
        self._event_log.append(self._events)
        self._logged += self._events
        self._events = []
        self._event_log.sync()
        statistics = self._statistics
        self._store.ingest(
            self._run.number,
            self._chunks,
            IntakeProgress(
                rows=statistics.rows,
                rejected=statistics.rejected,
                duplicates=statistics.duplicates,
                suppressed=statistics.suppressed_at_intake,
                watermark=self._rows,
                events_offset=self._event_log.offset,
            ),
        )
        statistics.totals[Disposition.OPEN] += sum(len(chunk.addresses) for chunk in self._chunks)
        self._durable += self._logged
        self._chunks, self._logged = [], []


def build_chunks(groups: Mapping[tuple[str, float], Groups]) -> list[NewChunk]:
    """Chunks of at most CHUNK_RECIPIENTS, by list, due time and domain; small groups of these share mixed chunks.

    Thousands of domains with a few recipients each would otherwise be thousands of chunks.
    """
    chunks: list[NewChunk] = []
    for (list_name, due), domains in sorted(groups.items()):
        tail: tuple[list[str], list[bytes]] = ([], [])
        for domain, (addresses, rows) in sorted(domains.items()):
            if len(addresses) < OWN_CHUNK_RECIPIENTS:
                tail[0].extend(addresses)
                tail[1].extend(rows)
            else:
                chunks.extend(_cut(domain, list_name, due, addresses, rows))
        chunks.extend(_cut("", list_name, due, *tail))
    return chunks


def _cut(destination: str, list_name: str, due: float, addresses: list[str], rows: list[bytes]) -> list[NewChunk]:
    return [
        NewChunk(
            destination=destination,
            list_name=list_name or None,
            addresses=addresses[start : start + CHUNK_RECIPIENTS],
            rows=rows[start : start + CHUNK_RECIPIENTS],
            due=due,
        )
        for start in range(0, len(addresses), CHUNK_RECIPIENTS)
    ]


def _first(batch: Batch, count: int) -> Batch:
    return batch.split(count)[0] if isinstance(batch, PlainBatch) else batch[:count]
