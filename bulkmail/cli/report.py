"""`bulkmail report`: what became of a run, by outcome, site and reason, and who got no mail."""

from contextlib import closing
from itertools import chain
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.text import Text

from bulkmail.cli.hints import command, near
from bulkmail.cli.output import local_time, out, print_json, table
from bulkmail.cli.places import chosen_run, has_state, place
from bulkmail.cli.rates import print_came_back, tallies_table, write_tallies
from bulkmail.cli.reasons import ReasonCount, count_reasons, not_delivered
from bulkmail.cli.spending import CpuReport, cpu_report, print_cpu
from bulkmail.cli.split import ArmReport, arms_table, count_arms
from bulkmail.cli.status import state_word, summary_of
from bulkmail.cli.summary import print_counts, reasons_table
from bulkmail.cli.tally import Tally, came_back, events_of, tally
from bulkmail.cli.undelivered import write_undelivered
from bulkmail.errors import StateError
from bulkmail.model.delivery import Event
from bulkmail.policy.thresholds import Excess
from bulkmail.store.directory import owner_of
from bulkmail.store.runs import Run
from bulkmail.store.view import StoreView

REASONS = 20


class SiteReport(Struct, kw_only=True):
    """Attempts at one site, and what came back; `milliseconds` is the mean time of a delivered message on the wire."""

    site: str
    delivered: int
    deferrals: int
    bounced: int
    milliseconds: float
    bounced_later: int
    complaints: int
    unsubscribes: int
    bounce_rate: float
    complaint_rate: float


class CameBack(Struct):
    """Messages that came back after the mail was taken: `event` is bounce, complaint, unsubscribe or resubscribe."""

    event: str
    reason: str
    count: int


class Report(Struct, frozen=True, kw_only=True):
    """The whole report."""

    run: str
    campaign: str
    state: str
    counts: dict[str, int]
    sites: list[SiteReport]
    reasons: list[ReasonCount]
    came_back: list[CameBack]
    bounce_rate: float
    complaint_rate: float
    lists: list[Tally]
    days: list[Tally]
    too_much: list[Excess]
    split: list[ArmReport]
    cpu: CpuReport | None


def report(
    campaign: str | None,
    *,
    run_id: str | None,
    state: Path | None,
    json: bool,
    undelivered: str | None,
    table_file: str | None = None,
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
                write_undelivered(undelivered, events_of(directory, run), outcomes, came_back(directory, run))
            return
        summary = summary_of(view, run)
        reasons = count_reasons(not_delivered(view, run.number))
        tallies = tally(directory, run, view)
        spent = view.cpu(run.number)
    arms = count_arms(run, chain(events_of(directory, run), came_back(directory, run)))
    if table_file is not None:
        write_tallies(table_file, tallies)
        return
    if json:
        counts = {key: value for key, value in msgspec.to_builtins(summary).items() if isinstance(value, int)}
        answer = Report(
            run=run.id,
            campaign=run.campaign,
            state=state_word(run, running=owner_of(directory) is not None),
            counts=counts,
            sites=[_site_report(each) for each in tallies.sites],
            reasons=reasons,
            came_back=[CameBack(*each) for each in tallies.reasons],
            bounce_rate=tallies.total.bounce_rate,
            complaint_rate=tallies.total.complaint_rate,
            lists=tallies.lists,
            days=tallies.days,
            too_much=tallies.excesses,
            split=arms,
            cpu=cpu_report(spent, tallies.stalls),
        )
        print_json(msgspec.to_builtins(answer))
        return
    console = out()
    console.print(Text.assemble(("run " + run.id, "bold"), f" {_standing(run, directory)}"))
    console.print()
    print_counts(console, summary)
    if arms:
        console.print()
        console.print(arms_table(arms, console.width))
    anything = print_came_back(console, tallies)
    for heading, each in (("site", tallies.sites), ("list", tallies.lists), ("day", tallies.days)):
        # One list, or one day, is all there is: the counts above say it.
        if each and (heading == "site" or len(each) > 1):
            console.print()
            console.print(tallies_table(heading, each, console.width, came_back=anything))
    if reasons:
        console.print()
        console.print(reasons_table(reasons[:REASONS], console.width))
    if tallies.rejected:
        console.print()
        rows = [_rejected(event) for event in tallies.rejected]
        console.print(table(("rejected row", "why", "where"), rows, columns=console.width))
        if summary.rejected > len(rows):
            console.print(Text(f"  and {summary.rejected - len(rows):,} more", "dim"))
    print_cpu(console, spent, tallies.stalls)
    console.print()
    words = ["report", campaign or run.campaign, "--run", run.id, "--undelivered", "FILE.csv"]
    console.print(f"everybody without the mail, as CSV: {command(*words, directory=directory)}")


def _standing(run: Run, directory: Path) -> str:
    if run.state.ended and run.finished is not None:
        return f"{run.state.value} {local_time(run.finished)}"
    pid = owner_of(directory)
    begun = f"begun {local_time(run.created)}"
    return f"{begun}, process {pid} is sending" if pid else f"{begun}, stopped"


def _site_report(one: Tally) -> SiteReport:
    values = {name: getattr(one, name) for name in SiteReport.__struct_fields__ if name != "site"}
    return SiteReport(site=one.name, **values)


def _rejected(event: Event) -> tuple[str, str, str]:
    """A row as it was read; the reason of the event has file and line in front of it."""
    where, said, why = (event.reason or "").partition(": ")
    return (event.recipient or "", why, near(Path(where))) if said else (event.recipient or "", where, "")
