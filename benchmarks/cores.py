"""What a second core brings: the rate of signed mail on one core and on two, by threads and by nodes.

    python -m benchmarks.cores [--recipients 20000] [--signing rsa|ed25519|none] [--no-turbo] [--runs 5]
                               [--first] [--json]

Sender and sink are held to the same one or two cores (`sched_setaffinity`), in turn. The sink is to stand for receivers
on other machines, so what it took of these cores is counted out, and nothing else is:

    seconds = wall seconds of sending - CPU seconds of the sink / number of cores

Time that a core was idle, or was at work for somebody else, counts against the sender. `others` is the share of the
cores that other processes had meanwhile, by the kernel's account (/proc/stat): where that is more than a few percent,
the figures are worth nothing. On a machine that is in use `--first` (as root) lets sender and sink go before everybody
else (SCHED_RR), for some seconds at a time. Sending is from when all rows are in, which one thread reads however many
cores there are.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks.workload import write_campaign

CONNECTIONS = 32
SOURCES = 4

SENDER = """
import asyncio, json, sys, time
import bulkmail, uvloop
from benchmarks.cores import Account
file, state, nodes, signers, turbo, sink = sys.argv[1:]
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


class Way(Struct, frozen=True, kw_only=True):
    """One row: how many cores are allowed, and what they are used by."""

    name: str
    cores: int
    nodes: int
    signers: int


WAYS = (
    Way(name="one core", cores=1, nodes=1, signers=1),
    Way(name="two cores, --signers 1", cores=2, nodes=1, signers=1),
    Way(name="two cores, --signers 2", cores=2, nodes=1, signers=2),
    Way(name="two cores, --nodes 2 --signers 1", cores=2, nodes=2, signers=1),
)


class Account:
    """Wall and CPU seconds since it was opened, in the sender: of itself with its nodes, of the sink, of the cores."""

    def __init__(self, sink: int) -> None:
        self._sink = sink
        self._cores = os.sched_getaffinity(0)
        self._began, self._busy, self._sink_cpu = time.monotonic(), self._read_cores(), cpu_of(sink)
        # Nodes that live now will be among the children that have ended.
        self._own = _own() + sum(map(cpu_of, children_of(os.getpid())))

    def closed(self) -> dict[str, float]:
        wall = time.monotonic() - self._began
        sink, own = cpu_of(self._sink) - self._sink_cpu, _own() - self._own
        others = max(0.0, self._read_cores() - self._busy - sink - own)
        return {"wall": wall, "sink": sink, "own": own, "others": others / (wall * len(self._cores))}

    def _read_cores(self) -> float:
        ticks = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *fields = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in self._cores:
                user, nice, system, _, _, irq, softirq, steal, *_ = map(int, fields)
                ticks += user + nice + system + irq + softirq + steal
        return ticks / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in both)


def cpu_of(pid: int) -> float:
    """CPU seconds of a living process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def run_once(way: Way, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    allowed = sorted(os.sched_getaffinity(0))[: way.cores]

    def held() -> None:
        os.sched_setaffinity(0, allowed)
        if options.first:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

    sink = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=held,
    )
    assert sink.stdin is not None and sink.stdout is not None
    try:
        campaign = write_campaign(
            folder,
            recipients=options.recipients,
            sink=json.loads(sink.stdout.readline()),
            signing=None if options.signing == "none" else options.signing,
            connections=CONNECTIONS,
            sources=SOURCES,
        )
        words = [str(campaign), str(folder / "state"), str(way.nodes), str(way.signers)]
        words += ["turbo" if options.turbo else "plain", str(sink.pid)]
        sender = subprocess.run(
            [sys.executable, "-c", SENDER, *words], stdout=subprocess.PIPE, text=True, check=True, preexec_fn=held
        )
    finally:
        sink.stdin.close()
        counted = json.loads(sink.stdout.readline())
        sink.wait()
    found: dict[str, float] = json.loads(sender.stdout.splitlines()[-1])
    if found["delivered"] != options.recipients or counted["messages"] != options.recipients:
        raise SystemExit(f"not all was delivered: {found}, the sink counted {counted}")
    seconds = found["wall"] - found["sink"] / way.cores
    return {
        "per_second": options.recipients / seconds,
        "sender_us": found["own"] / options.recipients * 1e6,
        "sink_us": found["sink"] / options.recipients * 1e6,
        "others": found["others"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="what a second core brings")
    parser.add_argument("--recipients", type=int, default=20_000)
    parser.add_argument("--signing", choices=["rsa", "ed25519", "none"], default="rsa")
    parser.add_argument("--turbo", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("two cores are needed")
    results: dict[str, list[dict[str, float]]] = {way.name: [] for way in WAYS}
    for _ in range(options.runs):
        for way in WAYS:
            with tempfile.TemporaryDirectory() as folder:
                results[way.name].append(run_once(way, options, Path(folder)))
    rows: list[dict[str, Any]] = []
    for name, runs in results.items():
        row: dict[str, Any] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        row |= {"low": min(run["per_second"] for run in runs), "high": max(run["per_second"] for run in runs)}
        rows.append(
            {"way": name, **row, "times": row["per_second"] / (rows[0]["per_second"] if rows else row["per_second"])}
        )
    if options.json:
        print(json.dumps({"options": vars(options), "python": platform.python_version(), "rows": rows}))
        return
    print(f"{options.recipients} recipients, {options.signing}{', eight at once' if options.turbo else ''}, medians")
    print(f"{'':34}{'messages/s':>12}{'low':>9}{'high':>9}{'times':>7}{'sender us':>11}{'sink us':>9}{'others':>8}")
    for row in rows:
        print(
            f"{row['way']:34}{row['per_second']:>12,.0f}{row['low']:>9,.0f}{row['high']:>9,.0f}{row['times']:>7.2f}"
            f"{row['sender_us']:>11.1f}{row['sink_us']:>9.1f}{row['others']:>8.1%}"
        )


if __name__ == "__main__":
    main()
