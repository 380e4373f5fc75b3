"""The long tests, made short: that they strike, and find nothing."""

from pathlib import Path

import pytest

from tests.torture.breakages import break_everywhere
from tests.torture.kills import go_through


def test_whatever_the_disk_refuses_nobody_is_lost(tmp_path: Path) -> None:
    tally = break_everywhere(tmp_path / "trial", step=23, recipients=9, first=2)
    assert tally.problems == []
    assert tally.struck >= 4


@pytest.mark.slow
def test_killed_three_times_a_send_goes_on_within_seconds(tmp_path: Path) -> None:
    ordeal = go_through(tmp_path, recipients=5000, kills=3, seed=5)
    assert ordeal.problems == []
    assert ordeal.recoveries
