"""bulkmail and its rivals in one run: CPU a message, rate, round trips, memory.

    python -m benchmarks.compare [--json] [--rounds 5] [--only TEXT]... [--scale 1.0] [--connections 20] [--no-latency]

Every round runs all senders in turn, each into a receiver of its own (`benchmarks.sink`): 10 KB, personalised where
the sender can. CPU is that of all processes of the sender. What it takes to start (imports, compilation) is found by a
run of few messages, subtracted, and shown. Round trips: one connection, replies 25 ms late. `make bench-peers` installs
the rivals; what is not installed is skipped, and said so.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from benchmarks.compare.figures import Figures, SenderFailed, Spread, spread
from benchmarks.compare.receiver import Receiver
from benchmarks.compare.senders import BASE, SENDERS, Job, Sender, nodemailer_version

FEW = 200
DELAY_SECONDS = 0.025
LATENCY_MESSAGES = (10, 50)


class Round(NamedTuple):
    """What one sender did in one round."""

    cpu_us: float
    start_ms: float
    per_second: float
    peak_mib: float
    receiver_us: float


class Row(NamedTuple):
    """One sender over all rounds; `skipped` says why there is nothing else."""

    sender: Sender
    cpu_us: Spread | None = None
    ratio: float | None = None
    start_ms: float = 0.0
    per_second: Spread | None = None
    round_trips: float | None = None
    peak_mib: float = 0.0
    receiver_us: float = 0.0
    skipped: str | None = None


def deliver(sender: Sender, messages: int, *, connections: int, delay_seconds: float = 0.0) -> tuple[Figures, float]:
    """One run; the figures, and the receiver's CPU seconds. Raises SenderFailed unless all messages came."""
    with tempfile.TemporaryDirectory(prefix="bulkmail-compare-") as folder:
        with Receiver(delay_seconds=delay_seconds, tls=sender.tls) as receiver:
            figures = sender.run(Job(Path(folder), receiver.ports, messages, connections))
        if receiver.counted["messages"] != messages:
            raise SenderFailed(f"{sender.name}: {receiver.counted['messages']} of {messages} messages came")
        return figures, receiver.counted["cpu"]


