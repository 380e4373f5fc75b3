"""How the findings of `check` are printed."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bulkmail.cli.hints import near
from bulkmail.cli.output import print_paragraph, safe
from bulkmail.preflight.finding import Finding
from bulkmail.preflight.rules import Level

_COLOURS = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.NOTE: "cyan"}


def print_findings(console: Console, findings: Iterable[Finding]) -> None:
    """Errors first, each with its place and remedy."""
    for level in Level:
        for finding in findings:
            if finding.level is level:
                where = f"{safe(near(Path(finding.where)))}: " if finding.where else ""
                print_paragraph(
                    console,
                    Text.assemble(
                        (level.value, _COLOURS[level]), f": {where}{safe(finding.what)} ", (f"[{finding.rule}]", "dim")
                    ),
                )
                if finding.remedy:
                    print_paragraph(console, Text.assemble(("  remedy: ", "cyan"), safe(finding.remedy)), hang=10)
