"""`bulkmail keys`: the keys that tokens in return paths and links are made with, and how long these are accepted."""

from pathlib import Path
from typing import Annotated

import typer

from bulkmail.cli.errors import reported

keys = typer.Typer(
    help="The keys of the tokens in return paths and links: look, make a new one, say how long tokens count.",
    no_args_is_help=True,
)
_State = Annotated[Path | None, typer.Option("--state", metavar="DIR", help="The state directory.")]


@keys.command("list")
def list_keys(state: _State = None) -> None:
    """Which keys there are; the newest signs, the others still open what they have signed."""
    with reported():
        _list(state)


@keys.command()
def rotate(
    state: _State = None,
    forget_older: Annotated[
        bool,
        typer.Option(
            "--forget-older",
            help="For a key that leaked: bounces and unsubscribe links of all mail so far count no more.",
        ),
    ] = False,
) -> None:
    """Make a new key, for the runs that begin from now on; a listener that runs knows it at once."""
    with reported():
        _rotate(state, forget_older=forget_older)


@keys.command()
def accept(
    age: Annotated[str, typer.Argument(metavar="AGE", help="Such as 400d, counted from the beginning of a run.")],
    state: _State = None,
) -> None:
    """Say how long bounces, complaints and unsubscribes of a run are accepted (default: 400 days)."""
    with reported():
        _accept(age, state)


def _list(state: Path | None) -> None:
    from bulkmail.cli.output import local_time, span
    from bulkmail.store.database import Database
    from bulkmail.store.directory import DATABASE
    from bulkmail.store.keys import accept_seconds, read_keys
    from bulkmail.store.locate import state_from_here

    database = Database(state_from_here(Path.cwd(), state) / DATABASE, readonly=True)
    try:
        known, seconds = read_keys(database), accept_seconds(database)
    finally:
        database.close()
    for key in known:
        since = local_time(key.created) if key.created else "the directory was made"
        print(f"key {key.number}  since {since}{'  signs new runs' if key is known[-1] else ''}")
    print(f"tokens are accepted for {span(seconds)} from the beginning of their run")


def _rotate(state: Path | None, *, forget_older: bool) -> None:
    from bulkmail.clock import SystemClock
    from bulkmail.store.database import Database
    from bulkmail.store.directory import DATABASE
    from bulkmail.store.keys import add_key
    from bulkmail.store.locate import state_from_here

    database = Database(state_from_here(Path.cwd(), state) / DATABASE)
    try:
        made = add_key(database, SystemClock.time(), forget_older=forget_older)
    finally:
        database.close()
    older = "tokens of earlier runs count no more" if forget_older else "earlier ones still open what they have signed"
    print(f"key {made.number} signs the runs that begin from now on; {older}")


def _accept(age: str, state: Path | None) -> None:
    from bulkmail.cli.output import span
    from bulkmail.config.units import parse_seconds
    from bulkmail.errors import CampaignError
    from bulkmail.store.database import Database
    from bulkmail.store.directory import DATABASE
    from bulkmail.store.keys import set_accept_seconds
    from bulkmail.store.locate import state_from_here

    try:
        seconds = parse_seconds(age)
    except ValueError as error:
        raise CampaignError(str(error), path="AGE", hint="write 400d") from None
    database = Database(state_from_here(Path.cwd(), state) / DATABASE)
    try:
        set_accept_seconds(database, seconds)
    finally:
        database.close()
    print(f"tokens are accepted for {span(seconds)} from the beginning of their run")
