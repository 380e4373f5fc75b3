"""The one receiver that all senders deliver to: `benchmarks.sink` in a process of its own."""

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self


class Receiver:
    """A running sink, as a context manager; `ports` while it runs, `counted` afterwards."""

    def __init__(self, *, delay_seconds: float = 0.0, tls: bool = False) -> None:
        self._arguments = ["--delay", str(delay_seconds), *(["--tls"] if tls else [])]
        self.ports: dict[str, Any] = {}
        self.counted: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sink", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.ports = json.loads(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self.counted = json.loads(self._process.stdout.readline())
        self._process.stdout.close()
        self._process.wait()
