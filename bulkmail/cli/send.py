"""`bulkmail send`: run a campaign to its end, or to a stop that can be resumed."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import typer
import uvloop
from msgspec import Struct

from bulkmail.cli.display import Display, shown
from bulkmail.cli.errors import FINISHED, STOPPED, readers_may_leave
from bulkmail.cli.events import unposted
from bulkmail.cli.hints import command, near
from bulkmail.cli.output import err, local_time, print_json
from bulkmail.cli.places import has_state
from bulkmail.cli.summary import print_already_finished, print_summary
from bulkmail.composition import Send, SendOptions
from bulkmail.config.load import load_campaign, placing_errors
from bulkmail.engine.pinning import exceeds
from bulkmail.engine.statistics import Snapshot
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Summary
from bulkmail.outbound import Means, means_of
from bulkmail.preflight.rows import count_rows
from bulkmail.resumption import Taken
from bulkmail.store.locate import state_for_campaign
from bulkmail.store.runs import Run, RunState
from bulkmail.store.view import StoreView

# More real messages than this are not sent without a question.
ASK_ABOVE = 1_000
# What an interpreter begins with.
USUAL_COLLECTIONS = (700, 10, 10)


class Wishes(Struct, frozen=True, kw_only=True):
    """The options of the verb."""

    json: bool = False
    state: Path | None = None
    limit: int | None = None
    yes: bool = False
    new_run: bool = False
    wait: bool = True
    signers: int | None = None
    turbo: bool = True
    nodes: int = 1


class Sent(Struct, frozen=True, kw_only=True):
    """What is known when a send is over."""

    summary: Summary
    taken: Taken
    finished_at: float | None
    snapshot: Snapshot | None
    maildir: Path | None


def send(file: str, wishes: Wishes) -> int:
    """The exit code. Raises CampaignError and StateError."""
    campaign = load_campaign(file)
    directory = state_for_campaign(campaign.file, wishes.state)
    latest = None if wishes.new_run else _latest_run(campaign, directory)
    means = None
    if campaign.delivery.route != "sandbox" and (latest is None or latest.state is not RunState.FINISHED):
        # Nobody is asked whether to send what cannot be signed, or sent.
        with placing_errors(campaign.file):
            means = means_of(campaign)
    if not _agreed(campaign, latest, wishes):
        err().print("nothing was sent")
        return STOPPED
    sent = uvloop.run(_send(campaign, directory, wishes, means))
    if sent is None:
        err().print("stopped before anything was sent")
        return STOPPED
    with readers_may_leave():
        if wishes.json:
            print_json(msgspec.to_builtins(sent.summary))
        elif sent.taken is Taken.FINISHED:
            print_already_finished(file, directory, sent.summary, sent.finished_at)
        else:
            print_summary(file, campaign, directory, sent.summary, sent.snapshot, sent.maildir)
    if wishes.json and sent.taken is Taken.FINISHED:
        err().print(f"run {sent.summary.run} is finished already; nothing was sent (--new-run sends once more)")
    return FINISHED if sent.summary.state == "finished" else STOPPED


async def _send(campaign: Campaign, directory: Path, wishes: Wishes, means: Means | None) -> Sent | None:
    options = SendOptions(
        new_run=wishes.new_run,
        limit=wishes.limit,
        wait=wishes.wait,
        signers=wishes.signers,
        turbo=wishes.turbo,
        nodes=wishes.nodes,
    )
    stopper = Stopper(asyncio.current_task())
    try:
        async with Send(campaign, directory, options=options, means=means) as sending:
            if sending.taken is Taken.FINISHED:
                summary = await sending.execute()
                return Sent(
                    summary=summary,
                    taken=sending.taken,
                    finished_at=sending.run.finished,
                    snapshot=None,
                    maildir=None,
                )
            async with shown(campaign.campaign, sending.run.id, sending.snapshot) as display:
                if sending.taken is Taken.RESUMED:
                    display.say(f"going on with run {sending.run.id} of {local_time(sending.run.created)}")
                # What is loaded by now lives to the end: the collector need not look at it, nor once before.
                gc.freeze()
                # What is set while modules are loaded would let a look take longer than the loop may be held up.
                gc.set_threshold(*USUAL_COLLECTIONS)
                stopper.ready(sending.stop, display)
                summary = await sending.execute()
            file = campaign.file or ""
            push = command("events", "push", near(Path(file)), directory=directory, campaign=file)
            for line in unposted(sending.webhooks.progress if sending.webhooks is not None else (), push=push):
                err().print(line)
            maildir = sending.sandbox.maildir if sending.sandbox is not None else None
            return Sent(
                summary=summary,
                taken=sending.taken,
                finished_at=None,
                snapshot=sending.snapshot(),
                maildir=maildir,
            )
    except asyncio.CancelledError:
        if not stopper.asked:
            raise
        return None
    finally:
        stopper.close()


class Stopper:
    """What SIGINT and SIGTERM do: the first stops in order, the second SIGINT ends the process at once."""

    def __init__(self, task: "asyncio.Task[object] | None") -> None:
        self.asked = False
        self._task = task
        self._stop: Callable[[], None] | None = None
        self._display: Display | None = None
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._signalled, number)

    def ready(self, stop: Callable[[], None], display: Display) -> None:
        """From here on there is something to stop in order."""
        self._stop, self._display = stop, display
        if self.asked:
            stop()

    def close(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.remove_signal_handler(number)

    def _signalled(self, number: int) -> None:
        again = self.asked
        self.asked = True
        if self._stop is None:
            if again:
                os._exit(STOPPED)
            if self._task is not None:
                self._task.cancel()
        elif not again:
            self._stop()
            self._say("stopping: replies under way are waited for; Ctrl-C again ends at once")
        elif number == signal.SIGINT:
            self._end_at_once()

    def _end_at_once(self) -> None:
        """The journal has every outcome already; the next start replays it."""
        try:
            if self._display is not None:
                self._display.end()
            self._say("ended at once; the same command goes on from here")
        finally:
            os._exit(STOPPED)

    def _say(self, text: str) -> None:
        if self._display is not None:
            self._display.say(text)


def _agreed(campaign: Campaign, latest: Run | None, wishes: Wishes) -> bool:
    """Ask before many real messages, where there is somebody to ask."""
    if campaign.delivery.route == "sandbox" or wishes.yes or not sys.stdin.isatty() or not sys.stderr.isatty():
        return True
    begun = latest is not None and latest.state in (RunState.SENDING, RunState.FINISHED)
    if latest is not None and begun and not wishes.new_run and not exceeds(latest.settings, wishes.limit):
        # It has begun to send to all of these, or is over: nothing new is decided now.
        return True
    rows = sum(map(count_rows, campaign.recipients))
    if wishes.limit is not None:
        rows = min(rows, wishes.limit)
    if rows <= ASK_ABOVE:
        return True
    delivery = campaign.delivery
    way = f"through {' and '.join(one.host for one in delivery.relay)}" if delivery.route == "relay" else "for real"
    return typer.confirm(f"Send {campaign.campaign} to about {rows:,} recipients, {way}?", err=True)


def _latest_run(campaign: Campaign, directory: Path) -> Run | None:
    if not has_state(directory):
        return None
    with StoreView.open_readonly(directory) as view:
        return view.latest_run(campaign.campaign)
