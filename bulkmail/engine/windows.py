"""The windows of a run's sites: grown in memory, lost for good in the state directory."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from bulkmail.engine.recorder import Recorder
from bulkmail.errors import DiskFull
from bulkmail.model.delivery import Reason, Stage
from bulkmail.policy.route import Site
from bulkmail.policy.window import Window
from bulkmail.store.store import Store


class Windows:
    """One `Window` a site, shared by its lanes. `on_crash` is told where the state directory failed."""

    def __init__(
        self, store: Store, recorder: Recorder, store_thread: Executor, *, on_crash: Callable[[BaseException], None]
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._store_thread = store_thread
        self._on_crash = on_crash
        self._anomalies = store.anomalies()
        self._windows: dict[str, Window] = {}

    def of(self, site: Site, most: int) -> Window:
        """The site's window as far as it was grown, of `most` at most; with what an earlier run has learned of it."""
        if most == 1:
            return Window()
        window = self._windows.get(site.name)
        if window is None:
            window = self._windows[site.name] = Window(most, anomaly=self._anomalies.get(site.name, ""))
            window.on_anomaly = lambda what: self._lost(site.name, what)
        return window

    def _lost(self, site: str, what: str) -> None:
        explanation = f"one transaction at a time from now on: {what}"
        self._recorder.lane_event(
            reason=Reason.PROTOCOL, stage=Stage.NONE, reply=None, explanation=explanation, site=site
        )
        self._anomalies[site] = what
        kept = asyncio.get_running_loop().run_in_executor(self._store_thread, self._store.keep_anomaly, site, what)
        kept.add_done_callback(self._kept)

    def _kept(self, done: asyncio.Future[None]) -> None:
        # On a full disk it is learned again by the next run.
        if not done.cancelled() and (error := done.exception()) is not None and not isinstance(error, DiskFull):
            self._on_crash(error)
