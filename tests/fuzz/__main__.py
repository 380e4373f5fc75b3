"""Fuzz the parsers of what servers say, and the natives: `make fuzz`, or

    python -m tests.fuzz [TARGET ...] [--count N] [--seed S] [--first-block B] [--plain]

Of the count, half goes to the reply parser and half to the transactions; the other targets get their share on top. Each
runs in a process of its own, with the sanitized natives unless `--plain`. The seed is printed; with it and the block,
an input comes again exactly. Exit code 1 if there is any finding.
"""

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import build
from tests.fuzz.targets import BLOCK, TARGETS, Target
from tests.fuzz.worker import PLACE

# CPU time that one input may take: a thousand times what the slowest needs.
HANG_SECONDS = 10.0
# What memory may grow by from the first half of a run to its second; below it, allocators breathe.
GROWTH_BYTES = 8 << 20
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def grown(memory: list[int]) -> int:
    """By how much the most of the second half is above the most of the first."""
    half = len(memory) // 2
    return max(memory[half:]) - max(memory[:half]) if half else 0


def watch(process: subprocess.Popen[str], place: Path) -> str:
    """Wait for the end; what was wrong with it, if anything."""
    seen, since = b"", 0.0
    while True:
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            now, used = place.read_bytes(), cpu_seconds(process.pid)
            if now != seen:
                seen, since = now, used
            elif used - since > HANG_SECONDS:
                process.kill()
                process.wait()
                return f"one input took more than {HANG_SECONDS:g} s of CPU time"
            continue
        if process.returncode < 0:
            return f"ended by {signal.Signals(-process.returncode).name}"
        return "" if process.returncode == 0 else "failed"


def run(target: Target, seed: int, first: int, blocks: int, *, sanitized: bool) -> bool:
    """Run one target and say how it went; False where something was found."""
    environment = build.environment() if sanitized else dict(os.environ)
    with tempfile.NamedTemporaryFile() as file, tempfile.TemporaryFile("w+") as output:
        file.write(bytes(PLACE.size))
        file.flush()
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.worker",
            target.name,
            str(seed),
            str(first),
            str(blocks),
            file.name,
        ]
        process = subprocess.Popen(command, stdout=output, cwd=build.ROOT, env=environment, text=True)
        try:
            finding = watch(process, Path(file.name))
        finally:
            process.kill()
            process.wait()
        block, number = PLACE.unpack(Path(file.name).read_bytes())
        output.seek(0)
        lines = output.read().splitlines()
    if not finding:
        report = json.loads(lines[-1])
        growth = grown(report["memory_bytes"])
        if growth > GROWTH_BYTES and blocks >= 40:
            finding = f"memory grew by {growth >> 20} MiB"
        rate = report["inputs"] / max(report["cpu_seconds"], 0.01)
        print(
            f"{target.name:13} {report['inputs']:>10,} inputs  {report['cpu_seconds']:8.1f} s CPU  {rate:8,.0f}/s  "
            f"memory {report['memory_bytes'][-1] / 2**20:.0f} MiB ({growth / 2**20:+.1f})",
            flush=True,
        )
    if finding:
        again = f"python -m tests.fuzz {target.name} --seed {seed} --first-block {block} --count {BLOCK}"
        print(f"{target.name:13} FOUND: {finding}, at input {number} of block {block}; again: {again}", flush=True)
    return not finding


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET", help=" ".join(TARGETS))
    parser.add_argument("--count", type=int, default=200_000, help="inputs; of a target that is named, so many of it")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--first-block", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="the natives as they are shipped, without sanitizers")
    arguments = parser.parse_args()
    if not arguments.plain and not build.NATIVE.is_dir():
        sys.exit("fuzz: `python -m tests.fuzz.build` first, or `--plain`")
    seed = secrets.randbelow(1 << 31) if arguments.seed is None else arguments.seed
    natives = "shipped natives" if arguments.plain else "natives with address and undefined-behaviour sanitizers"
    print(f"seed {seed}, {natives}", flush=True)
    began, good = time.monotonic(), True
    for target in [TARGETS[name] for name in arguments.targets or TARGETS]:
        wanted = arguments.count * (1 if arguments.targets else target.share)
        blocks = max(1, round(wanted / BLOCK))
        good &= run(target, seed, arguments.first_block, blocks, sanitized=not arguments.plain)
    print(f"{'nothing found' if good else 'FOUND something'} in {time.monotonic() - began:.0f} s", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
