"""Find the run that a send goes on with, or that is over already; or make a new one."""

from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct

from bulkmail.engine.pinning import LIMIT, Pins, changes, exceeds
from bulkmail.engine.statistics import Statistics
from bulkmail.errors import RunConflict
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Summary
from bulkmail.store.directory import DATABASE
from bulkmail.store.runs import Run, RunState
from bulkmail.store.store import Store
from bulkmail.store.view import StoreView


class Taken(StrEnum):
    """How a send came to its run."""

    NEW = "new"
    RESUMED = "resumed"
    FINISHED = "finished"


class Found(Struct, frozen=True):
    """`run` is None where a new one is to be made."""

    run: Run | None
    taken: Taken


def find_run(store: Store, name: str, pins: Pins, *, new_run: bool, limit: int | None) -> Found:
    """Of the campaign `name`. Raises RunConflict where its latest run cannot be gone on with."""
    latest = store.latest_run(name)
    if latest is None or new_run:
        if latest is not None and latest.state not in (RunState.FINISHED, RunState.CANCELLED):
            store.set_state(latest.number, RunState.CANCELLED)
        return Found(None, Taken.NEW)
    # A run without a row has reached nobody, and must not keep the mail from those who are in the list by now.
    if latest.rows == 0 and latest.state.ended:
        return Found(None, Taken.NEW)
    if latest.state is RunState.CANCELLED:
        raise RunConflict(
            f"run {latest.id} was cancelled, and there is no going on with it",
            hint="--new-run sends to all, also to those who have got this mail already",
        )
    goes_further = exceeds(latest.settings, limit)
    if latest.state is RunState.FINISHED and not goes_further:
        return Found(latest, Taken.FINISHED)
    different = [name for name in changes(latest.settings, pins) if not (name == LIMIT and goes_further)]
    if different:
        how_far = f"has sent to the first {latest.rows:,} rows" if goes_further else "is not finished"
        raise RunConflict(
            f"run {latest.id} {how_far} and was started from another version of this campaign: "
            f"{', '.join(different)} changed since",
            hint="put that back to finish the run, or give it up and start anew with --new-run "
            "(who has got this mail already will get it again)",
        )
    if goes_further:
        latest = store.extend_run(latest, recipients_hash=pins.recipients_hash, settings=pins.encoded())
    return Found(latest, Taken.RESUMED)


def is_over(directory: Path, name: str, *, new_run: bool, limit: int | None) -> bool:
    """Whether `find_run` would find a finished run; asked before anything is opened, or made."""
    if new_run or not (directory / DATABASE).is_file():
        return False
    with StoreView.open_readonly(directory) as view:
        latest = view.latest_run(name)
    finished = latest is not None and latest.state is RunState.FINISHED and latest.rows > 0
    return latest is not None and finished and not exceeds(latest.settings, limit)


def make_run(store: Store, name: str, pins: Pins) -> Run:
    return store.create_run(
        name, content_hash=pins.content_hash, recipients_hash=pins.recipients_hash, settings=pins.encoded()
    )


def finished_summary(store: Store, campaign: Campaign, run: Run) -> Summary:
    """What a run that is over came to; it took no time now."""
    statistics = Statistics(campaign, run.id, now=0.0)
    statistics.rows, statistics.rejected = run.rows, run.rejected
    statistics.duplicates, statistics.suppressed_at_intake = run.duplicates, run.suppressed
    statistics.totals.update(store.counts(run.number))
    return msgspec.structs.replace(statistics.summary("finished", 0.0), seconds=0.0, messages_per_second=0.0)
