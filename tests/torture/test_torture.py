"""The long tests, made short: that they strike, find nothing, and find what is planted."""

from pathlib import Path

import pytest
from msgspec import structs

import tests.torture.__main__ as torture
from bulkmail.engine import recovery
from bulkmail.store.replay import Replay
from tests.simulation.seeds import try_seeds
from tests.torture.breakages import break_everywhere
from tests.torture.checks import CHECKS, Check, checks
from tests.torture.domains import domains, one_site, simulated_domains
from tests.torture.kills import Recovery, go_through, told
from tests.torture.rows import BEGIN, DOCUMENT, END, Row, read_rows, record, with_table


def test_whatever_the_disk_refuses_nobody_is_lost(tmp_path: Path) -> None:
    tally = break_everywhere(tmp_path / "trial", step=23, recipients=9, first=2)
    assert tally.problems == []
    assert tally.struck >= 4


@pytest.mark.slow
def test_killed_three_times_a_send_goes_on_within_seconds(tmp_path: Path) -> None:
    ordeal = go_through(tmp_path, recipients=5000, strikes=3, seed=5)
    assert ordeal.problems == []
    assert ordeal.recoveries
    assert all(one.cpu_seconds > 0 and one.wall_seconds >= one.queued_seconds for one in ordeal.recoveries)


@pytest.mark.slow
def test_told_to_stop_three_times_nobody_gets_two(tmp_path: Path) -> None:
    ordeal = go_through(tmp_path, recipients=5000, strikes=3, seed=6, gentle=True)
    assert ordeal.problems == []
    assert (ordeal.audit.duplicates, ordeal.audit.doubted) == ({}, set())
    assert ordeal.strikes >= 1


def test_what_a_recovery_waited_for_is_said() -> None:
    assert told([]) == ""
    quick = Recovery(cpu_seconds=0.5, wall_seconds=0.8, queued_seconds=0.1)
    slow = Recovery(cpu_seconds=0.7, wall_seconds=9.0, queued_seconds=6.3)
    assert slow.waited_seconds == pytest.approx(2.0)
    assert told([quick, quick, slow]) == (
        "0.5 s of CPU (at most 0.7), 0.8 s on the wall; the slowest 9.0 s: 0.7 at work, 6.3 without a core, 2.0 for "
        "the disk and answers"
    )


def test_seeds_are_the_same_whoever_tries_them() -> None:
    alone, shared = try_seeds(25, 27), try_seeds(25, 27, workers=2)
    alone.cpu_seconds = shared.cpu_seconds = 0.0
    assert alone == shared
    assert alone.seeds == 3
    assert alone.failed == 0


def test_an_engine_that_forgets_its_intents_fails_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replay, "doubt", lambda _: [])
    tally = try_seeds(3, 4)
    assert tally.failed == 1
    assert tally.unknown
    assert "PROBLEM" in tally.stories[0]


def test_a_defect_that_ends_the_engine_is_a_failed_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> int:
        raise KeyError("planted")

    monkeypatch.setattr(recovery, "publish_recovered", broken)
    monkeypatch.setattr("bulkmail.composition.publish_recovered", broken)
    tally = try_seeds(1, 1)
    assert tally.failed == 1
    assert "KeyError: 'planted'" in tally.stories[0]


@pytest.mark.slow
def test_each_of_many_domains_gets_its_mail_and_costs_no_memory_for_good() -> None:
    row = domains(400, seconds=0.1)
    assert row.problems == ()
    assert (row.lost, row.duplicates) == (0, 0)
    assert "us of CPU a domain" in row.note


def test_many_simulated_domains_are_forgotten_again() -> None:
    row = simulated_domains(400)
    assert row.problems == ()
    assert row.lost == 0


def test_one_site_with_twenty_connections_gets_all() -> None:
    row = one_site(6000, seconds=0.1)
    assert row.problems == ()
    assert (row.lost, row.duplicates) == (0, 0)
    assert "1 lane at most, 20 connections" in row.note


def test_a_check_that_fails_or_is_not_there_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "test_broken.py"
    broken.write_text("def test_clock():\n    assert 1 == 2\ndef test_clock_too():\n    pass\n")
    monkeypatch.setitem(CHECKS, "clock", Check("a fault", "clock", "well", str(broken)))
    row = checks("clock")
    assert (row.runs, len(row.problems)) == ("2", 1)
    assert row.problems[0].startswith("test_clock:")
    monkeypatch.setitem(CHECKS, "clock", Check("a fault", "nothing_like_it", "well", str(broken)))
    assert checks("clock").problems == ("no test ran",)


GOOD = Row(name="power", fault="no power", runs="3", duplicates=1200, doubted=1300)


def test_rows_end_with_a_verdict_and_what_repeats_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = structs.replace(GOOD, name="disk", lost=1, problems=("1 lost: ['a@b.example']",))
    monkeypatch.setattr(torture, "ROWS", {"power": lambda: GOOD, "disk": lambda: bad})
    assert torture.main(["power"]) == 0
    line = (
        "power: 3, 0 lost, 1200 duplicates (0 not in doubt before), 1300 in doubt: ok [python -m tests.torture power]\n"
    )
    assert capsys.readouterr().out == line
    assert torture.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "PROBLEM 1 lost: ['a@b.example']" in lines[1]
    assert lines[-2] == line.rstrip()
    assert "FAILED, 1 problems" in lines[-1]
    assert torture.main(["powr"]) == 2
    assert "no row 'powr'" in capsys.readouterr().err


def test_what_is_recorded_is_what_the_document_shows(tmp_path: Path) -> None:
    document = tmp_path / "reliability.md"
    document.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    record(GOOD, document, ["power", "disk"])
    record(structs.replace(GOOD, name="disk", note="well"), document, ["disk", "power"])
    record(structs.replace(GOOD, runs="4"), document, ["disk", "power"])
    assert [row.runs for row in read_rows(document).values()] == ["3", "4"]
    lines = document.read_text().splitlines()
    assert lines[0] == "# Before"
    assert lines[-1] == "After."
    assert lines[5] == "| no power: well | 3 | 0 | 1,200 (0) | 1,300 |  | `python -m tests.torture disk` |"
    assert lines[6].startswith("| no power | 4 |")


def test_the_document_of_the_project_is_made_of_its_rows() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = read_rows(DOCUMENT)
    assert with_table(text, rows.values()) == text
    assert list(rows) == [name for name in torture.ROWS if name in rows]
    assert not any(row.problems for row in rows.values())
