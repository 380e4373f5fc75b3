"""`bulkmail events`: bring the receivers of events up to date."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bulkmail.cli.errors import reported

if TYPE_CHECKING:
    from bulkmail.engine.webhooks import Progress

LEFT_OVER = 3

events = typer.Typer(help="Events of runs, and the webhooks that they are posted to.", no_args_is_help=True)


@events.callback()
def group() -> None:
    """Events of runs, and the webhooks that they are posted to."""


@events.command()
def push(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign's YAML file, with `webhooks`.")],
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what comes, until interrupted: bounces come for weeks.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    state: Annotated[Path | None, typer.Option("--state", metavar="DIR", help="The state directory.")] = None,
) -> None:
    """Post the events that the campaign's webhooks have not got yet. `send` does so too while it runs.

    Exit codes: 0 all have all, 3 something is left for another time.
    """
    with reported():
        raise typer.Exit(_push(campaign, follow=follow, json=json, state=state))


def unposted(progress: "Iterable[Progress]", *, push: str = "") -> Iterator[str]:
    """A line for each receiver that has not got everything, as far as is known here; `push` goes on with it."""
    goes_on = f"; `{push}` goes on with it" if push else ""
    for one in progress:
        if one.elsewhere:
            yield f"{one.url}: {one.problem}"
        elif one.waiting_bytes or one.problem:
            why = f": {one.problem}" if one.problem else ""
            yield f"{one.url} has not got {one.waiting_bytes:,} bytes of events{why}{goes_on}"


def _push(file: str, *, follow: bool, json: bool, state: Path | None) -> int:
    import asyncio

    import msgspec

    from bulkmail.cli.output import err, safe
    from bulkmail.clock import SystemClock
    from bulkmail.config.load import load_campaign
    from bulkmail.config.secrets import webhook_targets
    from bulkmail.engine.webhooks import Pusher
    from bulkmail.errors import CampaignError, StateError
    from bulkmail.store.directory import EVENTS
    from bulkmail.store.locate import state_for_campaign

    campaign = load_campaign(file)
    if not campaign.webhooks:
        raise CampaignError("there are none", file=file, path="webhooks", hint="see docs/webhooks.md")
    directory = state_for_campaign(campaign.file, state)
    if not (directory / EVENTS).is_dir():
        raise StateError(f"{directory}: nothing has been sent from here yet", hint="`send` a campaign first")
    targets = webhook_targets(campaign)

    async def main() -> list["Progress"]:
        pushers = [Pusher(directory, campaign.campaign, target, clock=SystemClock, eager=True) for target in targets]
        stop = asyncio.Event()
        try:
            await asyncio.gather(*(one.follow(stop) if follow else one.push_all() for one in pushers))
        finally:
            for one in pushers:
                await one.close()
        return [one.progress for one in pushers]

    try:
        progress = asyncio.run(main())
    except KeyboardInterrupt:
        return LEFT_OVER
    if json:
        print(msgspec.json.encode({"webhooks": progress}).decode())
    else:
        for one in progress:
            print(f"{safe(one.url)}: {one.events:,} events in {one.requests:,} requests")
        for line in unposted(progress):
            err().print(safe(line))
    return LEFT_OVER if any(one.waiting_bytes or one.problem for one in progress) else 0
