"""How the verbs print: consoles, text that is safe on a terminal, numbers, tables, JSON."""

import os
import sys
from collections.abc import Sequence
from datetime import datetime

import orjson
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.style import Style
from rich.text import Text

# Wide enough for any table where nobody looks at columns: a file, a pipe.
PIPE_COLUMNS = 240

# Green, yellow and red carry one meaning each: went out, waits, will not arrive.
COLOURS = {
    "delivered": "green",
    "deferred": "yellow",
    "in_doubt": "yellow",
    "bounced": "red",
    "expired": "red",
    "rejected": "magenta",
    "duplicates": "bright_black",
    "suppressed": "magenta",
}


class PlainConsole(Console):
    """A console that prints what it is given as it is, and leaves a closed pipe to its user."""

    def __init__(self, *, stderr: bool) -> None:
        stream = sys.stderr if stderr else sys.stdout
        width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        raise BrokenPipeError


def out() -> PlainConsole:
    """Standard output, for what the verb was asked for."""
    return PlainConsole(stderr=False)


def err() -> PlainConsole:
    """Standard error, for progress and errors."""
    return PlainConsole(stderr=True)


def print_json(value: object) -> None:
    """One line on standard output."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")
    sys.stdout.flush()


def safe(text: str) -> str:
    """Text from files, servers and lists without what would steer a terminal: control and direction characters."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character in "\r\n\t":
        return " "
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(text: str, columns: int) -> str:
    """Safe text in at most so many columns, with an ellipsis where something is left out."""
    text = safe(text)
    if cell_len(text) <= columns:
        return text
    return set_cell_size(text, max(columns - 1, 0)).rstrip() + "…"


def percent(part: int, whole: int) -> str:
    """`12.3 %`; all is never claimed by rounding."""
    if whole <= 0:
        return ""
    share = 100 * part / whole
    if part < whole:
        share = min(share, 99.9)
    return f"{share:.1f} %"


def span(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`; whole seconds stay whole."""
    if seconds < 9.95 and not isinstance(seconds, int):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def local_time(unix_seconds: float) -> str:
    """`2027-03-01 09:15:00 +0100`, in the time zone of whoever reads it."""
    return datetime.fromtimestamp(unix_seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def print_paragraph(console: Console, text: Text, hang: int = 2) -> None:
    """On a terminal cut between words, what follows indented; elsewhere one line, for programs."""
    if not console.is_terminal:
        console.print(text)
        return
    first, *others = text.wrap(console, max(console.width - hang, 20))
    console.print(first)
    for line in others:
        console.print(Text(" " * hang).append_text(line))


def table(
    header: Sequence[str], rows: Sequence[Sequence[str | Text]], *, columns: int, numbers: Sequence[int] = ()
) -> Text:
    """Rows under a dim header, two spaces apart and two in; `numbers` are right-aligned; the last column is cut."""
    texts = [[cell if isinstance(cell, Text) else Text(safe(cell)) for cell in row] for row in rows]
    widths = [max([cell_len(title), *(row[index].cell_len for row in texts)]) for index, title in enumerate(header)]
    room = columns - 2 - sum(widths[:-1]) - 2 * (len(widths) - 1)
    widths[-1] = max(min(widths[-1], room), 8)
    lines = [[Text(title, Style(dim=True)) for title in header], *texts]
    result = Text(no_wrap=True, overflow="ignore")
    for line in lines:
        result.append("  ")
        for index, cell in enumerate(line):
            last = index == len(line) - 1
            if cell.cell_len > widths[index]:
                cell = cell.copy()
                cell.truncate(widths[index], overflow="ellipsis")
            room = widths[index] - cell.cell_len
            if index in numbers:
                result.append(" " * room).append_text(cell)
            else:
                result.append_text(cell)
                if not last:
                    result.append(" " * room)
            if not last:
                result.append("  ")
        result.append("\n")
    result.rstrip()
    return result
