"""`bulkmail pause`, `resume`, `cancel`: orders to a run that another process sends, or that waits to be sent."""

import sys
import time
from pathlib import Path

import typer

from bulkmail.cli.hints import command
from bulkmail.cli.output import out
from bulkmail.cli.places import has_state, place
from bulkmail.cli.status import summary_of
from bulkmail.clock import SystemClock
from bulkmail.errors import StateError, StateInUse
from bulkmail.store.directory import owner_of
from bulkmail.store.orders import Kind, Order, give_order, standing_order, take_back
from bulkmail.store.runs import Run, RunState
from bulkmail.store.store import Store
from bulkmail.store.view import StoreView

# A node looks four times a second; then replies under way are waited for.
CANCEL_SECONDS = 65.0
LOOK_SECONDS = 0.1


def pause(campaign: str, *, reason: str, state: Path | None) -> None:
    """Let the campaign's run begin no more messages, until `resume`. Raises CampaignError and StateError."""
    directory, run = _open_run(campaign, state)
    give_order(directory, run.id, Order(kind=Kind.PAUSE, reason=reason, time=time.time()))
    sending = owner_of(directory) is not None
    out().print(f"run {run.id} is paused" + ("" if sending else "; a `send` of it will wait"))
    out().print(f"`{command('resume', campaign, directory=directory, campaign=_file(campaign))}` lets it go on")


def resume(campaign: str, *, state: Path | None) -> None:
    """Take the order to pause back. Raises CampaignError and StateError."""
    directory, run = _open_run(campaign, state)
    order = standing_order(directory, run.id)
    if order is not None and order.kind is Kind.CANCEL:
        raise StateError(f"run {run.id} is being cancelled")
    if not take_back(directory, run.id):
        out().print(f"run {run.id} was not paused")
        return
    out().print(f"run {run.id} goes on")
    if owner_of(directory) is None:
        line = command("send", campaign, directory=directory, campaign=_file(campaign))
        out().print(f"nobody is sending it: `{line}`")


def cancel(campaign: str, *, yes: bool, state: Path | None) -> None:
    """End the run for good: who has not got the mail will not. Raises CampaignError and StateError."""
    directory, run = _open_run(campaign, state)
    if not yes and sys.stdin.isatty() and not typer.confirm(f"Give run {run.id} up, for good?", err=True):
        return
    order = Order(kind=Kind.CANCEL, reason="cancelled", time=time.time())
    try:
        with Store.open(directory, clock=SystemClock) as store:
            store.set_state(run.number, RunState.CANCELLED)
            take_back(directory, run.id)
    except StateInUse:
        give_order(directory, run.id, order)
        if not _ended(directory, run):
            out().print(f"run {run.id} is being cancelled: replies under way are waited for")
            return
    with StoreView.open_readonly(directory) as view:
        counts = summary_of(view, view.run(run.number))
    out().print(
        f"run {run.id} is cancelled: {counts.delivered:,} of {counts.recipients:,} delivered, "
        f"{counts.deferred:,} will get nothing"
    )


def _open_run(campaign: str, state: Path | None) -> tuple[Path, Run]:
    directory, name = place(campaign, state)
    run = None
    if has_state(directory):
        with StoreView.open_readonly(directory) as view:
            run = view.latest_run(name or "")
    if run is None:
        raise StateError(f"{directory}: no run of {name} yet", hint="`send` begins one")
    if run.state.ended:
        raise StateError(f"run {run.id} is {run.state.value} already")
    return directory, run


def _ended(directory: Path, run: Run) -> bool:
    deadline = time.monotonic() + CANCEL_SECONDS
    while time.monotonic() < deadline:
        with StoreView.open_readonly(directory) as view:
            if view.run(run.number).state.ended:
                return True
        if owner_of(directory) is None:
            # It ended by itself in between.
            with Store.open(directory, clock=SystemClock) as store:
                store.set_state(run.number, RunState.CANCELLED)
            return True
        time.sleep(LOOK_SECONDS)
    return False


def _file(campaign: str) -> str | None:
    return campaign if Path(campaign).exists() else None
