"""The comparison runs, counts what really arrived, and says what it left out."""

import json
import subprocess
import sys

import pytest

from benchmarks.compare.__main__ import deliver
from benchmarks.compare.figures import Figures, SenderFailed
from benchmarks.compare.senders import SENDERS, Sender


def test_it_compares_senders_and_names_those_that_are_missing() -> None:
    chosen = ["--only", "bulkmail, RSA-2048", "--only", "smtplib", "--only", "nodemailer"]
    command = [
        sys.executable,
        "-m",
        "benchmarks.compare",
        "--rounds",
        "1",
        "--scale",
        "0.005",
        "--no-latency",
        "--json",
    ]
    run = subprocess.run([*command, *chosen], capture_output=True, text=True, check=True, timeout=100)
    result = json.loads(run.stdout)
    rows = {row["sender"]: row for row in result["rows"]}
    assert {"bulkmail, RSA-2048", "smtplib", "nodemailer"} <= rows.keys() and "Postfix" not in rows
    # Of so few messages the rates are noise; that all arrived was counted before there was a row.
    assert rows["bulkmail, RSA-2048"]["start_cpu_ms"] > 0
    assert rows["smtplib"]["start_cpu_ms"] > 0
    for row in rows.values():
        assert "cpu_us" in row or row["skipped"]
    assert result["machine"]["python"]


def test_a_sender_that_loses_a_message_is_no_row() -> None:
    def lazy(job: object) -> Figures:
        return Figures(0.0, 0.0, 0)

    sender = Sender("lazy", "", "static", None, 10, lambda: None, lazy)
    with pytest.raises(SenderFailed, match="lazy: 0 of 10 messages came"):
        deliver(sender, 10, connections=1)


def test_the_names_of_the_senders_are_told_apart() -> None:
    assert len({sender.name for sender in SENDERS}) == len(SENDERS)
