"""Commands to go on with, written so that they work where the user stands."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from bulkmail.errors import BulkmailError
from bulkmail.store.locate import state_for_campaign, state_from_here


def program() -> str:
    """How to call this program from here."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m bulkmail"
    if called.name != "bulkmail":
        return "bulkmail"
    on_path = shutil.which("bulkmail")
    if on_path is not None and os.path.realpath(on_path) == os.path.realpath(called):
        return "bulkmail"
    return shlex.quote(near(called))


def near(path: Path) -> str:
    """A path relative to the current folder where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


def command(*words: str, directory: Path, campaign: str | None = None) -> str:
    """`bulkmail WORDS`, with --state where it would not find `directory` by itself."""
    line = [program(), *map(shlex.quote, words)]
    if not _found(directory, campaign):
        line.append(f"--state {shlex.quote(near(directory))}")
    return " ".join(line)


def _found(directory: Path, campaign: str | None) -> bool:
    try:
        found = state_for_campaign(campaign) if campaign is not None else state_from_here(Path.cwd())
    except BulkmailError:
        return False
    return os.path.realpath(found) == os.path.realpath(directory)
