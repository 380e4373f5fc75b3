"""`report` says where the CPU time of a run went."""

import json
from pathlib import Path

import pytest

from bulkmail.cli.output import out
from bulkmail.cli.spending import cpu_report, print_cpu
from bulkmail.model.cpu import STAGES, CpuSpent
from tests.cli.conftest import Call, Folder

SPENT = CpuSpent(
    intake=0.01,
    composing=0.08,
    signing=0.4,
    loop=0.3,
    recording=0.02,
    store=0.015,
    rest=0.005,
    messages=10_000,
    loop_seconds=0.9,
    wall_seconds=1.0,
)


def test_a_finished_run_has_its_cpu_time_by_stage_and_the_stages_add_up(folder: Folder, call: Call) -> None:
    assert call("send", folder.file, "--json").exit_code == 0
    cpu = json.loads(call("report", folder.file, "--json").stdout)["cpu"]
    assert cpu["messages"] >= 30
    assert list(cpu["stages"]) == list(STAGES)
    assert cpu["stages"]["loop"] > 0 and cpu["stages"]["composing"] > 0 and cpu["stages"]["intake"] > 0
    assert sum(cpu["stages"].values()) == pytest.approx(cpu["microseconds"], abs=0.01)
    assert cpu["seconds"] == pytest.approx(cpu["microseconds"] * cpu["messages"] / 1e6, abs=0.001)
    # What a start takes is not the price of a message.
    assert "us a message" not in call("report", folder.file).stdout


def test_the_table_has_each_stage_and_says_when_the_loop_binds(capsys: pytest.CaptureFixture[str]) -> None:
    print_cpu(out(), SPENT)
    lines = capsys.readouterr().out.splitlines()
    told = {words[0]: float(words[1]) for line in lines[2:-1] if (words := line.split())}
    assert told == {
        "intake": 1.0,
        "composing": 8.0,
        "signing": 40.0,
        "loop": 30.0,
        "recording": 2.0,
        "store": 1.5,
        "rest": 0.5,
        "total": 83.0,
    }
    assert "10,000 messages composed" in lines[-2]
    assert "90% of the time" in lines[-1]


def test_a_loop_with_time_to_spare_and_a_run_without_messages_are_not_remarked_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_cpu(out(), SPENT + CpuSpent(wall_seconds=1.0))
    assert "of the time" not in capsys.readouterr().out
    print_cpu(out(), CpuSpent(loop=1.0))
    assert capsys.readouterr().out == ""
    assert cpu_report(CpuSpent(loop=1.0)) is None


def test_a_run_of_before_has_none(folder: Folder, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bulkmail.store.store.Store.keep_cpu", lambda self, run, spent: None)
    assert call("send", folder.file, "--json").exit_code == 0
    assert json.loads(call("report", folder.file, "--json").stdout)["cpu"] is None
