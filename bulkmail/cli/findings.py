"""What `check` finds: rules with stable ids, levels, places and remedies."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.text import Text

from bulkmail.cli.hints import near
from bulkmail.cli.output import safe
from bulkmail.errors import CampaignError


class Level(StrEnum):
    """`ERROR`: nothing should be sent like this; `WARNING`: some receivers will mind; `NOTE`: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Finding(Struct, frozen=True, kw_only=True):
    """One thing found; `rule` never changes its meaning, so that scripts can tell findings apart."""

    level: Level
    rule: str
    where: str
    what: str
    remedy: str = ""


_COLOURS = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.NOTE: "cyan"}


def from_error(error: CampaignError, rule: str) -> list[Finding]:
    """The error and those found with it."""
    return [
        Finding(
            level=Level.ERROR,
            rule=rule,
            where=":".join(str(part) for part in (each.file, each.line) if part is not None),
            what=": ".join(part for part in (each.path, each.message) if part),
            remedy=each.hint or "",
        )
        for each in (error, *error.also)
    ]


def print_findings(console: Console, findings: Iterable[Finding]) -> None:
    """Errors first, each with its place and remedy."""
    for level in Level:
        for finding in findings:
            if finding.level is level:
                where = f"{safe(near(Path(finding.where)))}: " if finding.where else ""
                console.print(
                    Text.assemble(
                        (level.value, _COLOURS[level]), f": {where}{safe(finding.what)} ", (f"[{finding.rule}]", "dim")
                    )
                )
                if finding.remedy:
                    console.print(Text.assemble(("  remedy: ", "cyan"), safe(finding.remedy)))
