"""Count what became of the recipients of a run, for the summary, the live display and `Engine.statistics`."""

from collections import Counter

from msgspec import Struct

from bulkmail.engine.lane import LaneStatistics
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Disposition, Reason, Summary


class SiteCount(Struct):
    """Dispositions at one site, this process only."""

    delivered: int = 0
    deferred: int = 0
    bounced: int = 0


class Snapshot(Struct, frozen=True, kw_only=True):
    """How a run stands at one moment; `lanes` are the busiest first, `open` recipients are still to be tried."""

    summary: Summary
    open: int
    phase: str
    rate_per_second: float
    lanes: tuple[LaneStatistics, ...]
    sites: dict[str, SiteCount]
    problem: str


class Statistics:
    """Counters of one run: totals since its beginning, rates since this process took it up."""

    def __init__(self, campaign: Campaign, run: str, *, now: float) -> None:
        self.campaign = campaign.campaign
        self.run = run
        self.phase = "reading recipients"
        self.problem = ""
        self.rows = 0
        self.rejected = 0
        self.duplicates = 0
        self.suppressed_at_intake = 0
        self.totals: Counter[Disposition] = Counter()
        self.sites: dict[str, SiteCount] = {}
        self.reasons: Counter[Reason] = Counter()
        self.delivered_here = 0
        self._began = now
        self._window: list[tuple[float, int]] = [(now, 0)]

    def moved(self, before: Disposition, after: Disposition, site: str, recipients: int = 1) -> None:
        """The disposition of so many recipients changed."""
        self.totals[before] -= recipients
        self.totals[after] += recipients
        count = self.sites.get(site)
        if count is None:
            count = self.sites[site] = SiteCount()
        if after is Disposition.DELIVERED:
            count.delivered += recipients
            self.delivered_here += recipients
        elif after is Disposition.DEFERRED:
            if before is not Disposition.DEFERRED:
                count.deferred += recipients
        elif after in (Disposition.BOUNCED, Disposition.EXPIRED):
            count.bounced += recipients
        if before is Disposition.DEFERRED and after is not Disposition.DEFERRED:
            count.deferred = max(0, count.deferred - recipients)

    def rate_per_second(self, now: float) -> float:
        """Deliveries a second over the last five seconds or so."""
        self._window.append((now, self.delivered_here))
        while len(self._window) > 2 and now - self._window[1][0] > 5:
            self._window.pop(0)
        then, count = self._window[0]
        return (self.delivered_here - count) / (now - then) if now > then else 0.0

    def summary(self, state: str, now: float) -> Summary:
        """The eight outcomes; recipients not tried yet are counted as deferred, for they are not final."""
        seconds = max(now - self._began, 1e-9)
        return Summary(
            campaign=self.campaign,
            run=self.run,
            state=state,
            recipients=self.rows,
            rejected=self.rejected,
            duplicates=self.duplicates,
            suppressed=self.suppressed_at_intake + self.totals[Disposition.SUPPRESSED],
            delivered=self.totals[Disposition.DELIVERED],
            deferred=self.totals[Disposition.DEFERRED] + self.totals[Disposition.OPEN],
            bounced=self.totals[Disposition.BOUNCED],
            expired=self.totals[Disposition.EXPIRED],
            in_doubt=self.totals[Disposition.IN_DOUBT],
            seconds=round(seconds, 3),
            messages_per_second=round(self.delivered_here / seconds, 1),
        )
