"""What a second core brings: the rate of signed sending on one core and on several, the receiver counted out.

    python -m benchmarks.cores [--recipients 20000] [--signing rsa|ed25519|none] [--no-turbo] [--cores 2]
                               [--signers 1,2] [--runs 3] [--json]

The sender is held to the first core, then to the first `--cores`, with so many signing threads; the settings take
turns. The receiver (benchmarks.sink) has the cores that the sender has not. Where none is left it shares the sender's,
and what it took of them is counted out, as if it had run elsewhere:

    rate = messages / (seconds - CPU seconds of the receiver on the sender's cores / number of those cores)

A core that the sender leaves idle is not counted out, so two cores can at most bring twice the rate of one. `by the
clock` is the rate without this. `neighbours` is how much of the sender's cores all other programs had meanwhile
(/proc/stat less sender and receiver): above a tenth of a core the rates say nothing, and this says so.
`chrt -f 1 python -m benchmarks.cores` puts sender and receiver ahead of all others; short runs only.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.workload import write_campaign

SENDER = """
import json, os, sys, time
os.sched_setaffinity(0, json.loads(sys.argv[5]))
import bulkmail, bulkmail.library
def busy():
    # user, nice, system, irq, softirq, steal: all but idle and waiting for disks
    mine = [f"cpu{core}" for core in json.loads(sys.argv[5])]
    with open("/proc/stat") as file:
        rows = [row for row in map(str.split, file) if row[0] in mine]
    return sum(int(row[place]) for row in rows for place in (1, 2, 3, 6, 7, 8)) / os.sysconf("SC_CLK_TCK")
clock, own, before = time.monotonic(), time.process_time(), busy()
summary = bulkmail.send(sys.argv[1], state=sys.argv[2], turbo=sys.argv[3] == "turbo", signers=int(sys.argv[4]))
print(json.dumps({
    "delivered": summary.delivered, "seconds": time.monotonic() - clock, "own": time.process_time() - own,
    "busy": busy() - before,
}))
"""
MOST_NEIGHBOURS = 0.1


class Setting(NamedTuple):
    """So many cores, and signing threads."""

    cores: int
    signers: int


class Result(NamedTuple):
    """Messages a second: with the receiver counted out, and by the clock; CPU us a message; cores that others took."""

    rate: float
    wall: float
    cpu_us: float
    neighbours: float


def run_once(options: argparse.Namespace, setting: Setting, folder: Path) -> Result:
    available = sorted(os.sched_getaffinity(0))
    mine, rest = available[: setting.cores], available[setting.cores :]
    sink = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert sink.stdin is not None and sink.stdout is not None
    os.sched_setaffinity(sink.pid, rest or available)
    try:
        campaign = write_campaign(
            folder,
            recipients=options.recipients,
            sink=json.loads(sink.stdout.readline()),
            signing=None if options.signing == "none" else options.signing,
            connections=options.connections,
        )
        arguments = [str(campaign), str(folder / "state"), "turbo" if options.turbo else "plain", str(setting.signers)]
        sender = subprocess.run(
            [sys.executable, "-c", SENDER, *arguments, json.dumps(mine)], stdout=subprocess.PIPE, text=True, check=True
        )
    finally:
        sink.stdin.close()
        counted = json.loads(sink.stdout.readline())
        sink.wait()
    made = json.loads(sender.stdout.splitlines()[-1])
    if made["delivered"] != options.recipients:
        raise SystemExit(f"not all was delivered: {made}")
    shared = 0.0 if rest else counted["cpu"]
    return Result(
        rate=options.recipients / (made["seconds"] - shared / setting.cores),
        wall=options.recipients / made["seconds"],
        cpu_us=made["own"] / options.recipients * 1e6,
        neighbours=max(0.0, made["busy"] - made["own"] - shared) / made["seconds"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="what a second core brings")
    parser.add_argument("--recipients", type=int, default=20_000)
    parser.add_argument("--signing", choices=["rsa", "ed25519", "none"], default="rsa")
    parser.add_argument("--turbo", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--signers", default="1,2", help="signing threads to try on all cores")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.cores > len(os.sched_getaffinity(0)):
        parser.error(f"--cores {options.cores}: this process may use {len(os.sched_getaffinity(0))}")
    one = Setting(1, 1)
    settings = [one, *(Setting(options.cores, int(number)) for number in options.signers.split(","))]
    results: dict[Setting, list[Result]] = {setting: [] for setting in settings}
    for _ in range(options.runs):
        for setting in settings:
            with tempfile.TemporaryDirectory() as folder:
                results[setting].append(run_once(options, setting, Path(folder)))
    base = statistics.median(result.rate for result in results[one])
    rows = []
    for setting, made in results.items():
        row = {name: statistics.median(getattr(result, name) for result in made) for name in Result._fields}
        low, high = min(result.rate for result in made), max(result.rate for result in made)
        rows.append({**setting._asdict(), **row, "low": low, "high": high, "times": row["rate"] / base})
    if options.json:
        print(json.dumps({"options": vars(options), "rows": rows}))
        return
    print("| cores | signing threads | messages/s | times one core | by the clock | CPU us a message | neighbours |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['cores']} | {row['signers']} | {row['rate']:,.0f} ({row['low']:,.0f} to {row['high']:,.0f}) "
            f"| {row['times']:.2f} | {row['wall']:,.0f} | {row['cpu_us']:.0f} | {row['neighbours']:.2f} |"
        )
    if max(row["neighbours"] for row in rows) > MOST_NEIGHBOURS:
        print("\nOther programs were at work: these rates say nothing about the machine.")


if __name__ == "__main__":
    main()
