"""When a campaign would be over, which site is the last, and what keeps it from being faster."""

import asyncio
import math
import os
import sqlite3
import tempfile
from array import array
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from bulkmail.clock import Clock, SystemClock, rfc3339
from bulkmail.composition import SendOptions
from bulkmail.engine.statistics import SiteCount, Snapshot
from bulkmail.engine.ways import Ways
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Event, Summary
from bulkmail.simulation.disk import Disk
from bulkmail.simulation.internet import Internet, seeded
from bulkmail.simulation.loop import VirtualClock, VirtualLoop, run
from bulkmail.simulation.sending import SimulatedSend, simulated
from bulkmail.store.directory import DATABASE

# Looked at often in the beginning, when most is sent, and the more rarely the longer it takes.
LEAST_STEP_SECONDS = 0.25
STEPS_A_DOUBLING = 200
SHARES = (0.5, 0.9, 0.99)
SWEEP_SECONDS = 5.0
LARGE_SHARE = 0.01
# Nothing waits in a lane of the site, but recipients do for their next attempt.
RETRY = "retry"
# What waits is on its way: for replies, for connections to be made.
ROUND_TRIPS = "round_trips"
# None of its hosts ever answered, until there was no more time.
UNREACHABLE = "unreachable"
FINAL = frozenset(("delivered", "bounced", "expired", "suppressed", "in_doubt"))


class SiteForecast(Struct, frozen=True, kw_only=True):
    """One site: when its last mail is delivered (`delivered_by`), when its last recipient is final (`final_by`), and
    what kept it from being faster for how long (`limits`, seconds).

    `limit` is the one that did so longest: `messages`, `connections` or `connects` (limits of the campaign or of what
    is known of the provider), `domain` (a rate of one domain), `pace` or `pause` (what the receiver asked for),
    `retry` (waiting for the next attempt), `round_trips`, or `unreachable`.
    """

    site: str
    delivered_by: float
    final_by: float
    delivered: int
    bounced: int
    limit: str
    limits: dict[str, float]


class Forecast(Struct, frozen=True, kw_only=True):
    """A send that did not happen. Times are seconds after `begin`; `shares` of recipients are final by then.

    At `end`, after `seconds`, every recipient is final, the last one delivered after `delivered_by`. `sites` are those
    first whose last delivery is the latest; `tail` is the first of them, `large` the first with a share of the mail.
    """

    summary: Summary
    begin: str
    end: str
    seconds: float
    delivered_by: float
    attempts: int
    peak_per_second: int
    most_connections: int
    shares: dict[str, float]
    tail: SiteForecast | None
    large: SiteForecast | None
    sites: tuple[SiteForecast, ...]


