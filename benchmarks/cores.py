"""What a second core brings: the rate of signed sending on one core and on several, by threads and by nodes.

    python -m benchmarks.cores [--recipients 20000] [--signing rsa|ed25519|none] [--no-turbo] [--cores 2]
                               [--signers 1,2] [--nodes 2] [--runs 3] [--json]

The sender is held to the first core, then to the first `--cores`, with so many signing threads or so many nodes of one
signing thread each; the settings take turns. The receiver (benchmarks.sink) has the cores that the sender has not.
Where none is left it shares the sender's, and what it took of them is counted out, as if it had run elsewhere:

    rate = messages / (seconds - CPU seconds of the receiver on the sender's cores / number of those cores)

The seconds are those of sending, from when all rows are in (one thread reads them) and the nodes are there. A core that
the sender leaves idle is not counted out, so two cores can at most bring twice the rate of one. `by the clock` is the
rate without this. `neighbours` is how much of the sender's cores all other programs had meanwhile (/proc/stat less
sender and receiver): above a tenth of a core the rates say nothing, and this says so.
`chrt -f 1 python -m benchmarks.cores` puts sender and receiver ahead of all others; short runs only.

All mail is for one site, through SOURCES addresses of ours: so many lanes for the nodes to share.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.workload import write_campaign

SOURCES = 4
SENDER = """
import asyncio, json, os, sys
file, state, turbo, signers, nodes, cores, sink = sys.argv[1:]
os.sched_setaffinity(0, json.loads(cores))
import bulkmail, uvloop
from benchmarks.cores import Account
async def run():
    async with bulkmail.Engine(state, nodes=int(nodes), signers=int(signers), turbo=turbo == "turbo") as engine:
        async def sending():
            while (now := engine.snapshot()) is None or now.phase != "sending":
                await asyncio.sleep(0.005)
            return Account(int(sink))
        account = asyncio.create_task(sending())
        async for event in engine.send(file):
            pass
        print(json.dumps({"delivered": engine.summary.delivered, **(await account).closed()}))
uvloop.run(run())
"""
MOST_NEIGHBOURS = 0.1


class Setting(NamedTuple):
    """So many cores, nodes, and signing threads of each."""

    cores: int
    nodes: int
    signers: int


class Result(NamedTuple):
    """Messages a second: with the receiver counted out, and by the clock; CPU us a message; cores that others took."""

    rate: float
    wall: float
    cpu_us: float
    neighbours: float


class Account:
    """Seconds since it was opened in the sender: by the clock, and CPU of it with its nodes, receiver and cores."""

    def __init__(self, sink: int) -> None:
        self._sink = sink
        self._cores = os.sched_getaffinity(0)
        self._clock, self._busy, self._receiver = time.monotonic(), self._read_cores(), cpu_of(sink)
        # Nodes that live now will be among the children that have ended.
        self._own = _own() + sum(map(cpu_of, _children()))

    def closed(self) -> dict[str, float]:
        return {
            "seconds": time.monotonic() - self._clock,
            "own": _own() - self._own,
            "receiver": cpu_of(self._sink) - self._receiver,
            "busy": self._read_cores() - self._busy,
        }

    def _read_cores(self) -> float:
        """All but idle and waiting for disks."""
        names = {f"cpu{core}" for core in self._cores}
        rows = [row.split() for row in Path("/proc/stat").read_text().splitlines()]
        ticks = sum(int(row[place]) for row in rows if row[0] in names for place in (1, 2, 3, 6, 7, 8))
        return ticks / os.sysconf("SC_CLK_TCK")


def cpu_of(pid: int) -> float:
    """CPU seconds of a living process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in both)


def _children() -> list[int]:
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


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
            sources=SOURCES,
        )
        arguments = [str(campaign), str(folder / "state"), "turbo" if options.turbo else "plain"]
        arguments += [str(setting.signers), str(setting.nodes), json.dumps(mine), str(sink.pid)]
        sender = subprocess.run(
            [sys.executable, "-c", SENDER, *arguments], stdout=subprocess.PIPE, text=True, check=True
        )
    finally:
        sink.stdin.close()
        counted = json.loads(sink.stdout.readline())
        sink.wait()
    made = json.loads(sender.stdout.splitlines()[-1])
    if made["delivered"] != options.recipients or counted["messages"] != options.recipients:
        raise SystemExit(f"not all was delivered: {made}, the receiver counted {counted}")
    shared = 0.0 if rest else made["receiver"]
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
    parser.add_argument("--nodes", default="2", help="nodes to try on all cores")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.cores > len(os.sched_getaffinity(0)):
        parser.error(f"--cores {options.cores}: this process may use {len(os.sched_getaffinity(0))}")
    one = Setting(1, 1, 1)
    settings = [one, *(Setting(options.cores, 1, int(number)) for number in filter(None, options.signers.split(",")))]
    settings += [Setting(options.cores, int(number), 1) for number in filter(None, options.nodes.split(","))]
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
    names = ("cores", "nodes", "signing threads of each", "messages/s", "times one core", "by the clock")
    print(f"| {' | '.join((*names, 'CPU us a message', 'neighbours'))} |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['cores']} | {row['nodes']} | {row['signers']} | {row['rate']:,.0f} ({row['low']:,.0f} to "
            f"{row['high']:,.0f}) | {row['times']:.2f} | {row['wall']:,.0f} | {row['cpu_us']:.0f} "
            f"| {row['neighbours']:.2f} |"
        )
    if max(row["neighbours"] for row in rows) > MOST_NEIGHBOURS:
        print("\nOther programs were at work: these rates say nothing about the machine.")


if __name__ == "__main__":
    main()
