"""`python -m tests.torture [--record] [ROW ...]`: the rows of docs/reliability.md, all of them or those named.

Ends with a line for each row, and with 1 where a promise is broken. `--record` puts what was measured into the
document; `--list` names the rows. BULKMAIL_TORTURE_RECIPIENTS, _KILLS, _SEEDS, _DOMAINS, _STEP and _SECONDS make it
smaller; BULKMAIL_WORKERS gives the seeds more processes.
"""

import os
import resource
import sys
from collections.abc import Callable
from functools import partial

from msgspec import structs

from tests.simulation.seeds import Tally, try_seeds, workers_wanted
from tests.torture.breakages import breakages
from tests.torture.checks import CHECKS, checks
from tests.torture.domains import domains, one_site, simulated_domains
from tests.torture.kills import kills
from tests.torture.rows import DOCUMENT, Row, record, today
from tests.torture.soak import soak_row


def wanted(name: str, usual: int) -> int:
    return int(os.environ.get(f"BULKMAIL_TORTURE_{name}", usual))


def seeds(name: str, count: int, *, power: bool) -> Row:
    """Simulated sends, a seed each."""
    tally: Tally = try_seeds(1, count, power=power, workers=workers_wanted())
    fault = "simulated: cuts, losses, refusals, storms of 4yz and 5yz, DNS, full disk, kills, stops"
    if power:
        fault = "simulated: the same with power failures for kills, `intent: synced`"
    return Row(
        name=name,
        fault=fault,
        runs=f"{tally.seeds:,} seeds, {tally.kills} {'power failures' if power else 'kills'}, {tally.stops} stops",
        lost=tally.lost,
        duplicates=tally.duplicates,
        unknown=tally.unknown,
        doubted=tally.doubted,
        problems=tuple(tally.stories[:20]),
    )


def measured(make: Callable[[], Row]) -> Row:
    """A row with the CPU that all its processes took, and the day."""
    before = spent()
    row = make()
    return structs.replace(row, cpu_seconds=round(spent() - before, 1), date=today())


def spent() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


ROWS: dict[str, Callable[[], Row]] = {
    "kills": lambda: kills("kills", wanted("RECIPIENTS", 1_000_000), wanted("KILLS", 200), seed=1),
    "kills-hold": lambda: kills("kills-hold", 20_000, 20, seed=2, policy="hold"),
    "kills-assume": lambda: kills("kills-assume", 20_000, 20, seed=3, policy="assume_delivered"),
    "stops": lambda: kills("stops", 20_000, 20, seed=4, gentle=True),
    "seeds": lambda: seeds("seeds", wanted("SEEDS", 1000), power=False),
    "power": lambda: seeds("power", wanted("SEEDS", 1000) // 5, power=True),
    "disk": lambda: breakages(wanted("STEP", 1)),
    **{name: partial(checks, name) for name in CHECKS},
    "domains-simulated": lambda: simulated_domains(wanted("DOMAINS", 100_000)),
    "domains": lambda: domains(wanted("DOMAINS", 100_000)),
    "one-site": lambda: one_site(wanted("RECIPIENTS", 1_000_000)),
    "soak": lambda: soak_row(wanted("SECONDS", 3600)),
}
# Takes an hour whatever the machine, and has a target of its own.
APART = {"soak"}


def main(arguments: list[str]) -> int:
    """The exit code."""
    names = [one for one in arguments if not one.startswith("--")]
    unknown = [name for name in names if name not in ROWS]
    if unknown or "--list" in arguments:
        for name in unknown:
            print(f"no row {name!r}", file=sys.stderr)
        print(f"rows: {', '.join(ROWS)}", file=sys.stderr if unknown else sys.stdout)
        return 2 if unknown else 0
    rows = []
    for name in names or [name for name in ROWS if name not in APART]:
        row = measured(ROWS[name])
        rows.append(row)
        for problem in row.problems:
            print(f"  PROBLEM {problem}", flush=True)
        print(row.line(), flush=True)
        if "--record" in arguments:
            record(row, DOCUMENT, ROWS)
    if len(rows) > 1:
        print("\n" + "\n".join(row.line() for row in rows), flush=True)
    return 1 if any(row.problems for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
