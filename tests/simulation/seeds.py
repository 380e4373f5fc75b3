"""`python -m tests.simulation.seeds FIRST LAST [power]`: try seeds; a line for each that fails, and one for all."""

import sys
import tempfile
import time
from pathlib import Path

from tests.simulation.trial import Trial, run_trial


def tell(trial: Trial) -> str:
    """What a seed did."""
    found = trial.audit
    windows = trial.faults.windows if trial.faults is not None else ()
    lines = [
        f"seed {trial.seed}: {trial.kills} kills, {trial.stops} stops, {found.accepted} accepted, "
        f"{len(found.duplicates)} duplicates, {len(found.doubted)} in doubt, {trial.simulated_seconds:,.0f} s simulated"
    ]
    lines += [
        f"  {window.trouble.value}: {window.begin:.1f} to {window.end:.1f}, {window.share:g}" for window in windows
    ]
    lines += [f"  PROBLEM {problem}" for problem in trial.problems]
    return "\n".join(lines)


def main(first: int, last: int, *, power: bool = False) -> int:
    """How many seeds broke a promise. With `power`, kills are power failures, and intents are synced."""
    began = time.process_time()
    failed = kills = duplicates = doubted = unknown = lost = 0
    with tempfile.TemporaryDirectory(prefix="bulkmail-") as folder:
        for seed in range(first, last + 1):
            trial = run_trial(seed, Path(folder) / "trial", power=power, synced=power)
            kills += trial.kills
            duplicates += len(trial.audit.duplicates)
            doubted += len(trial.audit.doubted)
            unknown += len(trial.audit.duplicates.keys() - trial.audit.doubted)
            lost += len(trial.audit.lost)
            failed += bool(trial.problems)
            if trial.problems or first == last:
                print(tell(trial), flush=True)
    what = "power failures" if power else "faults"
    print(
        f"simulated {what}: {last - first + 1} seeds, {kills} kills, {lost} lost, {duplicates} duplicates "
        f"({unknown} not in doubt before), {doubted} in doubt, {failed} seeds failed, "
        f"{time.process_time() - began:.0f} s CPU, {'FAILED' if failed else 'ok'}",
        flush=True,
    )
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]), int(sys.argv[2]), power="power" in sys.argv) else 0)
