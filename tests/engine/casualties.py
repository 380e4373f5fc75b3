"""Senders in processes of their own that are killed, and a receiver that outlives them."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from bulkmail.sandbox.profiles import OPEN_HOUSE
from bulkmail.sandbox.wire import Ready, read_report

ROOT = Path(__file__).parents[2]

# Ends with the summary on standard output, as a script of a user would.
SCRIPT = """
import sys, msgspec, bulkmail
summary = bulkmail.send(sys.argv[1], state=sys.argv[2])
print(msgspec.json.encode(summary).decode())
"""


class Receiver:
    """A sandbox in a process of its own, that takes everything unless it has other `profiles`; a context manager.

    `profiles` None are the providers as shipped.
    """

    def __init__(self, folder: Path, *, profiles: Path | None = OPEN_HOUSE) -> None:
        self.folder = folder
        self.profiles = profiles
        self.log = folder / "log.ndjson"
        self.port = self.https_port = 0
        self.dns = ""
        self.certificate = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bulkmail.sandbox", "--folder", str(self.folder), "--keep", "log"]
        if self.profiles is not None:
            command += ["--profiles", str(self.profiles)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdout is not None
        report = read_report(self._process.stdout.readline())
        assert isinstance(report, Ready), report
        self.port, self.dns = report.smtp_port, report.dns_server
        self.https_port, self.certificate = report.https_port, report.certificate
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)

    @property
    def bytes_logged(self) -> int:
        return self.log.stat().st_size


@dataclass
class Ending:
    """How the processes ended: `kills` that hit a living one, and the summary of the last."""

    kills: int = 0
    summary: dict[str, object] = field(default_factory=dict)


def start(campaign: Path, state: Path, *, cli: bool = False, options: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    """`options` are the command line's, with `cli`."""
    command = [sys.executable, "-c", SCRIPT, str(campaign), str(state)]
    if cli:
        command = [
            sys.executable,
            "-m",
            "bulkmail",
            "send",
            str(campaign),
            "--state",
            str(state),
            "--json",
            "--yes",
            *options,
        ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: "subprocess.Popen[bytes]", *, seconds: float = 60.0) -> tuple[int, dict[str, object]]:
    """Exit code and summary of a process left to itself."""
    out, errors = process.communicate(timeout=seconds)
    lines = out.splitlines()
    assert process.returncode in (0, 3, -signal.SIGKILL, -signal.SIGINT), errors.decode()
    return process.returncode, msgspec.json.decode(lines[-1]) if lines else {}


def wait_until(process: "subprocess.Popen[bytes]", condition: Callable[[], bool], *, seconds: float = 30.0) -> bool:
    """Whether the condition came true while the process lived."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if condition():
            return True
        try:
            process.wait(0.002)
        except subprocess.TimeoutExpired:
            continue
    return False


def kill_until_done(
    campaign: Path, state: Path, receiver: Receiver, *, kills: int, seed: int, bytes_each: int
) -> Ending:
    """Send; kill each process after a random part of `bytes_each` of the receiver's log, or at a random early moment.

    After `kills` kills the next process is left to finish.
    """
    rng = random.Random(seed)
    ending = Ending()
    while True:
        process = start(campaign, state)
        if ending.kills == kills:
            code, ending.summary = finish(process)
            assert code == 0
            return ending
        if rng.random() < 0.2:
            begun = time.monotonic() + rng.uniform(0.1, 0.5)
            due = wait_until(process, lambda begun=begun: time.monotonic() >= begun)  # type: ignore[misc]
        else:
            mark = receiver.bytes_logged + rng.randrange(1, bytes_each)
            due = wait_until(process, lambda mark=mark: receiver.bytes_logged >= mark)  # type: ignore[misc]
        if due:
            process.kill()
            ending.kills += 1
        code, summary = finish(process)
        if code == 0:
            ending.summary = summary
            return ending
