"""The machine: each thing that can be wrong with it, and the real one looked at."""

from pathlib import Path
from typing import Any

import pytest

from bulkmail.doctor.finding import Level, exit_code, fine, problem, unknown
from bulkmail.doctor.machine import Machine, examine_machine, look_at_machine
from bulkmail.store.directory import DirectoryLock, make_directory
from tests.doctor.town import bad

NOW = 1_800_000_000.0
SOUND: dict[str, Any] = {
    "descriptors": 65536,
    "free_bytes": 50 << 30,
    "free_inodes": 1_000_000,
    "now": NOW,
    "synchronised": True,
    "state": Path("/var/lib/bulkmail"),
    "state_owner": 0,
}


def test_a_sound_machine_yields_nothing() -> None:
    assert bad(examine_machine(Machine(**SOUND))) == {}
    assert bad(examine_machine(Machine(**(SOUND | {"state": None, "synchronised": None, "free_inodes": None})))) == {}


@pytest.mark.parametrize(
    ("expected", "level", "change"),
    [
        ("machine.descriptors", Level.PROBLEM, {"descriptors": 1024}),
        ("machine.disk", Level.PROBLEM, {"free_bytes": 1 << 20}),
        ("machine.disk-scant", Level.ADVICE, {"free_bytes": 500 << 20}),
        ("machine.disk-unknown", Level.UNKNOWN, {"free_bytes": None}),
        ("machine.inodes", Level.PROBLEM, {"free_inodes": 3}),
        ("machine.clock", Level.PROBLEM, {"now": 86400.0}),
        ("machine.clock-free", Level.ADVICE, {"synchronised": False}),
        ("state.owner", Level.PROBLEM, {"state_owner": 1000}),
        ("state.exposed", Level.PROBLEM, {"state_mode": 0o755}),
        ("state.unwritable", Level.PROBLEM, {"state_writable": False}),
        ("state.unwritable", Level.PROBLEM, {"state": None, "state_writable": False}),
        ("state.in-use", Level.ADVICE, {"sender": 4711}),
    ],
)
def test_what_is_wrong_is_found_and_nothing_else(expected: str, level: Level, change: dict[str, Any]) -> None:
    assert bad(examine_machine(Machine(**(SOUND | change)))) == {expected: level}


def test_this_machine_can_be_looked_at(tmp_path: Path) -> None:
    directory = tmp_path / ".bulkmail"
    assert look_at_machine(directory, now=NOW).state is None
    assert not directory.exists()
    make_directory(directory)
    lock = DirectoryLock(directory)
    seen = look_at_machine(directory, now=NOW)
    lock.release()
    assert seen.state == directory and seen.state_mode == 0o700 and seen.state_owner == seen.user
    assert seen.descriptors > 0 and seen.free_bytes


def test_the_exit_code_is_that_of_the_worst() -> None:
    wrong, hidden = problem("a", "b", remedy="c"), unknown("a", "b", remedy="c")
    assert [exit_code(some) for some in ([], [fine("a", "b")], [hidden], [hidden, wrong])] == [0, 0, 3, 2]
