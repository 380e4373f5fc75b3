"""What one sender did in one run, and medians over several."""

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Figures(NamedTuple):
    """CPU seconds of all the sender's processes, wall seconds, and the peak memory of the biggest one in KiB."""

    cpu_seconds: float
    seconds: float
    peak_kib: int


class Spread(NamedTuple):
    """Median, lowest and highest."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


class SenderFailed(RuntimeError):
    """A sender did not do its work; the text says how."""


def run_process(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> Figures:
    """Run a sender to its end; its rusage includes that of the children it has waited for."""
    log = folder / "sender.log"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode != 0:
        tail = log.read_text(errors="replace")[-2000:]
        raise SenderFailed(f"{command[0]} ended with {process.returncode}: {tail}")
    return figures_of(used, seconds)


def figures_of(used: resource.struct_rusage, seconds: float) -> Figures:
    return Figures(used.ru_utime + used.ru_stime, seconds, used.ru_maxrss)
