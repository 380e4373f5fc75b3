"""The verbs that say what became of a run: status, report, why."""

from pathlib import Path
from typing import Annotated

import typer

from bulkmail.cli.errors import reported
from bulkmail.cli.verbs.arguments import Json, MaybeCampaign, State


def status(campaign: MaybeCampaign = None, state: State = None, json: Json = False) -> None:
    """How the runs stand, also while one is sending."""
    with reported():
        from bulkmail.cli import status as verb

        verb.status(campaign, state=state, json=json)


def report(
    campaign: MaybeCampaign = None,
    run: Annotated[str | None, typer.Option(metavar="ID", help="This run. Default: the latest.")] = None,
    state: State = None,
    json: Json = False,
    undelivered: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write a CSV of everybody who did not get the mail, and why; - for stdout."),
    ] = None,
    csv: Annotated[
        str | None,
        typer.Option("--csv", metavar="FILE", help="Write the figures by site, list and day as CSV; - for stdout."),
    ] = None,
    tls: Annotated[
        bool,
        typer.Option("--tls", help="What came of MTA-STS and DANE, of all runs; with --json as reports of RFC 8460."),
    ] = False,
    day: Annotated[str | None, typer.Option(metavar="DATE", help="With --tls: this day (UTC) alone.")] = None,
    contact: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="With --tls: whom the reports name as yours.")
    ] = None,
    send: Annotated[
        bool,
        typer.Option("--send", help="With --tls: send reports of days that are over to the domains that ask for it."),
    ] = False,
    eml: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --send: write reports by mail here, for others to sign and send."),
    ] = None,
) -> None:
    """What became of a run: counts, sites, reasons with an example of each, and who got no mail."""
    with reported():
        if tls:
            from bulkmail.cli.tlsreport import tls_report

            raise typer.Exit(tls_report(campaign, state=state, day=day, contact=contact, json=json, send=send, eml=eml))
        from bulkmail.cli import report as verb

        verb.report(campaign, run_id=run, state=state, json=json, undelivered=undelivered, table_file=csv)


def why(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="A recipient.")],
    campaign: MaybeCampaign = None,
    state: State = None,
) -> None:
    """What happened to one address, attempt by attempt, and what happens next."""
    with reported():
        from bulkmail.cli import why as verb

        verb.why(address, campaign, state=state)
