"""The verbs before a send: init, check, preview, doctor, bench."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bulkmail.cli.errors import reported
from bulkmail.cli.verbs.arguments import CampaignFile, Json, State, row_numbers


class Part(StrEnum):
    """What `preview` shows."""

    HEADERS = "headers"
    HTML = "html"
    TEXT = "text"
    SOURCE = "source"
    ALL = "all"


class MailKind(StrEnum):
    """What `init` makes."""

    MARKETING = "marketing"
    TRANSACTIONAL = "transactional"


def check(
    campaign: Annotated[str | None, typer.Argument(metavar="CAMPAIGN", help="The campaign's YAML file.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of campaign files.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Print every rule with its level and what it finds.")] = False,
    json: Json = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings, too.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no DNS server.")] = False,
    online: Annotated[
        bool, typer.Option("--online", help="Also fetch links and pictures, and look up recipients' domains.")
    ] = False,
    records: Annotated[
        Path | None, typer.Option(metavar="FILE", help="DNS records to judge SPF, DKIM and DMARC by: NAME TYPE VALUE.")
    ] = None,
    disposable: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Domains of throw-away mailboxes, one a line.")
    ] = None,
    state: State = None,
) -> None:
    """Find what is wrong with a campaign before anybody gets mail.

    Exit codes: 0 no errors, 2 errors (with --strict also warnings).
    """
    if campaign is None and not schema and not rules:
        raise typer.BadParameter("name a campaign file, or give --schema or --rules", param_hint="CAMPAIGN")
    if online and (offline or records is not None):
        raise typer.BadParameter("--online asks the network, which --offline and --records do not")
    with reported():
        from bulkmail.cli import check as verb

        if rules:
            verb.print_rules(json=json)
        elif campaign is None or schema:
            verb.print_schema()
        else:
            from bulkmail.preflight.inspection import Means

            means = Means(offline=offline, online=online, records=records, disposable=disposable)
            options = verb.Options(json=json, strict=strict, state=state, means=means)
            raise typer.Exit(verb.check(campaign, options))


def doctor(
    subject: Annotated[
        str | None, typer.Argument(metavar="[CAMPAIGN|ADDRESS]", help="A campaign file or one recipient.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option(metavar="CAMPAIGN", help="The campaign that a recipient is looked at for.")
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="IP", help="The address that receivers see (behind NAT, or of a relay); repeat for more."),
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN", help="Try port 25 with this domain's mail exchangers, not with our own."),
    ] = None,
    lists: Annotated[bool, typer.Option("--lists", help="Ask well-known public block lists.")] = False,
    zone: Annotated[
        list[str] | None, typer.Option(metavar="ZONE", help="Ask this block list; repeat for more.")
    ] = None,
    rcpt_probe: Annotated[
        bool, typer.Option("--rcpt-probe", help="Ask the recipient's server for the mailbox; no message is sent.")
    ] = False,
    problems: Annotated[bool, typer.Option("--problems", help="Leave out what is fine.")] = False,
    state: State = None,
    json: Json = False,
) -> None:
    """Say what is wrong and what to do: with this machine, a campaign's set-up, or the way to one recipient.

    Exit codes: 0 nothing is wrong, 2 something is, 3 nothing that was seen is, but not all could be found out.
    """
    with reported():
        from bulkmail.cli import doctor as verb

        options = verb.Options(
            campaign=campaign,
            state=state,
            addresses=tuple(address or ()),
            probes=tuple(probe or ()),
            lists=lists,
            zones=tuple(zone or ()),
            rcpt_probe=rcpt_probe,
            json=json,
            problems_only=problems,
        )
        raise typer.Exit(verb.doctor(subject, options))


def bench(
    campaign: Annotated[str | None, typer.Argument(metavar="[CAMPAIGN]", help="Measure with this campaign.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="About how long it may take.")] = 10.0,
    signers: Annotated[
        int | None, typer.Option(min=1, help="Threads that compose and sign. Default: one less than the cores.")
    ] = None,
    state: State = None,
    json: Json = False,
) -> None:
    """Say what this machine can send and what keeps it from more: signing, disk, DNS or limits. Mails nobody."""
    with reported():
        from bulkmail.cli import bench as verb

        verb.bench(campaign, seconds=seconds, json=json, state=state, signers=signers)


def preview(
    campaign: CampaignFile,
    row: Annotated[int | None, typer.Option(min=1, help="The recipient in this row, counted from 1.")] = None,
    rows: Annotated[str | None, typer.Option(metavar="1,5", help="With --browser or --png: several rows.")] = None,
    address: Annotated[str | None, typer.Option(help="The recipient with this address.")] = None,
    part: Annotated[Part, typer.Option(help="What to print.")] = Part.SOURCE,
    browser: Annotated[
        bool, typer.Option("--browser", help="Open a local page: page, text and source, recipients side by side.")
    ] = False,
    png: Annotated[
        bool, typer.Option("--png", help="Take pictures as on a desktop and on a phone, with headless Chromium.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write message.eml, body.html, images and body.txt there.")
    ] = None,
    state: State = None,
) -> None:
    """Show one recipient's message, exactly as it is sent (without --row or --address: the first).

    With --browser or --png as recipients see it; without --rows for some that differ.
    """
    if row is not None and address is not None:
        raise typer.BadParameter("give --row or --address, not both")
    if rows is not None and not (browser or png):
        raise typer.BadParameter("several rows are for --browser and --png; one is --row", param_hint="--rows")
    numbers = row_numbers(rows) + (() if row is None else (row,))
    with reported():
        if browser or png:
            from bulkmail.cli.showing import show

            show(campaign, rows=numbers, address=address, browser=browser, png=png, folder=out, state=state)
        else:
            from bulkmail.cli import preview as verb

            verb.preview(campaign, row=row, address=address, part=part.value, folder=out, state=state)


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The folder to make, and the campaign's name.")],
    kind: Annotated[MailKind, typer.Option(help="What it is for.")] = MailKind.MARKETING,
) -> None:
    """Begin a campaign: a folder that passes `check` and can be sent in the sandbox at once."""
    with reported():
        from bulkmail.cli import init as verb

        verb.init(name, kind=kind.value)
