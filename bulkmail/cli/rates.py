"""Shows what came back, and how that compares with what receivers put up with."""

import csv
import sys
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from bulkmail.cli.output import err, table
from bulkmail.cli.tally import Tallies, Tally
from bulkmail.cli.undelivered import cell
from bulkmail.errors import CampaignError
from bulkmail.policy.thresholds import Excess

MOST = 20
COLUMNS = ("by", "name", "delivered", "deferrals", "bounced", "bounced_later", "complaints", "unsubscribes",
           "bounce_rate", "complaint_rate")  # fmt: skip
_SENT = ("delivered", "deferrals", "bounced")
_BACK = ("bounced_later", "complaints", "unsubscribes")
_WORDS = {"bounced_later": "later", "complaints": "complaints", "unsubscribes": "unsubscribed"}
_RED = ("bounced", "bounced_later", "complaints")


def print_came_back(console: Console, tallies: Tallies) -> bool:
    """The rates, and where they are too high; False where nothing came back and nothing is too high."""
    total = tallies.total
    came = any(getattr(total, name) for name in _BACK)
    if not came and not tallies.excesses:
        return False
    console.print()
    console.print(
        f"  came back: {total.bounced_later:,} bounces, {total.complaints:,} complaints, {total.unsubscribes:,} "
        f"unsubscribes; bounce rate {percent(total.bounce_rate)}, complaint rate {percent(total.complaint_rate)}"
    )
    for each in tallies.excesses[:MOST]:
        console.print(Text(f"  {_sentence(each)}", "red" if each.limit else "yellow"))
    for what, why, count in tallies.reasons[:MOST]:
        console.print(Text(f"  {count:>7,} {what}{f', {why}' if why and why != what else ''}", "dim"))
    return came


def tallies_table(heading: str, tallies: Sequence[Tally], columns: int, *, came_back: bool) -> Text:
    """One row each; the columns of what came back only where something did."""
    names = (*_SENT, *(_BACK if came_back else ()))
    timed = heading == "site"
    head = (heading, *(_WORDS.get(name, name) for name in names), *(("ms a message",) if timed else ()))
    rows = []
    for one in tallies[:MOST]:
        cells: list[str | Text] = [one.name or "no list"]
        for name in names:
            count = getattr(one, name)
            style = "yellow" if name == "deferrals" else "red" if name in _RED else ""
            cells.append(Text(f"{count:,}", style if count else ""))
        if timed:
            cells.append(f"{one.milliseconds:,.0f}" if one.delivered else "")
        rows.append(cells)
    text = table(head, rows, columns=columns, numbers=tuple(range(1, len(head))))
    if len(tallies) > MOST:
        text.append(f"\n  and {len(tallies) - MOST:,} more {heading}s", "dim")
    return text


def write_tallies(target: str, tallies: Tallies) -> None:
    """As CSV, to a file or, for `-`, to standard output; names that look like formulas are made harmless."""
    if target == "-":
        _write(sys.stdout, tallies)
        return
    try:
        with open(target, "w", encoding="utf-8", newline="") as file:
            _write(file, tallies)
    except OSError as error:
        raise CampaignError(f"cannot be written: {error.strerror}", file=target) from None
    err().print(f"{target}: written")


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _sentence(one: Excess) -> str:
    where = "to all receivers" if one.site == "*" else f"to {one.site}"
    what = "is over the limit of" if one.limit else "is more than"
    return f"{one.of} {where}: {percent(one.share)} {what} {percent(one.threshold)} ({one.source})"


def _write(file: TextIO, tallies: Tallies) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    groups = (("all", [tallies.total]), ("site", tallies.sites), ("list", tallies.lists), ("day", tallies.days))
    for by, each in groups:
        for one in each:
            writer.writerow([by, cell(one.name), *(getattr(one, name) for name in COLUMNS[2:])])
    for what, why, count in tallies.reasons:
        column = COLUMNS.index({"bounce": "bounced_later", "complaint": "complaints"}.get(what, "unsubscribes"))
        if what != "resubscribe":
            row = ["reason", cell(why), *[0] * (len(COLUMNS) - 2)]
            row[column] = count
            writer.writerow(row)
