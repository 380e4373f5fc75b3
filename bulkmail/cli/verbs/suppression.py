"""`bulkmail suppress`: its verbs and what they take."""

from pathlib import Path
from typing import Annotated

import typer

from bulkmail.cli.errors import reported
from bulkmail.cli.verbs.arguments import Addresses, Json, List, OfCampaign, State

suppress = typer.Typer(help="Addresses that get no mail: add, remove, look up, import, export.", no_args_is_help=True)


@suppress.command()
def add(
    addresses: Addresses,
    list: List = None,
    campaign: OfCampaign = None,
    reason: Annotated[str, typer.Option(help="Why, in your words.")] = "manual",
    span: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Only for so long, such as 90d. Default: for good.")
    ] = None,
    state: State = None,
) -> None:
    """Send these addresses nothing more, from this moment on; @house.example is all of that domain."""
    with reported():
        from bulkmail.cli import suppress as verb

        verb.add(addresses, where=verb.Where(list, campaign), reason=reason, span=span, state=state)


@suppress.command()
def remove(addresses: Addresses, list: List = None, campaign: OfCampaign = None, state: State = None) -> None:
    """Take these addresses off again (with --list or --campaign: only that entry)."""
    with reported():
        from bulkmail.cli import suppress as verb

        verb.remove(addresses, where=verb.Where(list, campaign), state=state)


@suppress.command("check")
def check_suppression(
    addresses: Addresses, list: List = None, campaign: OfCampaign = None, state: State = None
) -> None:
    """Say of each address whether it is suppressed, since when and why."""
    with reported():
        from bulkmail.cli import suppress as verb

        verb.check(addresses, where=verb.Where(list, campaign), state=state)


@suppress.command()
def show(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="One address.")],
    json: Json = False,
    state: State = None,
) -> None:
    """Tell all that befell one address: what holds now, what was, and who said so."""
    with reported():
        from bulkmail.cli import suppress as verb

        verb.show(address, json=json, state=state)


@suppress.command("import")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help="CSV as `export` writes it, or as Amazon SES, SendGrid, Mailgun or Postmark do.",
        ),
    ],
    list: List = None,
    campaign: OfCampaign = None,
    reason: Annotated[str, typer.Option(help="Why, for rows that do not say.")] = "imported",
    state: State = None,
) -> None:
    """Add the addresses of a CSV file; all of them or, on an error, none."""
    with reported():
        from bulkmail.cli import suppress as verb

        verb.import_file(file, where=verb.Where(list, campaign), reason=reason, state=state)


@suppress.command()
def export(list: List = None, campaign: OfCampaign = None, state: State = None) -> None:
    """Print all entries as CSV: address,scope,reason,source,time (and expires, where any does)."""
    with reported():
        from bulkmail.cli import suppress as verb

        verb.export(where=verb.Where(list, campaign), state=state)


@suppress.command("hash")
def hash_all(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it: there is no way back.")] = False,
    state: State = None,
) -> None:
    """Keep keyed hashes in place of addresses, now and from now on; look-ups work as before."""
    with reported():
        from bulkmail.cli import suppress as verb

        verb.hash_all(yes=yes, state=state)
