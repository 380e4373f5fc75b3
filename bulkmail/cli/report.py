"""`bulkmail report`: what became of a run, by outcome, site and reason, and who got no mail."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.text import Text

from bulkmail.cli.hints import command
from bulkmail.cli.output import local_time, out, print_json, table
from bulkmail.cli.places import chosen_run, has_state, place
from bulkmail.cli.reasons import ReasonCount, count_reasons, not_delivered
from bulkmail.cli.status import state_word, summary_of
from bulkmail.cli.summary import print_counts, reasons_table
from bulkmail.cli.undelivered import write_undelivered
from bulkmail.content.variants import arm_of
from bulkmail.engine.pinning import split_of
from bulkmail.errors import StateError
from bulkmail.events.log import read_events
from bulkmail.model.delivery import Event
from bulkmail.store.directory import EVENTS, owner_of
from bulkmail.store.runs import Run
from bulkmail.store.view import StoreView

SITES = 20
REASONS = 20
REJECTIONS = 5


class SiteReport(Struct, kw_only=True):
    """Attempts at one site; `milliseconds` is the mean time of a delivered message on the wire."""

    site: str
    delivered: int = 0
    deferrals: int = 0
    bounced: int = 0
    milliseconds: float = 0.0


class Intake(Struct):
    """What the event log says of rows that were never taken in: the first few of them."""

    rejected: list[Event] = []


class ArmReport(Struct, kw_only=True):
    """One arm of an A/B test; the last two count recipients once, however often they come back."""

    arm: str
    delivered: int = 0
    bounced: int = 0
    complaints: int = 0
    unsubscribed: int = 0


class Split:
    """Counts by arm, which each address leads to: nothing of it is stored."""

    def __init__(self, run: Run) -> None:
        self.campaign, self.weights = run.campaign, split_of(run.settings) if run.settings else ()
        self.arms = {name: ArmReport(arm=name) for name, _ in self.weights}
        self._seen: set[tuple[str, str]] = set()

    def count(self, event: Event) -> None:
        if not self.arms or event.recipient is None:
            return
        arm = self.arms[arm_of(self.campaign, self.weights, event.recipient)]
        if event.event in ("attempt", "in_doubt"):
            arm.delivered += event.disposition == "delivered"
            arm.bounced += event.disposition in ("bounced", "expired")
        elif event.event in ("complaint", "unsubscribe") and (event.event, event.recipient) not in self._seen:
            self._seen.add((event.event, event.recipient))
            arm.complaints += event.event == "complaint"
            arm.unsubscribed += event.event == "unsubscribe"


class Report(Struct, frozen=True, kw_only=True):
    """The whole report."""

    run: str
    campaign: str
    state: str
    counts: dict[str, int]
    sites: list[SiteReport]
    reasons: list[ReasonCount]
    split: list[ArmReport]


def report(
    campaign: str | None, *, run_id: str | None, state: Path | None, json: bool, undelivered: str | None
) -> None:
    """Print the report, or write the CSV of those without mail. Raises CampaignError and StateError."""
    directory, name = place(campaign, state)
    if not has_state(directory):
        raise StateError(f"{directory}: nothing has been sent from here yet", hint="`send` a campaign first")
    with StoreView.open_readonly(directory) as view:
        run = chosen_run(view, directory, name, run_id)
        if undelivered is not None:
            # Closed before its database is, also when the reader of a pipe has left.
            with closing(not_delivered(view, run.number)) as outcomes:
                write_undelivered(undelivered, events_of(directory, run), outcomes)
            return
        summary = summary_of(view, run)
        reasons = count_reasons(not_delivered(view, run.number))
    intake = Intake()
    split = Split(run)
    sites = _sites(events_of(directory, run), intake, split)
    if json:
        counts = {key: value for key, value in msgspec.to_builtins(summary).items() if isinstance(value, int)}
        answer = Report(
            run=run.id,
            campaign=run.campaign,
            state=state_word(run, running=owner_of(directory) is not None),
            counts=counts,
            sites=sites,
            reasons=reasons,
            split=list(split.arms.values()),
        )
        print_json(msgspec.to_builtins(answer))
        return
    console = out()
    console.print(Text.assemble(("run " + run.id, "bold"), f" {_standing(run, directory)}"))
    console.print()
    print_counts(console, summary)
    if split.arms:
        console.print()
        tested = [
            (arm.arm, f"{arm.delivered:,}", f"{arm.bounced:,}", f"{arm.complaints:,}", f"{arm.unsubscribed:,}")
            for arm in split.arms.values()
        ]
        head = ("arm", "delivered", "bounced", "complaints", "unsubscribed")
        console.print(table(head, tested, columns=console.width, numbers=(1, 2, 3, 4)))
    if sites:
        console.print()
        console.print(_sites_table(sites, console.width))
    if reasons:
        console.print()
        console.print(reasons_table(reasons[:REASONS], console.width))
    if intake.rejected:
        console.print()
        rows = [(event.recipient or "", event.reason or "") for event in intake.rejected]
        console.print(table(("rejected row", "why"), rows, columns=console.width))
        if summary.rejected > len(rows):
            console.print(Text(f"  and {summary.rejected - len(rows):,} more", "dim"))
    console.print()
    words = ["report", campaign or run.campaign, "--run", run.id, "--undelivered", "FILE.csv"]
    console.print(f"everybody without the mail, as CSV: {command(*words, directory=directory)}")


def events_of(directory: Path, run: Run) -> Iterator[Event]:
    """The events of a run; none where its log is not there yet."""
    path = directory / EVENTS / f"{run.id}.ndjson"
    return read_events(path) if path.exists() else iter(())


def _standing(run: Run, directory: Path) -> str:
    if run.state.ended and run.finished is not None:
        return f"{run.state.value} {local_time(run.finished)}"
    pid = owner_of(directory)
    begun = f"begun {local_time(run.created)}"
    return f"{begun}, process {pid} is sending" if pid else f"{begun}, stopped"


def _sites(events: Iterator[Event], intake: Intake, split: Split) -> list[SiteReport]:
    """Sites by the number of attempts, and on the way the first rejected rows and the arms of an A/B test."""
    sites: dict[str, SiteReport] = {}
    for event in events:
        if event.event == "rejected" and len(intake.rejected) < REJECTIONS:
            intake.rejected.append(event)
        split.count(event)
        if event.event not in ("attempt", "in_doubt") or event.site is None:
            continue
        site = sites.get(event.site)
        if site is None:
            site = sites[event.site] = SiteReport(site=event.site)
        match event.disposition:
            case "delivered":
                site.delivered += 1
                site.milliseconds += event.milliseconds or 0.0
            case "deferred":
                site.deferrals += 1
            case "bounced" | "expired":
                site.bounced += 1
    for site in sites.values():
        site.milliseconds = round(site.milliseconds / site.delivered, 1) if site.delivered else 0.0
    return sorted(sites.values(), key=lambda site: (-(site.delivered + site.deferrals + site.bounced), site.site))


def _sites_table(sites: list[SiteReport], columns: int) -> Text:
    rows = [
        (
            site.site,
            f"{site.delivered:,}",
            Text(f"{site.deferrals:,}", "yellow" if site.deferrals else ""),
            Text(f"{site.bounced:,}", "red" if site.bounced else ""),
            f"{site.milliseconds:,.0f}" if site.delivered else "",
        )
        for site in sites[:SITES]
    ]
    head = ("site", "delivered", "deferrals", "bounced", "ms a message")
    text = table(head, rows, columns=columns, numbers=(1, 2, 3, 4))
    if len(sites) > SITES:
        text.append(f"\n  and {len(sites) - SITES:,} more sites", "dim")
    return text
