"""Whether what a long-running process holds stays the same: a bound for each gauge, and what came of it.

The first quarter of the runs, at least one, is warming up and not judged. Growth is the median of all slopes between
two runs (Theil and Sen), times the runs between the first and the last: one odd value moves it little. Nothing here is
judged by the wall clock but that the loop's own work delays it no more than before.
"""

import statistics
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise

from msgspec import Struct

from tests.torture.gauges import Rest, Sample

MEBIBYTE = 1 << 20
# A process of 100 MiB may grow by this, whatever the time: its heap is cut up differently from one run to the next.
MEMORY_BYTES = 4 * MEBIBYTE
MEMORY_SHARE = 0.05
JOURNAL_BYTES = 16 * MEBIBYTE
LAG_SECONDS = 0.025
CPU_SHARE = 0.25


class Finding(Struct, frozen=True, kw_only=True):
    """One gauge: its median over the runs judged, how much it grew over them, and how much it may."""

    name: str
    unit: str
    middle: float
    growth: float
    bound: float

    @property
    def flat(self) -> bool:
        return self.growth <= self.bound

    def __str__(self) -> str:
        scale = MEBIBYTE if self.unit == "MiB" else 1e-3 if self.unit == "ms" else 1e-6 if self.unit == "us" else 1
        middle, growth, bound = (value / scale for value in (self.middle, self.growth, self.bound))
        verdict = "flat" if self.flat else "GROWS"
        return (
            f"{self.name}: {middle:.4g} {self.unit}, {growth:+.3g} over the time judged (bound {bound:.3g}): {verdict}"
        )


def growth(values: Sequence[float]) -> float:
    """From the first to the last, by the median slope between any two; 0 for fewer than two."""
    if len(values) < 2:
        return 0.0
    slopes = [(values[b] - values[a]) / (b - a) for a, b in combinations(range(len(values)), 2)]
    return statistics.median(slopes) * (len(values) - 1)


def judged(runs: int) -> int:
    """The first run that counts, from 1 on."""
    return 1 + max(1, runs // 4)


def findings(samples: Sequence[Sample], rests: Sequence[Rest]) -> list[Finding]:
    """Every gauge; the process is flat where all of them are."""
    first = judged(len(rests))
    calm = [rest for rest in rests if rest.run >= first]
    busy = [[sample for sample in samples if sample.run == rest.run] for rest in calm]
    busy = [of_run for of_run in busy if of_run]

    def at_rest(name: str, unit: str, value: Callable[[Rest], float], bound: float, share: float = 0.0) -> Finding:
        return _finding(name, unit, [value(one) for one in calm], bound, share)

    def at_work(name: str, unit: str, value: Callable[[Sample], float], bound: float, share: float = 0.0) -> Finding:
        middles = [statistics.median(value(one) for one in of_run) for of_run in busy]
        return _finding(name, unit, middles, bound, share)

    def at_most(name: str, unit: str, value: Callable[[Sample], float], bound: float, share: float = 0.0) -> Finding:
        return _finding(name, unit, [max(value(one) for one in of_run) for of_run in busy], bound, share)

    steps = [
        (after.database_bytes - before.database_bytes) / max(1, after.recipients - before.recipients)
        for before, after in pairwise(calm)
    ]
    work = [
        (after.cpu_seconds - before.cpu_seconds) / max(1, after.recipients - before.recipients)
        for before, after in pairwise(calm)
    ]
    return [
        at_rest("memory between runs", "MiB", lambda one: one.own_bytes, MEMORY_BYTES, MEMORY_SHARE),
        at_work("memory during runs", "MiB", lambda one: one.own_bytes, MEMORY_BYTES, MEMORY_SHARE),
        at_most(
            "most memory of a run, with its files", "MiB", lambda one: one.rss_bytes, 2 * MEMORY_BYTES, MEMORY_SHARE
        ),
        _finding("memory, from the middle of a run to its end", "MiB", _within(busy), MEMORY_BYTES, whole=True),
        at_rest("descriptors between runs", "", lambda one: one.descriptors, 0.5),
        at_work("descriptors during runs", "", lambda one: one.descriptors, 20.0, 0.25),
        at_rest("threads between runs", "", lambda one: one.threads, 0.5),
        at_most("threads during runs", "", lambda one: one.threads, 0.5),
        at_rest("tasks between runs", "", lambda one: one.tasks, 0.5),
        at_rest("objects of ours between runs", "", lambda one: sum(one.objects.values()), 50.0),
        at_rest("all objects between runs", "", lambda one: one.all_objects, 500.0, 0.01),
        at_most("journal at most", "MiB", lambda one: one.journal_bytes, JOURNAL_BYTES),
        at_most("lanes at most", "", lambda one: one.lanes, 10.0, 0.2),
        _finding("database, a recipient of a run", "bytes", steps, 5.0, 0.1),
        _finding("CPU, a recipient of a run", "us", work, 0.0, CPU_SHARE),
        at_work("loop kept by its own work", "ms", lambda one: one.lag_cpu_seconds, LAG_SECONDS),
    ]


def _finding(
    name: str, unit: str, values: Sequence[float], bound: float, share: float = 0.0, *, whole: bool = False
) -> Finding:
    """With `whole`, the values themselves are growths, and their median counts."""
    middle = statistics.median(values) if values else 0.0
    grown = middle if whole else growth(values)
    return Finding(name=name, unit=unit, middle=middle, growth=grown, bound=bound + share * abs(middle))


def _within(busy: Sequence[Sequence[Sample]]) -> list[float]:
    """How much more memory the last quarter of each run has than the second."""
    grown = []
    for of_run in busy:
        quarter = len(of_run) // 4
        if quarter:
            then = statistics.median(one.own_bytes for one in of_run[quarter : 2 * quarter])
            grown.append(statistics.median(one.own_bytes for one in of_run[-quarter:]) - then)
    return grown
