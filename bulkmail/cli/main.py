"""The command line, whole: its verbs in their order, and the console script.

What a verb takes is in `verbs`, what it does in the module of its name, which is imported when it is called: help and
completion stay quick.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bulkmail.cli.bounces import bounces
from bulkmail.cli.events import events
from bulkmail.cli.keys import keys
from bulkmail.cli.verbs import answers, listening, preparing, sending
from bulkmail.cli.verbs.suppression import suppress

app = typer.Typer(
    name="bulkmail",
    help="Send templated mail to very many recipients, and say of each what became of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(suppress, name="suppress")
app.add_typer(bounces, name="bounces")
app.add_typer(keys, name="keys")
app.add_typer(events, name="events")

VERBS = (
    sending.send,
    preparing.check,
    preparing.doctor,
    preparing.bench,
    preparing.preview,
    preparing.init,
    sending.test,
    sending.pause,
    sending.resume,
    sending.cancel,
    answers.status,
    answers.report,
    answers.why,
    listening.serve,
    listening.sandbox,
)
for verb in VERBS:
    app.command()(verb)


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
