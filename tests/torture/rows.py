"""A row of docs/reliability.md: what was done how often, what came of it, and the command that repeats it.

The rows last measured are in docs/reliability.ndjson, the table in the document is made of them: `write_table`.
"""

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- rows -->", "<!-- end of rows -->"
HEADER = "| fault | runs | lost | duplicates (unknown) | in doubt | sending again after | repeat with |\n"
HEADER += "|---|---|---|---|---|---|---|\n"


class Row(Struct, frozen=True, kw_only=True):
    """What one long test came to.

    `unknown` are the duplicates that were not in doubt before. `recovery` is how long a new process took until it
    sent again, `note` what else was seen; `problems` are broken promises.
    """

    name: str
    fault: str
    runs: str
    lost: int = 0
    duplicates: int = 0
    unknown: int = 0
    doubted: int = 0
    recovery: str = ""
    note: str = ""
    problems: tuple[str, ...] = ()
    cpu_seconds: float = 0.0
    date: str = ""

    @property
    def command(self) -> str:
        return f"python -m tests.torture {self.name}"

    def line(self) -> str:
        """As it is printed."""
        parts = [self.runs, f"{self.lost} lost", f"{self.duplicates} duplicates ({self.unknown} not in doubt before)"]
        parts += [f"{self.doubted} in doubt"]
        parts += [f"sending again after {self.recovery}"] if self.recovery else []
        parts += [self.note] if self.note else []
        verdict = f"FAILED, {len(self.problems)} problems" if self.problems else "ok"
        return f"{self.name}: {', '.join(parts)}: {verdict} [{self.command}]"

    def markdown(self) -> str:
        """As it stands in the table."""
        fault = self.fault if not self.note else f"{self.fault}: {self.note}"
        cells = [fault, self.runs, f"{self.lost:,}", f"{self.duplicates:,} ({self.unknown:,})", f"{self.doubted:,}"]
        cells += [self.recovery, f"`{self.command}`"]
        if self.problems:
            cells[0] += f" (**failed**: {self.problems[0]})"
        return f"| {' | '.join(cells)} |\n"


@contextmanager
def folder_on_disk() -> Iterator[Path]:
    """Somewhere on a real disk, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bulkmail-torture-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def read_rows(document: Path) -> dict[str, Row]:
    """The rows last recorded beside a document, by name."""
    path = document.with_suffix(".ndjson")
    if not path.exists():
        return {}
    rows = [msgspec.json.decode(line, type=Row) for line in path.read_bytes().splitlines()]
    return {row.name: row for row in rows}


def record(row: Row, document: Path, order: Iterable[str]) -> None:
    """Put a row into the place of the one of that name, and the table anew into the document."""
    rows = {**read_rows(document), row.name: row}
    kept = [rows[name] for name in order if name in rows]
    document.with_suffix(".ndjson").write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in kept))
    text = document.read_text(encoding="utf-8")
    document.write_text(with_table(text, kept), encoding="utf-8")


def with_table(text: str, rows: Iterable[Row]) -> str:
    """A document with the table of these rows between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{HEADER}{''.join(row.markdown() for row in rows)}{END}{after}"
