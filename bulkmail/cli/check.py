"""`bulkmail check`: find what is wrong with a campaign before anybody gets mail."""

from collections import Counter
from pathlib import Path
from textwrap import wrap

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from bulkmail.cli.findings import print_findings
from bulkmail.cli.output import out, print_json
from bulkmail.config.load import load_campaign
from bulkmail.config.schema import campaign_schema
from bulkmail.errors import CampaignError
from bulkmail.preflight.finding import from_error
from bulkmail.preflight.inspection import Inspection, Means, inspect
from bulkmail.preflight.receivers import ASKED_OF, Met
from bulkmail.preflight.rules import RULES, Level
from bulkmail.store.locate import state_for_campaign


class Options(Struct, frozen=True, kw_only=True):
    """The options of the verb; `strict`: warnings count as errors."""

    json: bool = False
    strict: bool = False
    state: Path | None = None
    means: Means = Means()


def print_schema() -> None:
    """The JSON Schema of campaign files, for editors."""
    print(msgspec.json.format(msgspec.json.encode(campaign_schema()), indent=2).decode())


def print_rules(*, json: bool) -> None:
    """Every rule with its level and what it finds."""
    if json:
        print_json([{"rule": name, "level": rule.level.value, "finds": rule.says} for name, rule in RULES.items()])
        return
    console = out()
    for name, rule in RULES.items():
        console.print(f"{rule.level.value:8} {name:28} {rule.says}")


def check(file: str, options: Options) -> int:
    """Print what is found; the exit code, 2 where there are errors (with `strict` also for warnings)."""
    result = Inspection()
    try:
        campaign = load_campaign(file)
    except CampaignError as error:
        result.findings += from_error(error, "campaign.invalid")
    else:
        result = inspect(campaign, state_for_campaign(campaign.file, options.state), options.means)
    levels = Counter(finding.level for finding in result.findings)
    failed = levels[Level.ERROR] + (levels[Level.WARNING] if options.strict else 0)
    counts = result.tally
    if options.json:
        rows = {name: getattr(counts, name) for name in ("rows", "accepted", "rejected", "duplicates", "suppressed")}
        print_json(
            {
                "campaign": file,
                "ok": not failed,
                "recipients": rows,
                "findings": msgspec.to_builtins(result.findings),
                "receivers": msgspec.to_builtins(result.receivers),
                "sites": msgspec.to_builtins(result.loads),
            }
        )
        return 2 if failed else 0
    console = out()
    print_findings(console, result.findings)
    if result.receivers:
        _print_receivers(console, result.receivers)
    if counts.rows:
        suppressed = f", {counts.suppressed:,} suppressed" if counts.suppressed else ""
        console.print(
            f"{counts.rows:,} rows: {counts.accepted:,} would get the message, {counts.rejected:,} rejected, "
            f"{counts.duplicates:,} duplicates{suppressed}"
        )
    counted = ", ".join(f"{levels[level]} {level.value}{'s' * (levels[level] != 1)}" for level in Level)
    console.print(f"{file}: {counted}")
    return 2 if failed else 0


def _print_receivers(console: Console, receivers: list[Met]) -> None:
    """What bulk senders are asked for, a column a receiver."""
    columns = sum(len(f"  {name:9}") for name in ASKED_OF)
    width = min(max(len(met.says) for met in receivers), max(console.width - columns, 20))
    console.print()
    console.print(f"{'asked of bulk senders':{width}}  " + "  ".join(f"{name:9}" for name in ASKED_OF).rstrip())
    marks = {True: ("met", "green"), False: ("not met", "bold red"), None: ("not seen", "dim")}
    for met in receivers:
        mark, colour = marks[met.met]
        cells = [(f"{mark if name in met.of else '-':9}", colour if name in met.of else "dim") for name in ASKED_OF]
        first, *others = wrap(met.says, width, subsequent_indent="  ")
        line = Text(f"{first:{width}}  ")
        for text, style in cells:
            line.append(text, style=style).append("  ")
        line.rstrip()
        console.print(line)
        for rest in others:
            console.print(rest)
    console.print()
