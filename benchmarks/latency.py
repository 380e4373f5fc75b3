"""How many messages one connection carries where a round trip is long, beside what else there is.

    python -m benchmarks.latency [--delay 0.05] [--runs 3] [--windows 1 8 16] [--messages 0] [--json]

Each sender has one connection to a sink that holds every reply back by the delay: a round trip, whatever the machine is
doing. Counted at the sink, from the end of the first message to the end of the last. `--messages 0` takes as many as
make about a hundred round trips, so that a window's growth from 1 is in the figure, and is not the figure.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.compare.__main__ import machine
from benchmarks.compare.figures import SenderFailed, run_process
from benchmarks.compare.receiver import Receiver
from benchmarks.compare.senders import SENDERS, Job, Sender
from benchmarks.workload import write_campaign

ROUND_TRIPS = 100
RIVALS = ("aiosmtplib", "Postfix")
# What each of them needs for a message, about; only for how many are sent.
ROUGHLY = {"aiosmtplib": 4, "Postfix": 3}


class Row(NamedTuple):
    name: str
    run: Callable[[Job], object]
    messages: int
    missing: str | None = None


def rows(windows: list[int], messages: int) -> list[Row]:
    """bulkmail by DATA and with each window, and its rivals."""
    by_name: dict[str, Sender] = {sender.name: sender for sender in SENDERS}
    found = [
        Row(
            "bulkmail, DATA" if window == 1 else f"bulkmail, BDAT, window {window}",
            bulkmail_by_window(window),
            messages or ROUND_TRIPS * window,
        )
        for window in windows
    ]
    for name in RIVALS:
        sender = by_name[name]
        found.append(Row(name, sender.run, messages or ROUND_TRIPS // ROUGHLY[name], sender.missing()))
    return found


def bulkmail_by_window(window: int) -> Callable[[Job], object]:
    def run(job: Job) -> object:
        campaign = write_campaign(
            job.folder,
            recipients=job.messages,
            sink=job.ports,
            signing=None,
            connections=job.connections,
            window=window,
        )
        module = ["-m", "benchmarks.compare.rivals.bulkmail_sender"]
        arguments = [str(campaign), str(job.folder / "state"), "plain"]
        return run_process([sys.executable, *module, *arguments], job.folder, {"PYTHONPATH": os.getcwd()})

    return run


def round_trips(row: Row, delay_seconds: float) -> float:
    """Round trips a message of one run. Raises SenderFailed unless all came, and over one connection at a time."""
    with tempfile.TemporaryDirectory(prefix="bulkmail-latency-") as folder:
        with Receiver(delay_seconds=delay_seconds) as receiver:
            row.run(Job(Path(folder), receiver.ports, row.messages, 1))
        counted = receiver.counted
        if counted["messages"] != row.messages:
            raise SenderFailed(f"{counted['messages']} of {row.messages} messages came")
        return float(counted["seconds"]) / (row.messages - 1) / delay_seconds


def measure(row: Row, options: argparse.Namespace) -> dict[str, object]:
    if row.missing is not None:
        return {"sender": row.name, "skipped": row.missing}
    try:
        made = sorted(round_trips(row, options.delay) for _ in range(options.runs))
    except SenderFailed as error:
        return {"sender": row.name, "skipped": f"failed: {error}"}
    median = statistics.median(made)
    return {
        "sender": row.name,
        "messages": row.messages,
        "round_trips": round(median, 4),
        "low": round(made[0], 4),
        "high": round(made[-1], 4),
        "per_round_trip": round(1 / median, 2),
        "per_second": round(1 / median / options.delay, 1),
    }


def print_table(measured: list[dict[str, object]], facts: dict[str, str]) -> None:
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    print()
    print("| sender, one connection | round trips a message | messages a round trip | messages/s | of |")
    print("|---|---|---|---|---|")
    for one in measured:
        if "skipped" in one:
            print(f"| {one['sender']} | skipped: {one['skipped']} | | | |")
        else:
            spread = f"{one['round_trips']} ({one['low']} to {one['high']})"
            print(f"| {one['sender']} | {spread} | {one['per_round_trip']} | {one['per_second']} | {one['messages']} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="messages over one connection with a long round trip")
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--messages", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measured = [measure(row, options) for row in rows(options.windows, options.messages)]
    if options.json:
        print(json.dumps({"options": vars(options), "machine": machine(), "senders": measured}))
    else:
        print_table(measured, machine())


if __name__ == "__main__":
    main()
