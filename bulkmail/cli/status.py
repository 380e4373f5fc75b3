"""`bulkmail status`: how the runs stand, whoever is sending them."""

from collections import Counter
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.text import Text

from bulkmail.cli.output import COLOURS, local_time, out, print_json, span, table
from bulkmail.cli.places import has_state, place
from bulkmail.cli.tally import came_back
from bulkmail.clock import SystemClock, rfc3339
from bulkmail.errors import StateError
from bulkmail.model.delivery import CAME_BACK, Disposition, Summary
from bulkmail.store.chunks import HELD_SECONDS
from bulkmail.store.directory import owner_of
from bulkmail.store.orders import Kind, standing_order
from bulkmail.store.runs import Run, RunState
from bulkmail.store.view import StoreView

# With fewer, a run has no room for everything that may be said of it.
WIDE_COLUMNS = 120
HEAD = ("run", "state", "recipients", "delivered", "deferred", "bounced", "expired", "in doubt", "when")


class RunStatus(Struct, frozen=True, kw_only=True):
    """One run as it stands; times as RFC 3339, `next_due` when the next recipient not being tried now is due.

    `state` is reading, sending, stopped, finished or cancelled.
    """

    run: str
    campaign: str
    state: str
    created: str
    finished: str | None
    recipients: int
    rejected: int
    duplicates: int
    suppressed: int
    delivered: int
    deferred: int
    bounced: int
    expired: int
    in_doubt: int
    next_due: str | None
    bounced_later: int = 0
    complaints: int = 0
    unsubscribes: int = 0


class Status(Struct, frozen=True, kw_only=True):
    """The whole answer; `sending_process` has the state directory now."""

    directory: str
    sending_process: int | None
    runs: list[RunStatus]


def status(campaign: str | None, *, state: Path | None, json: bool) -> None:
    """Print all runs, or the campaign's. Raises CampaignError and StateError."""
    directory, name = place(campaign, state)
    if not has_state(directory):
        raise StateError(f"{directory}: nothing has been sent from here yet", hint="`send` a campaign first")
    pid = owner_of(directory)
    with StoreView.open_readonly(directory) as view:
        runs = [run for run in view.runs() if name is None or run.campaign == name]
        dues = {run.number: next_due(view, run) for run in runs}
        summaries = {run.number: summary_of(view, run) for run in runs}
    if json:
        listed = [
            _status(
                run,
                summaries[run.number],
                dues[run.number],
                _came_back(directory, run),
                running=pid is not None,
                paused=is_paused(directory, run),
            )
            for run in runs
        ]
        print_json(msgspec.to_builtins(Status(directory=str(directory), sending_process=pid, runs=listed)))
        return
    console = out()
    console.print(f"{directory}: {f'process {pid} is sending' if pid else 'nobody is sending'}")
    if not runs:
        console.print(f"no run of {name} yet" if name else "no runs yet")
        return
    console.print()
    now = SystemClock.time()
    narrow = console.width < WIDE_COLUMNS
    rows = [
        _row(
            run,
            summaries[run.number],
            dues[run.number],
            now,
            running=pid is not None,
            paused=is_paused(directory, run),
            narrow=narrow,
        )
        for run in runs
    ]
    head: tuple[str, ...] = HEAD
    if narrow:
        # Columns of nothing but zeros say nothing.
        kept = [place for place in range(len(head)) if place < 4 or any(_says(row[place]) for row in rows)]
        head, rows = tuple(head[place] for place in kept), [[row[place] for place in kept] for row in rows]
    console.print(table(head, rows, columns=console.width, numbers=range(2, len(head) - 1)))
    answered = [(run.id, back) for run in runs if (back := _came_back(directory, run))]
    if answered:
        console.print()
        lines = [(run, *(f"{back[name]:,}" for name in CAME_BACK[:3])) for run, back in answered]
        titles = ("came back of", "bounces", "complaints", "unsubscribes")
        console.print(table(titles, lines, columns=console.width, numbers=(1, 2, 3)))


