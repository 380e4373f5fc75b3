"""From an exception to one or a few lines on standard error, and the exit code."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.text import Text

from bulkmail.cli.output import err, print_paragraph, safe
from bulkmail.errors import BulkmailError, CampaignError, InternalError, StateError

FINISHED, INTERNAL, INPUT, STOPPED = 0, 1, 2, 3
INTERRUPTED = 130

DEBUG = "BULKMAIL_DEBUG"


@contextmanager
def reported() -> Iterator[None]:
    """Run one verb: what it raises is printed, and becomes an exit code."""
    try:
        with readers_may_leave():
            yield
    except (typer.Exit, typer.Abort):
        with readers_may_leave():
            sys.stdout.flush()
        raise
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except (CampaignError, StateError) as error:
        print_error(error)
        raise typer.Exit(INPUT) from None
    except Exception as error:
        _print_defect(error)
        raise typer.Exit(INTERNAL) from None


@contextmanager
def readers_may_leave() -> Iterator[None]:
    """Write standard output; a reader (head, less) that has seen enough ends the output and is no error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter would complain once more when it flushes at its end.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def print_error(error: BulkmailError) -> None:
    """`error: file:line: path: what was found`, what to do about it, and the other errors found with it."""
    console = err()
    errors: list[BulkmailError] = [error, *(error.also if isinstance(error, CampaignError) else ())]
    for each in errors:
        message, hint = str(each), None
        if isinstance(each, CampaignError | StateError):
            hint = each.hint
            message = message.removesuffix(f"; {hint}") if hint else message
        print_paragraph(console, Text.assemble(("error: ", "bold red"), safe(message)))
        if hint:
            print_paragraph(console, Text.assemble(("  hint: ", "cyan"), safe(hint)), hang=8)
    if len(errors) > 1:
        console.print(f"{len(errors)} errors")


def _print_defect(error: Exception) -> None:
    if isinstance(error, MemoryError):
        what = "out of memory"
    elif isinstance(error, InternalError):
        what = str(error)
    else:
        what = f"{type(error).__name__}: {error}"
    console = err()
    console.print(Text.assemble(("internal error: ", "bold red"), safe(what)))
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    else:
        console.print(Text.assemble(("  hint: ", "cyan"), f"{DEBUG}=1 shows where; what was recorded is safe"))
