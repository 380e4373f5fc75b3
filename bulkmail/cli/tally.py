"""Adds up the events of a run, those that came back with them: by site, list and day."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from bulkmail.events.log import read_events
from bulkmail.model.delivery import STALLED, TRACKED, Event
from bulkmail.policy.thresholds import Excess, excess
from bulkmail.store.directory import EVENTS
from bulkmail.store.runs import Run
from bulkmail.store.view import StoreView

REJECTIONS = 5
STALLS = 5
NO_LIST = ""


class Tally(Struct, kw_only=True):
    """What became of the mail to one site, of one list, or on one day.

    `delivered`, `bounced`: the last word while sending; `bounced_later`, `complaints`, `unsubscribes`: what came back.
    The rates are shares: of what was delivered or bounced, and of what was delivered.
    """

    name: str
    delivered: int = 0
    deferrals: int = 0
    bounced: int = 0
    bounced_later: int = 0
    complaints: int = 0
    unsubscribes: int = 0
    bounce_rate: float = 0.0
    complaint_rate: float = 0.0
    milliseconds: float = 0.0

    @property
    def attempts(self) -> int:
        return self.delivered + self.deferrals + self.bounced

    def add(self, event: Event) -> None:
        match event.event, event.disposition:
            case "attempt" | "in_doubt", "delivered":
                self.delivered += 1
                self.milliseconds += event.milliseconds or 0.0
            case "attempt" | "in_doubt", "deferred":
                self.deferrals += 1
            case "attempt" | "in_doubt", "bounced" | "expired":
                self.bounced += 1
            case "bounce", _:
                self.bounced_later += 1
            case "complaint", _:
                self.complaints += 1
            case "unsubscribe", _:
                self.unsubscribes += 1

    def finish(self) -> "Tally":
        """The rates, and `milliseconds` as the mean of a delivered message."""
        messages = self.delivered + self.bounced
        self.bounce_rate = round((self.bounced + self.bounced_later) / messages, 6) if messages else 0.0
        self.complaint_rate = round(self.complaints / self.delivered, 6) if self.delivered else 0.0
        self.milliseconds = round(self.milliseconds / self.delivered, 1) if self.delivered else 0.0
        return self

    def excesses(self) -> Iterator[Excess]:
        """Where the rates are more than the site, or `*` for all, puts up with."""
        found = (
            excess(self.name, "bounces", self.bounced + self.bounced_later, self.delivered + self.bounced),
            excess(self.name, "complaints", self.complaints, self.delivered),
        )
        yield from (each for each in found if each is not None)


class Tallies(Struct, kw_only=True):
    """All of a run; `reasons` counts what came back by event and reason, `rejected` has the first few such rows.

    `stalls` has the first few places where the event loop was blocked.
    """

    total: Tally
    sites: list[Tally]
    lists: list[Tally]
    days: list[Tally]
    reasons: list[tuple[str, str, int]]
    rejected: list[Event]
    stalls: list[str]

    @property
    def excesses(self) -> list[Excess]:
        """Those of all mail first; of sites those whose share is highest."""
        of_sites = [each for site in self.sites for each in site.excesses()]
        return [*self.total.excesses(), *sorted(of_sites, key=lambda each: -each.share)]


def events_of(directory: Path, run: Run) -> Iterator[Event]:
    """The events of a run while it was sent; none where its log is not there yet."""
    return _read(directory / EVENTS / f"{run.id}.ndjson")


def came_back(directory: Path, run: Run) -> Iterator[Event]:
    """The bounces, complaints and unsubscribes of a run; none where its log is not there yet."""
    return _read(directory / EVENTS / f"{run.id}.feedback.ndjson")


def tally(directory: Path, run: Run, view: StoreView) -> Tallies:
    """Reads both logs once."""
    answers = [event for event in came_back(directory, run) if event.event not in TRACKED]
    names = {event.recipient for event in answers if event.recipient is not None}
    total = Tally(name="*")
    sites, days = _Named(), _Named()
    rejected: list[Event] = []
    stalls: list[str] = []
    site_of: dict[str, str] = {}
    for event in events_of(directory, run):
        if event.event == "rejected" and len(rejected) < REJECTIONS:
            rejected.append(event)
        elif event.event == "run" and event.reason == STALLED and len(stalls) < STALLS:
            stalls.append(event.reply or "")
        if event.event not in ("attempt", "in_doubt"):
            continue
        total.add(event)
        days[event.time[:10]].add(event)
        if event.site is not None:
            sites[event.site].add(event)
            if event.recipient in names:
                site_of[event.recipient] = event.site
    for event in answers:
        total.add(event)
        days[event.time[:10]].add(event)
        site = site_of.get(event.recipient or "")
        if site is not None:
            sites[site].add(event)
    counted = Counter((event.event, event.reason or "") for event in answers)
    return Tallies(
        total=total.finish(),
        sites=sorted((each.finish() for each in sites.values()), key=lambda each: (-each.attempts, each.name)),
        lists=_lists(run, view, answers, names),
        days=sorted((each.finish() for each in days.values()), key=lambda each: each.name),
        reasons=sorted(((what, why, count) for (what, why), count in counted.items()), key=lambda each: -each[2]),
        rejected=rejected,
        stalls=stalls,
    )


class _Named(dict[str, Tally]):
    def __missing__(self, name: str) -> Tally:
        made = self[name] = Tally(name=name)
        return made


def _lists(run: Run, view: StoreView, answers: Iterable[Event], names: set[str]) -> list[Tally]:
    """By list: how the recipients stand, and what came back. Attempts are not counted by list."""
    tallies = _Named()
    for name, counts in view.counts_by_list(run.number).items():
        one = tallies[name or NO_LIST]
        one.delivered, one.bounced = counts.delivered, counts.bounced + counts.expired
    list_of = view.lists_of(run.number, names) if names else {}
    for event in answers:
        if event.recipient in list_of:
            tallies[list_of[event.recipient] or NO_LIST].add(event)
    return sorted((each.finish() for each in tallies.values()), key=lambda each: (-each.delivered, each.name))


def _read(path: Path) -> Iterator[Event]:
    return read_events(path) if path.exists() else iter(())