def _says(cell: str | Text) -> bool:
    return str(cell) != "0"


def summary_of(view: StoreView, run: Run) -> Summary:
    """The run's outcomes, as `send --json` counts them; without speed."""
    counts = view.counts(run.number)
    return Summary(
        campaign=run.campaign,
        run=run.id,
        state=run.state.value,
        recipients=run.rows,
        rejected=run.rejected,
        duplicates=run.duplicates,
        suppressed=run.suppressed + counts[Disposition.SUPPRESSED],
        delivered=counts[Disposition.DELIVERED],
        deferred=counts[Disposition.DEFERRED] + counts[Disposition.OPEN],
        bounced=counts[Disposition.BOUNCED],
        expired=counts[Disposition.EXPIRED],
        in_doubt=counts[Disposition.IN_DOUBT],
    )


def next_due(view: StoreView, run: Run) -> float | None:
    """When the next recipient is due (Unix seconds, may be past); None where nobody is open."""
    if run.state.ended:
        return None
    dues = [0.0 if entry.chunks_ready else entry.next_due for entry in view.backlog(run.number, SystemClock.time())]
    return min((due for due in dues if due is not None), default=None)


def is_paused(directory: Path, run: Run) -> bool:
    """Whether somebody, or the canary, has ordered a pause."""
    order = standing_order(directory, run.id)
    return order is not None and order.kind is Kind.PAUSE


def _came_back(directory: Path, run: Run) -> Counter[str]:
    return Counter(event.event for event in came_back(directory, run))


def _status(
    run: Run, summary: Summary, due: float | None, back: Counter[str], *, running: bool, paused: bool
) -> RunStatus:
    return RunStatus(
        run=run.id,
        campaign=run.campaign,
        state=state_word(run, running=running, paused=paused),
        created=rfc3339(run.created),
        finished=None if run.finished is None else rfc3339(run.finished),
        recipients=summary.recipients,
        rejected=summary.rejected,
        duplicates=summary.duplicates,
        suppressed=summary.suppressed,
        delivered=summary.delivered,
        deferred=summary.deferred,
        bounced=summary.bounced,
        expired=summary.expired,
        in_doubt=summary.in_doubt,
        next_due=None if due is None else rfc3339(max(due, SystemClock.time())),
        bounced_later=back["bounce"],
        complaints=back["complaint"],
        unsubscribes=back["unsubscribe"],
    )


def _row(
    run: Run, summary: Summary, due: float | None, now: float, *, running: bool, paused: bool, narrow: bool
) -> list[str | Text]:
    cells: list[str | Text] = [run.id, state_word(run, running=running, paused=paused), f"{summary.recipients:,}"]
    for name in ("delivered", "deferred", "bounced", "expired", "in_doubt"):
        count = getattr(summary, name)
        cells.append(Text(f"{count:,}", COLOURS[name] if count else "dim"))
    if run.finished is not None:
        cells.append(_short_time(run.finished) if narrow else f"ended {local_time(run.finished)}")
    elif due is None:
        cells.append(_short_time(run.created) if narrow else f"begun {local_time(run.created)}")
    else:
        cells.append(_next_try(due - now))
    return cells


def _short_time(unix_seconds: float) -> str:
    """`03-01 09:15`, in the time zone of whoever reads it."""
    return datetime.fromtimestamp(unix_seconds).strftime("%m-%d %H:%M")


def _next_try(seconds: float) -> str:
    if seconds > HELD_SECONDS / 2:
        return "when its first recipients have shown that it can"
    return "next try now" if seconds <= 0 else f"next try in {span(seconds)}"


def state_word(run: Run, *, running: bool, paused: bool = False) -> str:
    """A run that nobody sends is stopped, wherever it stands."""
    if run.state.ended:
        return run.state.value
    if paused:
        return "paused"
    if not running:
        return "stopped"
    return "reading" if run.state is RunState.INTAKE else "sending"
