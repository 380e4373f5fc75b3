"""Intents that are synced first cost a wait for the disk, together, and nothing else."""

from pathlib import Path

import pytest

from tests.simulation.playing import REAL, play


@pytest.mark.parametrize("disk_seconds", [0.0, 0.003])
def test_everybody_is_delivered_at_the_first_attempt_and_in_time(tmp_path: Path, disk_seconds: float) -> None:
    rows = [f"r{n}@{domain}" for n in range(700) for domain in ("gmail.com", "own-1.test", "own-2.test")]
    limits = {"default": {"connections": 20, "messages": "100000/s"}}
    usual = play(tmp_path / "recorded", rows, limits=limits)
    synced = play(
        tmp_path / "synced", rows, limits=limits, delivery={**REAL, "intent": "synced"}, disk_seconds=disk_seconds
    )
    assert usual.summary.delivered == synced.summary.delivered == len(rows)
    assert {event.attempt for event in synced.events if event.event == "attempt"} == {1}
    # A round trip takes tens of milliseconds; each message waits for two syncs at most.
    assert synced.seconds_until(1.0) < usual.seconds_until(1.0) * 1.5
