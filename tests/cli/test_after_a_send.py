"""What the verbs that read say after one real send: every fate of a row, every spelling of an address, closed pipes."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bulkmail.cli.summary import commands, print_summary
from bulkmail.config.load import load_campaign
from bulkmail.engine.statistics import SiteCount, Snapshot
from bulkmail.model.delivery import Summary

ROOT = Path(__file__).parents[2]
COUNTED = {"delivered", "deferred", "bounced", "expired", "in_doubt", "suppressed", "rejected", "duplicates"}


@pytest.fixture
def sent(folder, call, spawn):
    """A campaign to two houses, one of them with a name beyond ASCII; sent to its end."""
    readers = [f"reader{number}@own-house.example,Reader {number}" for number in range(20)]
    others = [f"jürgen{number}@gärtnerei.example,Jürgen {number}" for number in range(20)]
    extra = [
        "Reader1@Own-House.example,A",
        "ana3@xn--grtnerei-0za.example,B",
        "=2+3@own house.example,C",
        "left@own-house.example,D",
    ]
    folder.write_rows([*readers, *(row.replace("jürgen", "ana") for row in others), *extra])
    folder.state.mkdir()
    assert call("suppress", "add", "LEFT@own-house.example", "--list", "letter", "--reason", "=asked()").exit_code == 0
    out, err = spawn("send", folder.file, "--json").communicate(timeout=60)
    folder.summary = json.loads(out)
    assert folder.summary["state"] == "finished", err
    return folder


def test_every_fate_of_a_row_is_told_in_every_spelling_of_its_address(sent, call) -> None:
    summary = sent.summary
    assert (summary["rejected"], summary["duplicates"], summary["suppressed"]) == (1, 2, 1)
    rows = {
        row["address"]: row["disposition"]
        for row in csv.DictReader(io.StringIO(call("report", sent.file, "--undelivered", "-").stdout))
    }
    assert rows["'=2+3@own house.example"] == "rejected" and rows["left@own-house.example"] == "suppressed"
    assert len(rows) == sum(summary[name] for name in COUNTED - {"delivered", "duplicates"})

    assert "recipients.csv:44: space in the domain" in call("why", "=2+3@own house.example").stdout
    assert "suppressed for the list letter since" in call("why", "LEFT@own-house.example").stdout
    for address in ("reader1@own-house.example", "READER1@OWN-HOUSE.EXAMPLE"):
        told = call("why", address).stdout
        assert "duplicate: " in told and "recipients.csv:42" in told and "try 1 at " in told
    spellings = ("ana3@gärtnerei.example", "Ana3@GÄRTNEREI.example", "ana3@xn--grtnerei-0za.example")
    for address in spellings:
        told = call("why", address).stdout
        assert told.startswith(f"{address} in run letter-1")
        assert told.count("duplicate: ") == told.count("try 1 at ") == 1
        assert "recipients.csv:43: the address stands further up" in told
    assert "is not in run letter-1" in call("why", "nobody@xn--grtnerei-0za.example").stdout
    assert call("why", "nobody@xn--99999999999.example").exit_code == 0


def test_status_and_report_count_the_same_rows_as_the_send(sent, call) -> None:
    shared = {name: sent.summary[name] for name in (*COUNTED, "recipients")}
    (run,) = json.loads(call("status", sent.file, "--json").stdout)["runs"]
    assert {name: run[name] for name in shared} == shared
    assert json.loads(call("report", sent.file, "--json").stdout)["counts"] == shared


def test_a_reader_that_leaves_the_csv_early_sees_no_complaint(sent) -> None:
    # More than a pipe holds, so that the write after the reader has left is one of rows.
    code = """
import sys
from bulkmail.cli import undelivered
rows = undelivered.csv.writer
class Slow:
    def __init__(self, *a, **k): self.inner = rows(*a, **k)
    def writerow(self, row): [self.inner.writerow(row) for _ in range(5000)]
undelivered.csv.writer = Slow
sys.argv = ["bulkmail", "report", sys.argv[1], "--undelivered", "-"]
from bulkmail.cli.main import main
main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(sent.file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert process.stdout is not None and process.stderr is not None
    assert sent.summary["bounced"] > 0
    while ",bounced," not in process.stdout.readline():
        assert process.poll() is None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=30), said) == (0, "")


@pytest.mark.parametrize(
    ("state", "head"),
    [("finished", ["site", "delivered", "bounced"]), ("stopped", ["site", "delivered", "deferred", "bounced"])],
)
def test_only_an_unfinished_run_has_sites_where_mail_waits(sent, capsys, state: str, head: list[str]) -> None:
    summary = msgspec.convert({**sent.summary, "state": state}, Summary)
    snapshot = Snapshot(
        summary=summary,
        open=0,
        phase="sending",
        rate_per_second=0.0,
        lanes=(),
        lane_count=0,
        # Looked up in vain at first, counted elsewhere in the end.
        sites={"unknown.example": SiteCount(0, 2, 0), "small": SiteCount(1, 0, 0), "large": SiteCount(30, 0, 9)},
        problem="",
    )
    print_summary(str(sent.file), load_campaign(sent.file), sent.state, summary, snapshot, None)
    lines = capsys.readouterr().out.splitlines()
    first = next(index for index, line in enumerate(lines) if line.split()[:1] == ["site"])
    assert lines[first].split() == head
    sites = [line.split()[0] for line in lines[first + 1 : first + 4] if line]
    assert sites == (["large", "small"] if state == "finished" else ["unknown.example", "large", "small"])


@pytest.mark.parametrize("name", ["spring", "reference"])
def test_the_campaigns_that_come_along_have_no_errors_and_checking_them_writes_nothing(name: str, call) -> None:
    folder = ROOT / "campaigns"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    result = call("check", folder / f"{name}.yaml", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["ok"] and not [each for each in answer["findings"] if each["level"] == "error"]
    assert answer["recipients"]["rows"] == {"spring": 5000, "reference": 17}[name]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_commands_to_go_on_with_fit_a_small_terminal() -> None:
    short, long = "bulkmail suppress export", "bulkmail why somebody@a-rather-long-name.example --state elsewhere"
    lines = commands([(short, "who gets no more mail, as CSV"), (long, "what happened to this one")]).plain.split("\n")
    assert lines == [f"  {short}  who gets no more mail, as CSV", f"  {long}", "      what happened to this one"]
