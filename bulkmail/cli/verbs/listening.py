"""The verbs that run until they are stopped: serve, sandbox."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bulkmail.cli.errors import reported
from bulkmail.cli.verbs.arguments import State


class Keep(StrEnum):
    """What `sandbox` keeps of the mail it takes."""

    NONE = "none"
    LOG = "log"
    MAILDIR = "maildir"


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
