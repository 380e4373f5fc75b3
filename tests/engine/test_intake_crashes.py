"""Processes killed while they take recipients in, and a second one that wants the same state directory."""

import csv
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.auditor.audit import audit
from tests.engine.casualties import ROOT, Receiver, finish, start, wait_until
from tests.engine.scene import write_campaign

ROWS = 3000
# The recipients come from the program, which dies with row `sys.argv[4]`; the store gets 500 rows at a time.
SCRIPT = """
import csv, os, signal, sys, msgspec, bulkmail
from bulkmail.engine import intake, sources
intake.INGEST_ROWS, sources.BATCH_ROWS = 500, 100
def rows():
    for number, row in enumerate(csv.DictReader(open(sys.argv[3], encoding="utf-8"))):
        if number == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield row["email"]
summary = bulkmail.send(sys.argv[1], state=sys.argv[2], recipients=rows())
print(msgspec.json.encode(summary).decode())
"""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver") as running:
        yield running


def campaign_of(folder: Path, receiver: Receiver, **limits: str) -> Path:
    """Some rows are no addresses, some stand there twice, far apart."""
    rows = [f"r{number}@own-{number % 7}.test" for number in range(ROWS)]
    for number in range(10, ROWS, 250):
        rows[number] = f"nobody{number}"
    rows[1500::300] = rows[100::300][: len(rows[1500::300])]
    return write_campaign(
        folder,
        rows,
        delivery={"route": "mx", "port": receiver.port, "allow_private_mx": True, "tls": "none"},
        dns={"servers": [receiver.dns]},
        limits={"default": limits},
    )


def take_in(campaign: Path, folder: Path, dies_at: int) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-c", SCRIPT, campaign, folder / "state", folder / "recipients.csv", str(dies_at)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_while_it_takes_recipients_in_each_row_still_counts_once(
    tmp_path: Path, receiver: Receiver, seed: int
) -> None:
    campaign = campaign_of(tmp_path, receiver)
    # Killed before, at and behind what is stored, and where the last row was read.
    for dies_at in (0, 499, 600, *random.Random(seed).sample(range(600, ROWS), 3), ROWS - 1):
        assert take_in(campaign, tmp_path, dies_at).returncode == -signal.SIGKILL
        assert receiver.bytes_logged == 0
    done = take_in(campaign, tmp_path, -1)
    assert done.returncode == 0, done.stderr.decode()
    summary = msgspec.json.decode(done.stdout.splitlines()[-1])
    found = audit(
        recipients=tmp_path / "recipients.csv",
        log=receiver.log,
        events=tmp_path / "state" / "events" / "trial-1.ndjson",
        summary=summary,
    )
    assert found.problems == []
    with (tmp_path / "recipients.csv").open(newline="") as table:
        rows = [row["email"] for row in csv.DictReader(table)]
    good = {row for row in rows if "@" in row}
    assert (found.accepted, found.duplicates, found.doubted) == (len(good), {}, set())
    assert summary["rejected"] == sum("@" not in row for row in rows) > 5
    assert summary["duplicates"] == len(rows) - len(good) - summary["rejected"] > 0


def test_a_second_process_is_refused_the_state_directory_and_sends_nothing(tmp_path: Path, receiver: Receiver) -> None:
    campaign = campaign_of(tmp_path, receiver, messages="20/s")
    owner = start(campaign, tmp_path / "state", cli=True)
    try:
        assert wait_until(owner, lambda: receiver.bytes_logged > 0)
        second = start(campaign, tmp_path / "state", cli=True)
        said = second.communicate(timeout=30)[1].decode()
        assert owner.poll() is None
        assert second.returncode == 2
        assert str(owner.pid) in said
        assert "Traceback" not in said
    finally:
        owner.send_signal(signal.SIGTERM)
        code, summary = finish(owner)
    assert code == 3
    found = audit(
        recipients=tmp_path / "recipients.csv",
        log=receiver.log,
        events=tmp_path / "state" / "events" / "trial-1.ndjson",
        summary=summary,
    )
    assert (found.problems, found.duplicates) == ([], {})