def one_round(sender: Sender, messages: int, connections: int) -> Round:
    start = Figures(0.0, 0.0, 0)
    few = 0
    receiver_at_start = 0.0
    if not sender.started_before:
        few = min(FEW, messages // 2)
        start, receiver_at_start = deliver(sender, few, connections=connections)
    figures, receiver = deliver(sender, messages, connections=connections)
    counted = messages - few
    return Round(
        cpu_us=(figures.cpu_seconds - start.cpu_seconds) / counted * 1e6,
        start_ms=start.cpu_seconds * 1e3,
        per_second=counted / max(1e-9, figures.seconds - start.seconds),
        peak_mib=figures.peak_kib / 1024,
        receiver_us=(receiver - receiver_at_start) / counted * 1e6,
    )


def round_trips(sender: Sender) -> float:
    few, many = (deliver(sender, count, connections=1, delay_seconds=DELAY_SECONDS)[0] for count in LATENCY_MESSAGES)
    return (many.seconds - few.seconds) / (LATENCY_MESSAGES[1] - LATENCY_MESSAGES[0]) / DELAY_SECONDS


def compare(options: argparse.Namespace) -> list[Row]:
    rounds: dict[str, list[Round]] = {}
    skipped: dict[str, str] = {}
    chosen = [sender for sender in SENDERS if not options.only or any(text in sender.name for text in options.only)]
    for number in range(options.rounds):
        for sender in chosen:
            if (why := skipped.get(sender.name) or sender.missing()) is not None:
                skipped[sender.name] = why
                continue
            progress(f"round {number + 1} of {options.rounds}: {sender.name}")
            try:
                made = one_round(sender, max(50, int(sender.messages * options.scale)), options.connections)
            except SenderFailed as error:
                skipped[sender.name] = f"failed: {error}"
                continue
            rounds.setdefault(sender.name, []).append(made)
    trips: dict[str, float] = {}
    if options.latency:
        for sender in chosen:
            if sender.name in rounds and sender.name not in skipped:
                progress(f"round trips: {sender.name}")
                trips[sender.name] = round_trips(sender)
    base = [made.cpu_us for made in rounds.get(BASE, [])]
    return [row(sender, rounds.get(sender.name, []), base, trips, skipped.get(sender.name)) for sender in chosen]


def row(
    sender: Sender, made: Sequence[Round], base: Sequence[float], trips: dict[str, float], skipped: str | None
) -> Row:
    if skipped is not None or not made:
        return Row(sender, skipped=skipped or "not run")
    cpu = spread([one.cpu_us for one in made])
    return Row(
        sender,
        cpu_us=cpu,
        ratio=cpu.median / spread(base).median if base else None,
        start_ms=spread([one.start_ms for one in made]).median,
        per_second=spread([one.per_second for one in made]),
        round_trips=trips.get(sender.name),
        peak_mib=spread([one.peak_mib for one in made]).median,
        receiver_us=spread([one.receiver_us for one in made]).median,
    )


def machine() -> dict[str, str]:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    postfix = (
        subprocess.run(["postconf", "-d", "-h", "mail_version"], capture_output=True, text=True, check=False)
        if (Path("/usr/sbin/postconf").exists())
        else None
    )
    return {
        "cpu": f"{model}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "uvloop": version("uvloop"),
        "cryptography": version("cryptography"),
        "aiosmtplib": version("aiosmtplib"),
        "dkimpy": version("dkimpy"),
        "postfix": postfix.stdout.strip() if postfix is not None else "none",
        "nodemailer": nodemailer_version() or "none",
        "commit": commit.stdout.strip(),
    }


def print_table(rows: Sequence[Row], facts: dict[str, str]) -> None:
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    print()
    print("| sender | each message is | CPU us a message | ratio | messages/s | RTTs | peak MiB | start, CPU ms |")
    print("|---|---|---|---|---|---|---|---|")
    for one in rows:
        label = f"{one.sender.name} ({one.sender.note})"
        if one.cpu_us is None or one.per_second is None:
            print(f"| {label} | {one.sender.work} | skipped: {one.skipped} | | | | | |")
            continue
        ratio = f"{one.ratio:.2f}" if one.ratio is not None else ""
        trips = f"{one.round_trips:.2f}" if one.round_trips is not None else ""
        print(
            f"| {label} | {one.sender.work} | {_range(one.cpu_us)} | {ratio} | {_range(one.per_second)} | {trips} "
            f"| {one.peak_mib:.0f} | {one.start_ms:.0f} |"
        )
    ran = [one for one in rows if one.cpu_us is not None]
    if ran:
        slowest = max(ran, key=lambda one: one.receiver_us)
        print()
        print(
            f"The receiver takes up to {slowest.receiver_us:.0f} us of CPU a message (from {slowest.sender.name}): "
            f"its ceiling on a core of its own is {1e6 / slowest.receiver_us:,.0f} messages a second."
        )


def _range(values: Spread) -> str:
    return f"{values.median:,.0f} ({values.low:,.0f} to {values.high:,.0f})"


def as_json(rows: Sequence[Row], facts: dict[str, str], options: argparse.Namespace) -> str:
    def plain(one: Row) -> dict[str, object]:
        shown = {"sender": one.sender.name, "work": one.sender.work, "signing": one.sender.signing}
        if one.cpu_us is None or one.per_second is None:
            return {**shown, "skipped": one.skipped}
        return {
            **shown,
            "cpu_us": one.cpu_us._asdict(),
            "ratio": one.ratio,
            "per_second": one.per_second._asdict(),
            "round_trips": one.round_trips,
            "peak_mib": one.peak_mib,
            "start_cpu_ms": one.start_ms,
            "receiver_us": one.receiver_us,
        }

    return json.dumps({"machine": facts, "options": vars(options), "rows": [plain(one) for one in rows]})


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="bulkmail and its rivals in one run")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], help="senders whose name contains this")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of messages of each run")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--latency", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    rows, facts = compare(options), machine()
    if options.json:
        print(as_json(rows, facts, options))
    else:
        print_table(rows, facts)


if __name__ == "__main__":
    main()
