"""Where a run's CPU time went: microseconds a message by stage."""

from collections.abc import Sequence

from msgspec import Struct

from bulkmail.cli.output import PlainConsole, table
from bulkmail.model.cpu import STAGES, CpuSpent

# Above this share of the loop's thread, its core is what binds.
BUSY_SHARE = 0.8
# With fewer messages, what a start takes would be told as the price of a message.
FEWEST_MESSAGES = 1_000
MEANINGS = {
    "intake": "reading, checking and storing the rows",
    "composing": "filling the templates",
    "signing": "hashes and signatures",
    "loop": "sockets, sessions, DNS, limits, journal",
    "recording": "syncs and the event log",
    "store": "claiming and closing chunks",
    "rest": "everything else, such as threads waiting for the interpreter",
}


class CpuReport(Struct, frozen=True, kw_only=True):
    """CPU of a run; `stages` are microseconds a message composed, and add up to `microseconds`.

    `blocks` and `blocked_seconds`: how often the event loop was blocked, and for how long altogether;
    `blocked_at` has the first few places.
    """

    messages: int
    seconds: float
    microseconds: float
    stages: dict[str, float]
    loop_share: float
    blocks: int
    blocked_seconds: float
    blocked_at: list[str]


def cpu_report(spent: CpuSpent, blocked_at: Sequence[str] = ()) -> CpuReport | None:
    """None where nothing was composed yet."""
    if not spent.messages:
        return None
    return CpuReport(
        messages=spent.messages,
        seconds=round(spent.total, 3),
        microseconds=round(spent.total / spent.messages * 1e6, 3),
        stages={stage: round(spent.microseconds(stage), 3) for stage in STAGES},
        loop_share=round(spent.loop_share, 3),
        blocks=spent.blocks,
        blocked_seconds=round(spent.blocked_seconds, 3),
        blocked_at=list(blocked_at),
    )


def print_cpu(console: PlainConsole, spent: CpuSpent, blocked_at: Sequence[str] = ()) -> None:
    """A table, after a blank line; of a run of few messages no more than what went wrong."""
    report = cpu_report(spent)
    if report is not None and report.messages >= FEWEST_MESSAGES:
        _print_stages(console, report)
    if spent.blocks:
        often = "once" if spent.blocks == 1 else f"{spent.blocks:,} times"
        console.print()
        colon = ":" if blocked_at else ""
        console.print(f"the event loop was blocked {often}, {spent.blocked_seconds:.2f} s in all{colon}")
        for place in blocked_at:
            console.print(f"  {place}")


def _print_stages(console: PlainConsole, report: CpuReport) -> None:
    rows = [(stage, f"{report.stages[stage]:,.1f}", MEANINGS[stage]) for stage in STAGES]
    rows.append(("total", f"{report.microseconds:,.1f}", f"{report.messages:,} messages composed"))
    console.print()
    console.print(table(("CPU", "us a message", "for"), rows, columns=console.width, numbers=(1,)))
    if report.loop_share > BUSY_SHARE:
        console.print(f"  the event loop was at work {report.loop_share:.0%} of the time: its core is what bound")
