"""The command line, whole: its verbs in their order, and the console script.

What a verb takes is in `verbs`, what it does in the module of its name. Both are imported when it is called: a command
costs what it does and not what the others would, and help and completion stay quick.
"""

import atexit
import gc
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

# Where each verb, or group of verbs, says what it takes; in the order of the help, which has a box for each part.
PARTS = {
    "A campaign, from the first file to the last recipient": {
        "init": "bulkmail.cli.verbs.preparing",
        "check": "bulkmail.cli.verbs.preparing",
        "preview": "bulkmail.cli.verbs.preparing",
        "test": "bulkmail.cli.verbs.sending",
        "send": "bulkmail.cli.verbs.sending",
        "pause": "bulkmail.cli.verbs.sending",
        "resume": "bulkmail.cli.verbs.sending",
        "cancel": "bulkmail.cli.verbs.sending",
    },
    "What became of it": {
        "status": "bulkmail.cli.verbs.answers",
        "report": "bulkmail.cli.verbs.answers",
        "why": "bulkmail.cli.verbs.answers",
        "events": "bulkmail.cli.events",
    },
    "What comes back, and who gets no more": {
        "serve": "bulkmail.cli.verbs.listening",
        "bounces": "bulkmail.cli.bounces",
        "suppress": "bulkmail.cli.verbs.suppression",
        "keys": "bulkmail.cli.keys",
    },
    "This machine": {
        "doctor": "bulkmail.cli.verbs.preparing",
        "bench": "bulkmail.cli.verbs.preparing",
        "sandbox": "bulkmail.cli.verbs.listening",
    },
}
VERBS = {name: (module, part) for part, verbs in PARTS.items() for name, module in verbs.items()}
# Objects that are made and not freed before the collector looks for cycles among them. Its usual 700 makes it look a
# hundred times while modules are loaded, in all that was loaded before: a tenth of the time that a command takes.
YOUNG_OBJECTS = 50_000


def main() -> None:
    """The console script."""
    gc.set_threshold(YOUNG_OBJECTS)
    # At its end the interpreter looks for cycles once more, in everything: what the system takes back anyway.
    atexit.register(gc.freeze)
    called = sys.argv[1] if len(sys.argv) > 1 else ""
    command_line([called] if called in VERBS else VERBS)(prog_name=program_name())


def command_line(verbs: Iterable[str] = VERBS) -> typer.Typer:
    """The program with these of its verbs."""
    app = typer.Typer(
        name="bulkmail",
        help="Send templated mail to very many recipients, and say of each what became of it.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name in verbs:
        module, part = VERBS[name]
        verb = getattr(import_module(module), name)
        if isinstance(verb, typer.Typer):
            app.add_typer(verb, name=name, rich_help_panel=part)
        else:
            app.command(name, rich_help_panel=part)(verb)
    return app


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


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Send templated mail to very many recipients, and say of each what became of it."""