class _Watch:
    """What is noted of a send while it goes on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self.ends = array("d")
        self.attempts = 0
        self.final_by: dict[str, float] = {}
        self.delivered_by: dict[str, float] = {}
        self.limits: dict[str, Counter[str]] = {}
        self._each_second: Counter[int] = Counter()

    @property
    def seconds(self) -> float:
        return self._clock.monotonic() - self._began

    @property
    def peak_per_second(self) -> int:
        return max(self._each_second.values(), default=0)

    def events(self, events: Sequence[Event]) -> None:
        seconds = self.seconds
        for event in events:
            if event.event not in ("attempt", "in_doubt", "suppressed") or event.recipient is None:
                continue
            self.attempts += event.event == "attempt"
            if event.disposition in FINAL:
                self.ends.append(seconds)
                if event.site is not None:
                    self.final_by[event.site] = seconds
                if event.disposition == "delivered":
                    self._each_second[int(seconds)] += 1
                    self.delivered_by[event.site or ""] = seconds

    def look(self, snapshot: Snapshot, step: float) -> None:
        """Charge the last `step` seconds to what limits each site now."""
        busy: dict[str, str] = {}
        for lane in snapshot.lanes:
            if lane.waiting:
                busy[lane.site] = lane.limited_by or busy.get(lane.site) or ROUND_TRIPS
        for site, count in snapshot.sites.items():
            if site and count.deferred and site not in busy:
                busy[site] = RETRY
        for site, limit in busy.items():
            self.limits.setdefault(site, Counter())[limit] += step  # type: ignore[assignment]

    async def follow(self, sending: SimulatedSend) -> None:
        while True:
            step = max(LEAST_STEP_SECONDS, self.seconds / STEPS_A_DOUBLING)
            await asyncio.sleep(step)
            snapshot = sending.snapshot()
            if snapshot is not None:
                self.look(snapshot, step)

    def share(self, share: float) -> float:
        """When this share of the recipients is final."""
        return round(self.ends[max(0, math.ceil(share * len(self.ends)) - 1)], 1) if self.ends else 0.0

    def sites(self, snapshot: Snapshot) -> list[SiteForecast]:
        """Those that mail was for, the last ones first."""
        found = []
        for site, seconds in self.final_by.items():
            # What the DNS decided was decided at no site.
            counts, limits = snapshot.sites.get(site, SiteCount()), self.limits.get(site, Counter())
            found.append(
                SiteForecast(
                    site=site,
                    delivered_by=round(self.delivered_by.get(site, 0.0), 1),
                    final_by=round(seconds, 1),
                    delivered=counts.delivered,
                    bounced=counts.bounced,
                    limit=_longest(limits) if site in self.delivered_by or limits else UNREACHABLE,
                    limits={name: round(spent, 1) for name, spent in limits.most_common()},
                )
            )
        return sorted(found, key=lambda one: (-one.delivered_by, -one.final_by, one.site))


def _longest(limits: Counter[str]) -> str:
    return max(limits, key=lambda name: limits[name]) if limits else ROUND_TRIPS


def forecast(
    campaign: Campaign,
    *,
    state: Path | None = None,
    limit: int | None = None,
    profiles: Path | None = None,
    clock: Clock | None = None,
) -> Forecast:
    """Send all of `campaign` to the simulated internet, as fast as this machine can think.

    Whom the suppression list of the state directory `state` has is left out, and nothing is written there.
    Raises CampaignError and StateError.
    """
    virtual = VirtualClock((clock or SystemClock()).time())
    ways = Ways(campaign.delivery)
    ports = {relay.port for relay in ways.relays.values()} | {port for _, port in ways.hosts.values()}
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="bulkmail-simulation-", dir=shared) as folder:
        internet = Internet(
            Path(folder) / "receivers",
            seed=campaign.sandbox.seed,
            clock=virtual,
            profiles=profiles,
            # A campaign made for the sandbox retries in its time.
            real_waits=campaign.delivery.route != "sandbox",
            relay_ports=ports,
        )
        directory = Path(folder) / "state"
        if state is not None:
            _copy_database(state, directory)
        loop = VirtualLoop(virtual)
        internet.attach(loop)
        try:
            return run(loop, _send(campaign, directory, internet, virtual, limit))
        finally:
            internet.ledger.close()


async def _send(
    campaign: Campaign, directory: Path, internet: Internet, clock: VirtualClock, limit: int | None
) -> Forecast:
    sending = SimulatedSend(
        simulated(campaign),
        directory,
        internet=internet,
        disk=Disk(clock),
        clock=clock,
        rng=seeded(campaign.sandbox.seed, "forecast"),
        options=SendOptions(new_run=True, limit=limit),
        sweep_seconds=SWEEP_SECONDS,
    )
    async with sending:
        begin, watch = clock.time(), _Watch(clock)
        sending.subscribe(watch.events)
        follower = asyncio.get_running_loop().create_task(watch.follow(sending))
        try:
            summary = await sending.execute()
        finally:
            follower.cancel()
        snapshot = sending.snapshot()
        assert snapshot is not None
    seconds = watch.share(1.0)
    sites = watch.sites(snapshot)
    return Forecast(
        summary=summary,
        begin=rfc3339(begin),
        end=rfc3339(begin + seconds),
        seconds=seconds,
        delivered_by=max((site.delivered_by for site in sites), default=0.0),
        attempts=watch.attempts,
        peak_per_second=watch.peak_per_second,
        most_connections=internet.most_connections,
        shares={f"{share:.0%}": watch.share(share) for share in SHARES},
        tail=sites[0] if sites else None,
        large=next((one for one in sites if one.delivered >= LARGE_SHARE * summary.delivered), None),
        sites=tuple(sites),
    )


def _copy_database(source: Path, target: Path) -> None:
    """The suppression list, and the rest of the database with it, at one moment; another process may be writing."""
    if not (source / DATABASE).exists():
        return
    target.mkdir(parents=True)
    with (
        closing(sqlite3.connect(f"{(source / DATABASE).absolute().as_uri()}?mode=ro", uri=True)) as original,
        closing(sqlite3.connect(target / DATABASE)) as copy,
    ):
        original.backup(copy)
