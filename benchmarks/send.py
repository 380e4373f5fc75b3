"""What a whole send costs: CPU a message, rate and peak memory of the sending process.

    python -m benchmarks.send [--recipients 20000] [--signing rsa|ed25519|none] [--connections 20] [--domains 1]
                              [--bytes 10000] [--no-turbo] [--nodes 1] [--sources 1] [--signers N] [--runs 5] [--json]

The receiver is benchmarks.sink in a process of its own; the sender is `bulkmail.send` in another. CPU is that of all
threads of the sender, from reading the list to the finished run, less a sender that only starts up; with `--nodes`, of
their processes, too, from their first instruction. Its stages are what the run has kept of itself (`bulkmail report`);
`start` is what came before and after. All mail is for one site: several nodes have something to do where `--sources`
gives it as many lanes.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.workload import write_campaign
from bulkmail.model.cpu import STAGES
from bulkmail.store.view import StoreView

SENDER = """
import json, resource, sys
import bulkmail
import bulkmail.library
nodes, signers = (int(word) for word in (sys.argv[4:] or (1, 0)))
began = resource.getrusage(resource.RUSAGE_SELF)
summary = bulkmail.send(
    sys.argv[1], state=sys.argv[2], turbo=sys.argv[3] == "turbo", nodes=nodes, signers=signers or None
)
used, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "delivered": summary.delivered, "recipients": summary.recipients, "seconds": summary.seconds,
    "cpu": used.ru_utime + used.ru_stime - began.ru_utime - began.ru_stime + children.ru_utime + children.ru_stime,
    "peak_kib": max(used.ru_maxrss, children.ru_maxrss),
}))
"""


def run_once(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    sink = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink", "--delay", str(options.delay)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert sink.stdin is not None and sink.stdout is not None
    try:
        ports = json.loads(sink.stdout.readline())
        campaign = write_campaign(
            folder,
            recipients=options.recipients,
            sink=ports,
            signing=None if options.signing == "none" else options.signing,
            domains=options.domains,
            connections=options.connections,
            bytes_wanted=options.bytes,
            window=options.window,
            sources=options.sources,
        )
        words = [str(campaign), str(folder / "state"), "turbo" if options.turbo else "plain"]
        sender = subprocess.run(
            [sys.executable, "-c", SENDER, *words, str(options.nodes), str(options.signers)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        result: dict[str, float] = json.loads(sender.stdout.splitlines()[-1])
        with StoreView.open_readonly(folder / "state") as view:
            spent = view.cpu(1)
    finally:
        sink.stdin.close()
        counted = json.loads(sink.stdout.readline())
        sink.wait()
    if result["delivered"] != options.recipients or counted["messages"] != options.recipients:
        raise SystemExit(f"not all was delivered: {result}, the sink counted {counted}")
    result["cpu_us"] = result["cpu"] / options.recipients * 1e6
    result |= {stage: spent.microseconds(stage) for stage in STAGES}
    result["start"] = result["cpu_us"] - sum(result[stage] for stage in STAGES)
    result["sink_cpu_us"] = counted["cpu"] / options.recipients * 1e6
    result["per_second"] = options.recipients / result["seconds"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="what a whole send costs")
    parser.add_argument("--recipients", type=int, default=20_000)
    parser.add_argument("--signing", choices=["rsa", "ed25519", "none"], default="rsa")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--domains", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=10_000)
    parser.add_argument("--window", type=int, default=1)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--turbo", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--sources", type=int, default=1)
    parser.add_argument("--signers", type=int, default=0, help="of each node; 0: what is usual")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            results.append(run_once(options, Path(folder)))
    summary = {
        name: {
            "median": round(statistics.median(result[name] for result in results), 1),
            "low": round(min(result[name] for result in results), 1),
            "high": round(max(result[name] for result in results), 1),
        }
        for name in ("cpu_us", *STAGES, "start", "per_second", "peak_kib", "sink_cpu_us")
    }
    if options.json:
        print(json.dumps({"options": vars(options), "python": platform.python_version(), **summary}))
        return
    print(
        f"{options.recipients} recipients, {options.bytes} bytes, {options.signing}, {options.connections} connections"
    )
    for name, unit in (
        ("cpu_us", "us CPU a message, sender"),
        *((stage, f"us of that: {stage}") for stage in (*STAGES, "start")),
        ("per_second", "messages a second"),
        ("peak_kib", "KiB peak memory, the largest process of the sender"),
        ("sink_cpu_us", "us CPU a message, sink"),
    ):
        row = summary[name]
        print(f"{row['median']:>12} {unit}  ({row['low']} to {row['high']}, {options.runs} runs)")


if __name__ == "__main__":
    main()
