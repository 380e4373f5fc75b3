"""The N-th operation of the disk fails, for N = 1, 2, 3, ... to the end.

Once, and from then on for that process; with an error of the disk, and with no room. Whatever it was, another process
finishes the run and the auditor finds nothing. Ends when a run gets through untouched.
"""

import errno
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation.seeds import cheap_folder
from tests.simulation.trial import run_trial
from tests.torture.rows import Row

KINDS = ((errno.EIO, False), (errno.EIO, True), (errno.ENOSPC, False))


@dataclass
class Tally:
    runs: int = 0
    struck: int = 0
    lost: int = 0
    duplicates: int = 0
    unknown: int = 0
    doubted: int = 0
    problems: list[str] = field(default_factory=list)


def break_everywhere(folder: Path, *, step: int = 1, recipients: int = 12, first: int = 1) -> Tally:
    """Every `step`-th operation from `first` on fails once in each way."""
    tally = Tally()
    for error, lasting in KINDS:
        at = first
        while True:
            trial = run_trial(7, folder, recipients=recipients, calm=True, breakage=(at, error, lasting))
            tally.runs += 1
            tally.lost += len(trial.audit.lost)
            tally.duplicates += len(trial.audit.duplicates)
            tally.unknown += len(trial.audit.duplicates.keys() - trial.audit.doubted)
            tally.doubted += len(trial.audit.doubted)
            where = f"{errno.errorcode[error]} at operation {at}{' and after' if lasting else ''}"
            tally.problems += [f"{where}: {problem}" for problem in trial.problems]
            if not trial.broke:
                break
            tally.struck += 1
            at += step
    return tally


def breakages(step: int = 1) -> Row:
    """Every `step`-th operation."""
    with cheap_folder() as folder:
        tally = break_everywhere(folder / "trial", step=step)
    return Row(
        name="disk",
        fault="each operation of the disk fails: once, from then on, or for want of room",
        runs=f"{tally.runs} runs, {tally.struck} operations failed",
        lost=tally.lost,
        duplicates=tally.duplicates,
        unknown=tally.unknown,
        doubted=tally.doubted,
        problems=tuple(tally.problems[:20]),
    )
