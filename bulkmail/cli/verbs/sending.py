"""The verbs that send, and what steers a run: send, test, pause, resume, cancel."""

from typing import Annotated

import typer

from bulkmail.cli.errors import reported
from bulkmail.cli.verbs.arguments import CampaignFile, Json, State, row_numbers


def send(
    campaign: CampaignFile,
    json: Json = False,
    state: State = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read everything, write nothing: counts, and the first message.")
    ] = False,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="Send it all to simulated receivers, nothing leaves: when it would end, what holds it up.",
        ),
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first rows of the recipients.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before many real messages.")] = False,
    new_run: Annotated[
        bool, typer.Option("--new-run", help="Start another run, even though all have got this mail already.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for retries, or stop when nothing is due now.")
    ] = True,
    signers: Annotated[
        int | None, typer.Option(min=1, help="Threads that compose and sign. Default: one less than the cores.")
    ] = None,
    turbo: Annotated[
        bool, typer.Option("--turbo/--no-turbo", help="Sign eight messages at once where `bulkmail[turbo]` can.")
    ] = True,
    nodes: Annotated[
        int, typer.Option(min=1, max=64, help="Sending processes; of several, each has --signers of its own.")
    ] = 1,
) -> None:
    """Send a campaign, or go on with its run that was stopped.

    Exit codes: 0 every recipient is final, 3 stopped with deliveries open (call again to go on), 2 the input is
    wrong, 1 internal error. Ctrl-C stops in order, twice at once.
    """
    if dry_run and simulate:
        raise typer.BadParameter("one of --dry-run and --simulate", param_hint="--simulate")
    with reported():
        if dry_run:
            from bulkmail.cli import dryrun

            dryrun.dry_run(campaign, json=json, state=state, limit=limit)
        elif simulate:
            from bulkmail.cli import simulate as simulation

            simulation.simulate(campaign, json=json, state=state, limit=limit)
        else:
            from bulkmail.cli import send as verb

            wishes = verb.Wishes(
                json=json,
                state=state,
                limit=limit,
                yes=yes,
                new_run=new_run,
                wait=wait,
                signers=signers,
                turbo=turbo,
                nodes=nodes,
            )
            raise typer.Exit(verb.send(campaign, wishes))


def test(
    campaign: CampaignFile,
    to: Annotated[list[str], typer.Option(metavar="ADDRESS", help="Who gets the messages; repeat for more.")],
    rows: Annotated[
        str | None, typer.Option(metavar="1,5", help="Of these rows, counted from 1. Default: the first.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Of the row with this address.")] = None,
    prefix: Annotated[str, typer.Option(help="Put before the subject, such as [test].")] = "",
    json: Json = False,
    state: State = None,
) -> None:
    """Send rendered messages of chosen rows to yourself, by the real route and apart from any run.

    Exit codes: 0 delivered, 3 not all were, 2 the input is wrong.
    """
    chosen = row_numbers(rows)
    with reported():
        from bulkmail.cli import trial

        code = trial.test(campaign, to=to, rows=chosen, address=address, prefix=prefix, state=state, json=json)
        raise typer.Exit(code)


def pause(
    campaign: CampaignFile,
    reason: Annotated[str, typer.Option(help="Why, in your words.")] = "ordered",
    state: State = None,
) -> None:
    """Let a run begin no more messages, within a second and over restarts, until `resume`."""
    with reported():
        from bulkmail.cli import life

        life.pause(campaign, reason=reason, state=state)


def resume(campaign: CampaignFile, state: State = None) -> None:
    """Let a run that was paused go on."""
    with reported():
        from bulkmail.cli import life

        life.resume(campaign, state=state)


def cancel(
    campaign: CampaignFile,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    state: State = None,
) -> None:
    """End a run for good: who has not got the mail by now will not."""
    with reported():
        from bulkmail.cli import life

        life.cancel(campaign, yes=yes, state=state)
