"""`python -m tests.simulation.seeds FIRST LAST [power]`: try seeds; a line for each that fails, and one for all.

BULKMAIL_WORKERS processes share them, one as a rule.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct

from tests.simulation.trial import Trial, run_trial


class Tally(Struct, kw_only=True):
    """What seeds came to; `stories` are those of the failed ones."""

    seeds: int = 0
    kills: int = 0
    stops: int = 0
    lost: int = 0
    duplicates: int = 0
    unknown: int = 0
    doubted: int = 0
    failed: int = 0
    cpu_seconds: float = 0.0
    stories: list[str] = []

    def add(self, other: "Tally") -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


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


@contextmanager
def cheap_folder() -> Iterator[Path]:
    """On a disk that costs nothing, where there is one: what a disk may do to us is simulated."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="bulkmail-", dir=memory) as folder:
        yield Path(folder)


def try_seed(seed: int, *, power: bool) -> Tally:
    """One seed; a defect that ends the engine with an exception is a failed seed, too."""
    began = time.process_time()
    with cheap_folder() as folder:
        try:
            trial = run_trial(seed, folder / "trial", power=power, synced=power)
        except Exception as error:
            trial = Trial(seed)
            trial.audit.problems.append(f"{type(error).__name__}: {error}")
    found = trial.audit
    return Tally(
        seeds=1,
        kills=trial.kills,
        stops=trial.stops,
        lost=len(found.lost),
        duplicates=len(found.duplicates),
        unknown=len(found.duplicates.keys() - found.doubted),
        doubted=len(found.doubted),
        failed=bool(trial.problems),
        cpu_seconds=time.process_time() - began,
        stories=[tell(trial)] if trial.problems else [],
    )


def try_seeds(first: int, last: int, *, power: bool = False, workers: int = 1) -> Tally:
    """All from `first` to `last`. With `power`, kills are power failures, and intents are synced."""
    tally = Tally()
    attempt = partial(try_seed, power=power)
    if workers == 1:
        for seed in range(first, last + 1):
            tally.add(attempt(seed))
        return tally
    with ProcessPoolExecutor(workers) as pool:
        for found in pool.map(attempt, range(first, last + 1), chunksize=4):
            tally.add(found)
    return tally


def workers_wanted() -> int:
    return int(os.environ.get("BULKMAIL_WORKERS", "1"))


def main(first: int, last: int, *, power: bool = False) -> int:
    """How many seeds broke a promise."""
    tally = try_seeds(first, last, power=power, workers=workers_wanted())
    if first == last:
        with cheap_folder() as folder:
            print(tell(run_trial(first, folder / "trial", power=power, synced=power)))
    else:
        print("\n".join(tally.stories), end="\n" if tally.stories else "")
    print(
        f"simulated {'power failures' if power else 'faults'}: {tally.seeds} seeds, {tally.kills} kills, "
        f"{tally.stops} stops, {tally.lost} lost, {tally.duplicates} duplicates ({tally.unknown} not in doubt before), "
        f"{tally.doubted} in doubt, {tally.failed} seeds failed, {tally.cpu_seconds:.0f} s CPU, "
        f"{'FAILED' if tally.failed else 'ok'}",
        flush=True,
    )
    return tally.failed


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]), int(sys.argv[2]), power="power" in sys.argv) else 0)
