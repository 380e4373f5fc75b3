"""What taking a list in costs: rows a second, peak memory, bytes on disk a recipient.

    python -m benchmarks.intake [--recipients 1000000] [--domains 500] [--suppressed 0] [--quoted] [--json]

From a CSV file to chunks in the store, with duplicate check and suppression look-up, and nothing sent. `--quoted` puts
every cell in quotation marks, so that all rows go the general way.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.workload import write_campaign
from bulkmail.address import parse_address
from bulkmail.bench.whole import take_in
from bulkmail.config.load import load_campaign
from bulkmail.store.suppressions import Suppression, Suppressions


def suppressions_of(count: int) -> Iterator[Suppression]:
    for number in range(count):
        address = str(parse_address(f"gone.{number:08d}@elsewhere.example"))
        yield Suppression(key=address, address=address, reason="user_unknown", source="benchmark", time=0.0)


def quote(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("".join(",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in lines))


def measured(folder: Path) -> dict[str, float]:
    """In a process of its own: the list that is there, taken in."""
    campaign = load_campaign(str(folder / "campaign.yaml"))
    began, wall = time.process_time(), time.monotonic()
    rows, stored = asyncio.run(take_in(campaign, folder / "state"))
    cpu, seconds = time.process_time() - began, time.monotonic() - wall
    disk = sum(file.stat().st_size for file in (folder / "state").rglob("*") if file.is_file() and file.suffix != ".j")
    return {
        "rows": rows,
        "stored": stored,
        "cpu_us_per_row": cpu / rows * 1e6,
        "rows_per_cpu_second": rows / cpu,
        "seconds": seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "bytes_per_recipient": disk / max(1, stored),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="what taking a list in costs")
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--domains", type=int, default=500)
    parser.add_argument("--suppressed", type=int, default=0)
    parser.add_argument("--quoted", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is not None:
        print(json.dumps(measured(options.folder)))
        return
    with tempfile.TemporaryDirectory(prefix="bulkmail-intake-") as name:
        folder = Path(name)
        sink = {"smtp_port": 25, "dns": "127.0.0.1:53"}
        write_campaign(folder, recipients=options.recipients, sink=sink, signing=None, domains=options.domains)
        if options.quoted:
            quote(folder / "list.csv")
        if options.suppressed:
            with Suppressions.open(folder / "state") as suppressions:
                suppressions.add_many(suppressions_of(options.suppressed))
        command = [sys.executable, "-m", "benchmarks.intake", "--folder", name]
        result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    if options.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        print(f"{value:>16,.1f} {key.replace('_', ' ')}")


if __name__ == "__main__":
    main()
