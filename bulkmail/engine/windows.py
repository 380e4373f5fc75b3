"""The windows of a run's sites: grown in memory, lost for good in the state directory."""

from collections.abc import Callable, Mapping

from bulkmail.engine.recorder import Recorder
from bulkmail.model.delivery import Reason, Stage
from bulkmail.policy.route import Site
from bulkmail.policy.window import Window

# Sites whose windows are remembered; of more, those that were met first begin at 1 again.
MOST_WINDOWS = 10_000


class Windows:
    """One `Window` a site, shared by its lanes of this process.

    `anomalies` are those known of, by site; `keep(site, what)` is told of another, to be remembered across runs.
    """

    def __init__(self, anomalies: Mapping[str, str], recorder: Recorder, *, keep: Callable[[str, str], None]) -> None:
        self._recorder = recorder
        self._keep = keep
        self._anomalies = dict(anomalies)
        self._windows: dict[str, Window] = {}

    def of(self, site: Site, most: int) -> Window:
        """The site's window as far as it was grown, of `most` at most; with what an earlier run has learned of it."""
        if most == 1:
            return Window()
        window = self._windows.get(site.name)
        if window is None:
            if len(self._windows) >= MOST_WINDOWS:
                del self._windows[next(iter(self._windows))]
            window = self._windows[site.name] = Window(most, anomaly=self._anomalies.get(site.name, ""))
            window.on_anomaly = lambda what: self._lost(site.name, what)
        return window

    def _lost(self, site: str, what: str) -> None:
        explanation = f"one transaction at a time from now on: {what}"
        self._recorder.lane_event(
            reason=Reason.PROTOCOL, stage=Stage.NONE, reply=None, explanation=explanation, site=site
        )
        self._anomalies[site] = what
        self._keep(site, what)

    def lost_elsewhere(self, site: str, what: str) -> None:
        """Another process of the run has met the anomaly, and said so."""
        self._anomalies[site] = what
        window = self._windows.get(site)
        if window is not None:
            window.on_anomaly = lambda what: None
            window.distrust(what)
