"""A run's records with nobody who sends: recorder, syncs and store, over real files."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bulkmail.clock import SystemClock
from bulkmail.engine.recorder import Recorder
from bulkmail.engine.statistics import Statistics
from bulkmail.engine.syncs import Syncs
from bulkmail.engine.work import ActiveChunk
from bulkmail.events.log import EventLog, read_events
from bulkmail.model.campaign import Campaign, Content
from bulkmail.model.delivery import Disposition, Reply, Stage
from bulkmail.store.chunks import NewChunk
from bulkmail.store.runs import IntakeProgress, Run
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppressions


class Records:
    """A recorder and its syncs with a real store, and one chunk of ten recipients."""

    def __init__(self, path: Path, **journal: Any) -> None:
        clock = SystemClock()
        self.path = path
        self.store = Store.open(path, clock=clock, segment_bytes=1 << 16, **journal)
        self.run: Run = self.store.create_run("trial", "", "", b"")
        people = [f"r{n}@shop.example" for n in range(10)]
        progress = IntakeProgress(rows=10, rejected=0, duplicates=0, suppressed=0, watermark=10)
        self.store.ingest(self.run.number, [NewChunk("shop.example", None, people, [b"[]"] * 10)], progress)
        chunk = self.store.claim(self.run.number, "shop.example", clock.time())
        assert chunk is not None
        self.active = ActiveChunk(chunk, jitter=0.0)
        self.active.outstanding = 10
        self.log = EventLog(self.store.events_path(self.run))
        self.suppressions = Suppressions.open(path)
        self.threads = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self.syncs = Syncs(
            run=self.run,
            journal=self.store.journal,
            event_log=self.log,
            suppressions=self.suppressions,
            sync_thread=self.threads[0],
            store_thread=self.threads[1],
        )
        campaign = Campaign(campaign="trial", from_="a@acme.example", subject="s", content=Content(text="body.txt"))
        self.recorder = Recorder(
            run=self.run,
            journal=self.store.journal,
            syncs=self.syncs,
            statistics=Statistics(campaign, self.run.id, now=0.0),
            clock=clock,
            sync_thread=self.threads[0],
        )

    def deliver(self, index: int, disposition: Disposition = Disposition.DELIVERED, **more: Any) -> None:
        more.setdefault("reply", Reply(code=250, text="ok") if disposition is Disposition.DELIVERED else None)
        self.recorder.conclude(self.active, index, disposition, attempt=1, stage=Stage.MESSAGE, **more)

    def told(self) -> list[str | None]:
        return [event.recipient for event in read_events(self.store.events_path(self.run)) if event.event != "run"]

    def close(self) -> None:
        for thread in self.threads:
            thread.shutdown()
        self.suppressions.close()
        self.log.close()
        self.store.close()
