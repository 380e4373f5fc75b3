"""The soak in small: it is flat, it sees what is not, and its bounds are where they should be."""

from pathlib import Path

import pytest

from tests.torture.flatness import findings, growth
from tests.torture.gauges import Rest, Sample
from tests.torture.soak import Soak, soak


def small(folder: Path, *, hoards: bool = False) -> Soak:
    return soak(
        folder,
        recipients=700,
        go_on=lambda runs: runs < 4,
        sample_seconds=0.25,
        expire_seconds=3,
        hoards=hoards,
    )


@pytest.mark.slow
def test_run_after_run_nothing_grows_and_nobody_is_lost(tmp_path: Path) -> None:
    found = small(tmp_path)
    assert found.problems == []
    # Receivers had their manners.
    assert {"user_unknown", "greylisted", "connection_lost", "mailbox_full", "content", "dns"} <= found.reasons.keys()
    assert found.outcomes["delivered"] > 2000
    assert len(found.samples) >= 8


@pytest.mark.slow
def test_a_process_that_keeps_its_runs_is_found_out(tmp_path: Path) -> None:
    found = small(tmp_path, hoards=True)
    assert any(problem.startswith("objects of ours between runs") for problem in found.problems)


def rests(**changes: object) -> list[Rest]:
    """Eight runs; a change is a function of the run's number."""
    flat: dict[str, object] = {
        "rss_bytes": 90 << 20,
        "own_bytes": 60 << 20,
        "descriptors": 13,
        "threads": 6,
        "tasks": 1,
        "objects": {"bulkmail.engine.lane.Lane": 3},
        "all_objects": 70_000,
        "journal_bytes": 0,
        "events_bytes": 1000,
    }
    made = []
    for run in range(1, 9):
        values = flat | {name: change(run) for name, change in changes.items()}  # type: ignore[operator]
        values.setdefault("database_bytes", 20_000 * run)
        values.setdefault("cpu_seconds", 0.5 * run)
        made.append(Rest(run=run, seconds=run * 10.0, recipients=1000 * run, **values))  # type: ignore[arg-type]
    return made


def samples(**changes: object) -> list[Sample]:
    """Ten of each of eight runs; a change is a function of the run's number and the sample's in it."""
    flat: dict[str, object] = {
        "rss_bytes": 90 << 20,
        "own_bytes": 60 << 20,
        "descriptors": 40,
        "threads": 9,
        "tasks": 7,
        "journal_bytes": 16 << 20,
        "lag_seconds": 0.02,
        "lag_cpu_seconds": 0.002,
        "lanes": 20,
        "waiting": 500,
        "messages_per_second": 300.0,
    }
    return [
        Sample(run=run, seconds=run * 10.0 + at, **flat | {name: change(run, at) for name, change in changes.items()})  # type: ignore[arg-type, operator]
        for run in range(1, 9)
        for at in range(10)
    ]


def grown(of_samples: list[Sample], of_rests: list[Rest]) -> set[str]:
    return {finding.name for finding in findings(of_samples, of_rests) if not finding.flat}


def test_what_stays_as_it_is_is_flat() -> None:
    assert grown(samples(), rests()) == set()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"own_bytes": lambda run: (60 << 20) + run * (2 << 20)}, "memory between runs"),
        ({"descriptors": lambda run: 13 + run // 2}, "descriptors between runs"),
        ({"threads": lambda run: 6 + run}, "threads between runs"),
        ({"tasks": lambda run: run}, "tasks between runs"),
        ({"objects": lambda run: {"bulkmail.engine.lane.Lane": 20 * run}}, "objects of ours between runs"),
        ({"all_objects": lambda run: 70_000 + 300 * run}, "all objects between runs"),
        ({"database_bytes": lambda run: 5_000 * run * run}, "database, a recipient of a run"),
        ({"cpu_seconds": lambda run: 0.05 * run * run}, "CPU, a recipient of a run"),
    ],
)
def test_growth_between_runs_is_found(change: dict[str, object], name: str) -> None:
    assert grown(samples(), rests(**change)) == {name}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"descriptors": lambda run, at: 40 + 10 * run}, "descriptors during runs"),
        ({"threads": lambda run, at: 9 + run}, "threads during runs"),
        ({"lanes": lambda run, at: 20 + 10 * run}, "lanes at most"),
        ({"journal_bytes": lambda run, at: run * (8 << 20)}, "journal at most"),
        ({"lag_cpu_seconds": lambda run, at: 0.01 * run}, "loop kept by its own work"),
        ({"own_bytes": lambda run, at: (60 << 20) + at * (1 << 20)}, "memory, from the middle of a run to its end"),
    ],
)
def test_growth_while_sending_is_found(change: dict[str, object], name: str) -> None:
    assert grown(samples(**change), rests()) == {name}


def test_one_odd_run_is_no_growth() -> None:
    assert growth([10.0, 10.0, 90.0, 10.0, 10.0]) == 0.0
    assert growth([0.0, 1.0, 2.0, 3.0]) == 3.0
    assert growth([5.0]) == 0.0
