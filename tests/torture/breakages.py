"""`python -m tests.torture.breakages [STEP]`: the N-th operation of the disk fails, for N = 1, 2, 3, ... to the end.

Once, and from then on for that process; with an error of the disk, and with no room. Whatever it was, another process
finishes the run and the auditor finds nothing. Ends when a run gets through untouched.
"""

import errno
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation.trial import run_trial

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


def main(step: int = 1) -> int:
    with tempfile.TemporaryDirectory(prefix="bulkmail-") as folder:
        tally = break_everywhere(Path(folder) / "trial", step=step)
    for problem in tally.problems[:20]:
        print(f"  PROBLEM {problem}")
    print(
        f"disk errors: {tally.struck} operations failed, {tally.lost} lost, {tally.duplicates} duplicates "
        f"({tally.unknown} not in doubt before), {tally.doubted} in doubt, {'FAILED' if tally.problems else 'ok'}",
        flush=True,
    )
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
