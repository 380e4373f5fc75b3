"""What it takes to start: CPU of whole processes that have next to nothing to do, compared between source trees.

    python -m benchmarks.start [--runs 11] [TREE ...]

Each TREE is a checkout with its natives built (default: this one). In turn, each runs `bulkmail send` of one recipient
over loopback (unsigned, without TLS, to benchmarks.sink), the same as a library, `--help`, and `check` of that
campaign; medians of the CPU milliseconds of the process with its threads.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.workload import write_campaign

# Modules are compiled once and kept, as where a program is used; environments of builds often forbid that.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
LIBRARY = "import bulkmail, sys; bulkmail.send(sys.argv[1], state=sys.argv[2])"


def commands(campaign: Path, state: Path) -> dict[str, list[str]]:
    return {
        "interpreter": ["-c", "pass"],
        "bulkmail --help": ["-m", "bulkmail", "--help"],
        "bulkmail send": ["-m", "bulkmail", "send", str(campaign), "--state", str(state)],
        "bulkmail.send()": ["-c", LIBRARY, str(campaign), str(state)],
        "bulkmail check": ["-m", "bulkmail", "check", str(campaign), "--offline"],
    }


def cpu_milliseconds(arguments: list[str], tree: Path) -> float:
    """Of one process and what it waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=ENVIRONMENT | {"PYTHONPATH": str(tree)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description="what it takes to start")
    parser.add_argument("trees", nargs="*", type=Path, default=[Path(__file__).parents[1]], metavar="TREE")
    parser.add_argument("--runs", type=int, default=11)
    options = parser.parse_args()
    trees = [tree.resolve() for tree in options.trees]
    sink = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert sink.stdin is not None and sink.stdout is not None
    measured: dict[str, dict[Path, list[float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ports = json.loads(sink.stdout.readline())
        campaign, state = write_campaign(folder, recipients=1, sink=ports, signing=None), folder / "state"
        for turn in range(options.runs + 1):
            for name, arguments in commands(campaign, state).items():
                for tree in trees:
                    shutil.rmtree(state, ignore_errors=True)
                    spent = cpu_milliseconds(arguments, tree)
                    if turn:  # the first writes what is compiled, and fills caches
                        measured.setdefault(name, {}).setdefault(tree, []).append(spent)
    sink.stdin.close()
    sink.wait()
    print(f"CPU milliseconds, medians of {options.runs} (lowest to highest)")
    for name, by_tree in measured.items():
        for tree, spent_each in by_tree.items():
            median, low, high = statistics.median(spent_each), min(spent_each), max(spent_each)
            print(f"  {name:16} {median:6.0f} ({low:.0f} to {high:.0f})  {tree}")


if __name__ == "__main__":
    main()
