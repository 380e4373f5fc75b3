"""Post events to the receivers that a campaign names: signed, in batches, again until they are confirmed.

The log is the queue: what a receiver has is a place in it, kept durably after each confirmed batch. So a receiver that
is slow or dead costs neither memory nor disk, and nothing is lost by a restart; a batch that was confirmed in the
moment of a crash is posted again, under the same id where no more was added to it.
"""

import asyncio
import hashlib
import hmac
import re
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from bulkmail.clock import Clock
from bulkmail.config.secrets import Target
from bulkmail.errors import BulkmailError
from bulkmail.events.batches import Batch, read_batch
from bulkmail.events.places import PlaceFile, Places
from bulkmail.http.client import HttpClient
from bulkmail.http.errors import HttpError
from bulkmail.http.post import post
from bulkmail.store.directory import EVENTS

POST_SECONDS = 15.0
POLL_SECONDS = 0.25
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 600.0
# Where the state itself cannot be read or written, as on a full disk.
TROUBLE_PAUSE_SECONDS = 10.0
ELSEWHERE = "another process posts to it"
SIGNATURE = "Bulkmail-Signature"
TIMESTAMP = "Bulkmail-Timestamp"
DELIVERY = "Bulkmail-Delivery"


class Progress(Struct, kw_only=True):
    """What was done for one receiver. `waiting_bytes` of the logs it has not got yet; `problem` says why not."""

    url: str
    events: int = 0
    requests: int = 0
    waiting_bytes: int = 0
    problem: str = ""
    retry_at: float = 0.0

    @property
    def elsewhere(self) -> bool:
        """Another process posts to it: nothing is amiss."""
        return self.problem == ELSEWHERE


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """`v1=` and HMAC-SHA256, in hex, of the timestamp, a full stop and the body."""
    return "v1=" + hmac.digest(secret, timestamp.encode() + b"." + body, "sha256").hex()


def pause_seconds(failures: int) -> float:
    """How long a receiver is left alone after so many failures in a row."""
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20))


