"""Count what became of the recipients of a run, for the summary, the live display and `Engine.statistics`."""

from collections import Counter

from msgspec import Struct

from bulkmail.engine.lane import LaneStatistics
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Disposition, Reason, Summary

# What is said while a full disk is waited for.
DISK_FULL = "paused: disk full"
# Sites that are counted one by one; when there are more, the half of them that most was, or waits, at.
MOST_SITES = 4000


class SiteCount(Struct):
    """Dispositions at one site, this process only."""

    delivered: int = 0
    deferred: int = 0
    bounced: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """The more, the more it is worth a line."""
        return self.deferred, self.delivered + self.bounced


class Snapshot(Struct, frozen=True, kw_only=True):
    """How a run stands at one moment; `open` recipients are still to be tried.

    `lanes` are the busiest of `lane_count`, those first. `sites` has not all of them where `more_sites`.
    """

    summary: Summary
    open: int
    phase: str
    rate_per_second: float
    lanes: tuple[LaneStatistics, ...]
    lane_count: int
    sites: dict[str, SiteCount]
    problem: str
    more_sites: bool = False


class Statistics:
    """Counters of one run: totals since its beginning, rates since this process took it up.

    `sites` are at most `most_sites`, those with little mail are forgotten; then `more_sites` is True.
    """

    def __init__(self, campaign: Campaign, run: str, *, now: float, most_sites: int = MOST_SITES) -> None:
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
        self.more_sites = False
        self._most_sites = most_sites
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
            if len(self.sites) >= self._most_sites:
                self._forget_sites()
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

    def _forget_sites(self) -> None:
        """Keep the half where most waits, and of the others those with most mail."""
        names = sorted(self.sites, key=lambda site: self.sites[site].rank, reverse=True)
        self.sites = {site: self.sites[site] for site in names[: self._most_sites // 2]}
        self.more_sites = True

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
