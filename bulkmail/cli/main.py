"""The command line, whole: its verbs, their arguments and options. What a verb does is in the module of its name.

Verbs are imported when they are called, so that help and completion stay quick.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bulkmail.cli.bounces import bounces
from bulkmail.cli.errors import reported
from bulkmail.cli.events import events
from bulkmail.cli.keys import keys

app = typer.Typer(
    name="bulkmail",
    help="Send templated mail to very many recipients, and say of each what became of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
suppress = typer.Typer(help="Addresses that get no mail: add, remove, look up, import, export.", no_args_is_help=True)
app.add_typer(suppress, name="suppress")
app.add_typer(bounces, name="bounces")
app.add_typer(keys, name="keys")
app.add_typer(events, name="events")

CampaignFile = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign's YAML file.")]
MaybeCampaign = Annotated[str | None, typer.Argument(metavar="[CAMPAIGN]", help="Only runs of this campaign file.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, for programs.")]
State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="The state directory. Default: $BULKMAIL_STATE, else the .bulkmail found from the campaign file upwards, "
        "else one beside it.",
    ),
]
Addresses = Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="One or more addresses.")]
List = Annotated[str | None, typer.Option("--list", metavar="NAME", help="Only for this list. Default: for all mail.")]
OfCampaign = Annotated[
    str | None, typer.Option("--campaign", metavar="NAME", help="For the sends of this campaign only. Default: all.")
]


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


class Keep(StrEnum):
    """What `sandbox` keeps of the mail it takes."""

    NONE = "none"
    LOG = "log"
    MAILDIR = "maildir"


def main() -> None:
    """The console script."""
    app(prog_name=program_name())


def program_name() -> str:
    """How this program was called, for usage lines."""
    return "python -m bulkmail" if Path(sys.argv[0]).name == "__main__.py" else "bulkmail"


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"bulkmail {version('bulkmail')}")
        except PackageNotFoundError:
            print("bulkmail (not installed)")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Send templated mail to very many recipients, and say of each what became of it."""


@app.command()
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
            )
            raise typer.Exit(verb.send(campaign, wishes))


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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
    numbers = _row_numbers(rows) + (() if row is None else (row,))
    with reported():
        if browser or png:
            from bulkmail.cli.showing import show

            show(campaign, rows=numbers, address=address, browser=browser, png=png, folder=out, state=state)
        else:
            from bulkmail.cli import preview as verb

            verb.preview(campaign, row=row, address=address, part=part.value, folder=out, state=state)


def _row_numbers(text: str | None) -> tuple[int, ...]:
    numbers = text.split(",") if text else []
    if not all(number.strip().isdigit() and int(number) for number in numbers):
        raise typer.BadParameter("write numbers such as 1,5", param_hint="--rows")
    return tuple(int(number) for number in numbers)


@app.command()
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The folder to make, and the campaign's name.")],
    kind: Annotated[MailKind, typer.Option(help="What it is for.")] = MailKind.MARKETING,
) -> None:
    """Begin a campaign: a folder that passes `check` and can be sent in the sandbox at once."""
    with reported():
        from bulkmail.cli import init as verb

        verb.init(name, kind=kind.value)


@app.command()
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
    chosen = _row_numbers(rows)
    with reported():
        from bulkmail.cli import trial

        code = trial.test(campaign, to=to, rows=chosen, address=address, prefix=prefix, state=state, json=json)
        raise typer.Exit(code)


@app.command()
def pause(
    campaign: CampaignFile,
    reason: Annotated[str, typer.Option(help="Why, in your words.")] = "ordered",
    state: State = None,
) -> None:
    """Let a run begin no more messages, within a second and over restarts, until `resume`."""
    with reported():
        from bulkmail.cli import life

        life.pause(campaign, reason=reason, state=state)


@app.command()
def resume(campaign: CampaignFile, state: State = None) -> None:
    """Let a run that was paused go on."""
    with reported():
        from bulkmail.cli import life

        life.resume(campaign, state=state)


@app.command()
def cancel(
    campaign: CampaignFile,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    state: State = None,
) -> None:
    """End a run for good: who has not got the mail by now will not."""
    with reported():
        from bulkmail.cli import life

        life.cancel(campaign, yes=yes, state=state)


@app.command()
def status(campaign: MaybeCampaign = None, state: State = None, json: Json = False) -> None:
    """How the runs stand, also while one is sending."""
    with reported():
        from bulkmail.cli import status as verb

        verb.status(campaign, state=state, json=json)


@app.command()
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


@app.command()
def why(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="A recipient.")],
    campaign: MaybeCampaign = None,
    state: State = None,
) -> None:
    """What happened to one address, attempt by attempt, and what happens next."""
    with reported():
        from bulkmail.cli import why as verb

        verb.why(address, campaign, state=state)


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


@app.command()
def serve(
    campaigns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CAMPAIGN...]", help="Campaigns whose bounces and unsubscribes are taken in."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.yaml", help="The listener's settings.")
    ] = None,
    state: State = None,
    smtp: Annotated[
        str | None, typer.Option("--smtp", metavar="HOST:PORT", help="Take mail there. Default: 127.0.0.1:2525.")
    ] = None,
    http: Annotated[
        str | None, typer.Option("--http", metavar="HOST:PORT", help="The unsubscribe page. Default: 127.0.0.1:8080.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No line for each thing that comes in.")] = False,
) -> None:
    """Take in bounces, complaints and unsubscribes by SMTP and HTTP until Ctrl-C, also while a run is sending."""
    with reported():
        from bulkmail.cli import serve as verb

        verb.serve(campaigns or [], config=config, state=state, smtp=smtp, http=http, quiet=quiet)


@app.command()
def sandbox(
    seed: Annotated[int, typer.Option(help="Another seed, other mailboxes.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where mail and log are kept. Default: a temporary folder.")
    ] = None,
    smtp_port: Annotated[int, typer.Option(min=0, max=65535, help="Of all exchangers; 0: a free one.")] = 0,
    dns_port: Annotated[int, typer.Option(min=0, max=65535, help="Of the DNS server; 0: a free one.")] = 0,
    keep: Annotated[Keep, typer.Option(help="What to keep of the mail.")] = Keep.MAILDIR,
    profiles: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Receivers of your own instead of the built-in ones.")
    ] = None,
) -> None:
    """Run the small internet of the sandbox until Ctrl-C: a DNS server and mail exchangers on this machine."""
    with reported():
        from bulkmail.cli import sandbox as verb

        verb.run_sandbox(folder, seed=seed, keep=keep.value, profiles=profiles, smtp_port=smtp_port, dns_port=dns_port)
