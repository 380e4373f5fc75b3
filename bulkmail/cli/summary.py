"""What a person reads when a send is over."""

import os
import shlex
from collections.abc import Collection, Iterable
from pathlib import Path

from rich.text import Text

from bulkmail.cli.frame import SiteRow, site_rows
from bulkmail.cli.hints import command, near
from bulkmail.cli.output import COLOURS, PlainConsole, local_time, out, percent, safe, span, table
from bulkmail.cli.reasons import ReasonCount, count_reasons, not_delivered
from bulkmail.engine.statistics import Snapshot
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Summary
from bulkmail.store.view import StoreView

OUTCOMES = ("delivered", "deferred", "bounced", "expired", "in_doubt", "suppressed", "rejected", "duplicates")
REASONS = 6
SITES = 6
# The longest command that has its purpose beside it, on a terminal of 80 columns.
BESIDE = 44


def print_summary(
    file: str,
    campaign: Campaign,
    directory: Path,
    summary: Summary,
    snapshot: Snapshot | None,
    maildir: Path | None,
) -> None:
    """Counts, sites, reasons, and what to do next."""
    console = out()
    reasons = _reasons(directory, campaign.campaign)
    if summary.state == "finished":
        head = "finished: every recipient is final"
    elif summary.state == "cancelled":
        head = f"cancelled: {summary.deferred:,} of {summary.recipients:,} recipients will get nothing"
    else:
        head = f"stopped: {summary.deferred:,} of {summary.recipients:,} recipients are still open"
    console.print(Text.assemble(("run " + summary.run, "bold"), f" {head}"))
    console.print()
    print_counts(console, summary)
    console.print(f"  in {span(summary.seconds)}, {summary.messages_per_second:,.1f} messages a second")
    if snapshot is not None and snapshot.sites:
        console.print()
        console.print(_sites(summary, snapshot, console.width))
    if reasons:
        console.print()
        console.print(reasons_table(reasons[:REASONS], console.width))
    console.print()
    console.print(_next(file, directory, summary, reasons, maildir))


def print_already_finished(file: str, directory: Path, summary: Summary, finished: float | None) -> None:
    """Nothing was sent, and why."""
    console = out()
    when = f" at {local_time(finished)}" if finished is not None else ""
    console.print(Text.assemble(("run " + summary.run, "bold"), f" was finished{when}; nothing was sent now"))
    console.print()
    print_counts(console, summary)
    console.print()
    console.print(
        commands(
            [
                (command("report", file, directory=directory, campaign=file), "what became of it"),
                (
                    command("send", "--new-run", file, directory=directory, campaign=file),
                    "sends it once more, to everybody",
                ),
            ]
        )
    )


def print_counts(console: PlainConsole, summary: Summary, *, always: Collection[str] = ("delivered",)) -> None:
    """The outcomes that there are (and `always`), with their share of the rows read."""
    names = [name for name in OUTCOMES if getattr(summary, name) or name in always]
    width = max(len(f"{summary.recipients:,}"), 1)
    for name in names:
        count = getattr(summary, name)
        line = Text(f"  {name.replace('_', ' '):<11} ")
        line.append(f"{count:>{width},}", COLOURS[name] if count else "")
        line.append(f"  {percent(count, summary.recipients):>7}", "dim")
        console.print(line)
    console.print(f"  {'recipients':<11} {summary.recipients:>{width},}")


def reasons_table(reasons: Iterable[ReasonCount], columns: int) -> Text:
    """Counts by disposition and reason."""
    rows = [
        (
            Text(f"{each.count:,}"),
            Text(each.disposition.replace("_", " "), COLOURS[each.disposition]),
            Text(each.reason),
            Text(safe(each.reply)),
        )
        for each in reasons
    ]
    return table(("count", "not delivered", "reason", "for example"), rows, columns=columns, numbers=(0,))


def commands(lines: Iterable[tuple[str, str]]) -> Text:
    """Commands, and beside each what it is good for; below it where the command is long."""
    pairs = list(lines)
    width = max((len(line) for line, _ in pairs if len(line) <= BESIDE), default=0)
    texts = [
        Text.assemble((f"  {line:<{width}}", "cyan"), (("\n      " if len(line) > BESIDE else "  ") + what, "dim"))
        for line, what in pairs
    ]
    return Text("\n").join(texts)


def _reasons(directory: Path, campaign: str) -> list[ReasonCount]:
    with StoreView.open_readonly(directory) as view:
        run = view.latest_run(campaign)
        return count_reasons(not_delivered(view, run.number)) if run is not None else []


def _sites(summary: Summary, snapshot: Snapshot, columns: int) -> Text:
    """The sites where mail waits and those with most mail; where all is final, nothing waits."""
    names = ["delivered", "bounced"] if summary.state == "finished" else ["delivered", "deferred", "bounced"]
    rows = [row for row in site_rows(snapshot, len(snapshot.sites)) if any(getattr(row, name) for name in names)]
    if summary.state == "finished":
        rows.sort(key=lambda row: (-(row.delivered + row.bounced), row.site))
    text = table(("site", *names), [_site(row, names) for row in rows[:SITES]], columns=columns, numbers=(1, 2, 3))
    if snapshot.more_sites:
        text.append("\n  and thousands more sites", "dim")
    elif len(rows) > SITES:
        text.append(f"\n  and {len(rows) - SITES:,} more sites", "dim")
    return text


def _site(row: SiteRow, names: Iterable[str]) -> list[str | Text]:
    counts = [(name, getattr(row, name)) for name in names]
    return [row.site, *(Text(f"{count:,}", COLOURS[name] if count else "") for name, count in counts)]


def _next(file: str, directory: Path, summary: Summary, reasons: list[ReasonCount], maildir: Path | None) -> Text:
    lines = []
    if summary.state != "finished":
        lines.append((command("send", file, directory=directory, campaign=file), "goes on where this stopped"))
    lines.append((command("report", file, directory=directory, campaign=file), "all of this, and who got no mail"))
    bounced = next((each for each in reasons if each.disposition == "bounced"), reasons[0] if reasons else None)
    if bounced is not None:
        lines.append((command("why", bounced.address, directory=directory), "what happened to this one"))
    lines.append((command("suppress", "export", directory=directory), "who gets no more mail, as CSV"))
    if maildir is not None:
        example = _first_file(maildir / "new")
        if example is not None:
            lines.append((f"less {shlex.quote(near(example))}", "one message, as a sandbox mailbox has it"))
    return commands(lines)


def _first_file(folder: Path) -> Path | None:
    try:
        with os.scandir(folder) as entries:
            entry = next(entries, None)
    except OSError:
        return None
    return Path(entry.path) if entry is not None else None