class Pusher:
    """Brings one receiver up to date with the logs of a campaign; of one event loop.

    `eager`: what failed for another process before is tried at once.
    """

    def __init__(
        self,
        directory: Path,
        campaign: str,
        target: Target,
        *,
        clock: Clock,
        context: ssl.SSLContext | None = None,
        eager: bool = False,
    ) -> None:
        self._eager = eager
        self._events = directory / EVENTS
        self._log_name = re.compile(rf"{re.escape(campaign)}-(\d{{1,9}})(?:\.feedback)?\.ndjson")
        self._target = target
        self._hook = target.hook
        self._clock = clock
        self._file = PlaceFile(self._events, campaign, target.hook.url)
        self._places: Places | None = None
        self._client = HttpClient(_addresses, allow_private=target.hook.allow_private, context=context, connections=1)
        self.progress = Progress(url=target.hook.url)

    async def close(self) -> None:
        self._file.release()
        await self._client.close()

    async def push(self) -> bool:
        """Post one batch, if there is one and the receiver may be asked; whether anything was confirmed."""
        if not self._file.hold():
            self.progress.problem = ELSEWHERE
            return False
        places = self._places
        if places is None:
            places = self._places = self._file.read() or self._begun()
            self._tell()
        if places.retry_at > self._clock.time() and not self._eager:
            return False
        for path in self._logs():
            start = places.logs.get(path.name, 0)
            batch = read_batch(path, start, limit=self._hook.batch, wanted=self._hook.events)
            if batch.end == start:
                continue
            if batch.lines and not await self._post(path.name, start, batch):
                return False
            places.logs[path.name] = batch.end
            if batch.lines:
                places.failures, places.retry_at, places.problem = 0, 0.0, ""
                self.progress.events += len(batch.lines)
                self.progress.requests += 1
            self._file.write(places)
            self._tell()
            return True
        return False

    async def push_all(self) -> None:
        """All that is there now, or until the receiver fails."""
        while await self.push():
            pass
        self._tell()

    async def follow(self, stop: asyncio.Event) -> None:
        """All that is there and comes, until `stop`; then what is left, once."""
        while not stop.is_set():
            if not await self.push():
                try:
                    await asyncio.wait_for(stop.wait(), POLL_SECONDS)
                except TimeoutError:
                    continue
        await self.push_all()

    # Beneath.

    def _logs(self) -> list[Path]:
        """Oldest run first; what came back of one after what was sent."""
        found = [(match, path) for path in self._events.iterdir() if (match := self._log_name.fullmatch(path.name))]
        return [path for match, path in sorted(found, key=lambda each: (int(each[0][1]), len(each[1].name)))]

    def _begun(self) -> Places:
        """A receiver that is new hears of the latest run from its beginning, and nothing of those before."""
        logs = self._logs()
        runs = [int(path.name.partition(".")[0].rpartition("-")[2]) for path in logs]
        earlier = [path for run, path in zip(runs, logs, strict=True) if run != max(runs)]
        return Places(url=self._hook.url, logs={path.name: path.stat().st_size for path in earlier})

    async def _post(self, log: str, start: int, batch: Batch) -> bool:
        assert self._places is not None
        places = self._places
        delivery = hashlib.sha256(f"{self._file.id} {log} {start} {batch.end}".encode()).hexdigest()[:32]
        body = b'{"delivery":"%s","events":[%s]}' % (delivery.encode(), b",".join(batch.lines))
        timestamp = str(int(self._clock.time()))
        headers = {
            "Content-Type": "application/json",
            DELIVERY: delivery,
            TIMESTAMP: timestamp,
            SIGNATURE: signature(self._target.secret, timestamp, body),
        }
        try:
            await post(self._client, self._hook.url, body, headers, timeout_seconds=POST_SECONDS)
        except HttpError as error:
            self._eager = False
            places.failures += 1
            places.retry_at = self._clock.time() + pause_seconds(places.failures)
            places.problem = str(error)
            self._file.write(places)
            self._tell()
            return False
        return True

    def _tell(self) -> None:
        places, progress = self._places, self.progress
        if places is not None:
            sizes = ((path.name, path.stat().st_size) for path in self._logs())
            progress.waiting_bytes = sum(max(0, size - places.logs.get(name, 0)) for name, size in sizes)
            progress.problem, progress.retry_at = places.problem, places.retry_at


class WebhookThread:
    """Posts beside a send or a listener, in a thread with a loop of its own: theirs never waits for a receiver.

    `targets` by the names of their campaigns.
    """

    def __init__(
        self,
        directory: Path,
        targets: Mapping[str, Sequence[Target]],
        *,
        clock: Clock,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._pushers = [
            Pusher(directory, campaign, target, clock=clock, context=context)
            for campaign, several in targets.items()
            for target in several
        ]
        self.progress = tuple(pusher.progress for pusher in self._pushers)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._grace_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="bulkmail-webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self, grace_seconds: float) -> None:
        """Receivers get so long to take the rest; then the thread ends. Blocks; not for a loop."""
        self._grace_seconds = grace_seconds
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        try:
            tasks = [asyncio.create_task(_kept_going(pusher, self._stop)) for pusher in self._pushers]
            await self._stop.wait()
            _, late = await asyncio.wait(tasks, timeout=self._grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for pusher in self._pushers:
                await pusher.close()


async def _kept_going(pusher: Pusher, stop: asyncio.Event) -> None:
    """What goes wrong here is told, and delays the posting, never the send or the listener."""
    while True:
        try:
            await pusher.follow(stop)
            return
        except (BulkmailError, OSError) as error:
            pusher.progress.problem = str(error)
        except Exception as error:
            pusher.progress.problem = f"a defect of bulkmail: {error!r}"
            return
        if stop.is_set():
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TROUBLE_PAUSE_SECONDS)


async def _addresses(host: str) -> Sequence[str]:
    """As the system looks names up: receivers are often named in /etc/hosts."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))
