"""Processes that are killed or interrupted while they send: nothing is lost, and every doubt is known beforehand."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.auditor.audit import Audit, audit
from tests.engine.casualties import Receiver, finish, kill_until_done, start, wait_until
from tests.engine.scene import write_campaign

CONNECTIONS = 10
# One line of the receiver's log, roughly.
LINE_BYTES = 500


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver") as running:
        yield running


def campaign_of(folder: Path, receiver: Receiver, count: int, policy: str = "resend", **limits: str) -> Path:
    """Half at one site, the rest spread over 40 domains."""
    rows = [f"r{n}@{'gmail.com' if n % 2 else f'own-{n % 80}.test'}" for n in range(count)]
    return write_campaign(
        folder,
        rows,
        delivery={
            "route": "mx",
            "port": receiver.port,
            "allow_private_mx": True,
            "in_doubt": policy,
            "retry": ["1s"],
            "tls": "none",
        },
        dns={"servers": [receiver.dns]},
        limits={"default": {"connections": CONNECTIONS, **limits}},
    )


def examine(folder: Path, receiver: Receiver, summary: dict[str, object], policy: str = "resend") -> Audit:
    return audit(
        recipients=folder / "recipients.csv",
        log=receiver.log,
        events=folder / "state" / "events" / "trial-1.ndjson",
        summary=summary,
        policy=policy,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "seed", "kills"), [("resend", 1, 14), ("hold", 2, 4), ("assume_delivered", 3, 4)])
def test_killed_at_any_moment_nobody_is_lost_and_every_duplicate_was_in_doubt(
    tmp_path: Path, receiver: Receiver, policy: str, seed: int, kills: int
) -> None:
    count = 700 * kills
    # Slow enough that the kills come in time; on a very busy machine the sender may still be done before the last ones.
    campaign = campaign_of(tmp_path, receiver, count, policy, messages="2000/s")
    ending = kill_until_done(
        campaign, tmp_path / "state", receiver, kills=kills, seed=seed, bytes_each=500 * LINE_BYTES
    )
    found = examine(tmp_path, receiver, ending.summary, policy)
    print(policy, "kills", ending.kills, "duplicates", len(found.duplicates), "doubted", len(found.doubted))
    assert found.problems == []
    assert kills // 2 <= ending.kills <= kills
    assert found.accepted >= count - len(found.doubted)
    # One in flight on each connection, of the lane at the one site and of those at the others.
    assert sum(found.duplicates.values()) - len(found.duplicates) <= ending.kills * 41 * CONNECTIONS
    assert found.duplicates.keys() <= found.doubted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_nobody_is_lost_and_nobody_gets_two(
    tmp_path: Path, receiver: Receiver, number: signal.Signals
) -> None:
    campaign = campaign_of(tmp_path, receiver, 1500, messages="400/s")
    process = start(campaign, tmp_path / "state", cli=True)
    assert wait_until(process, lambda: receiver.bytes_logged > 100 * LINE_BYTES)
    process.send_signal(number)
    code, summary = finish(process)
    assert code == 3
    assert summary["state"] == "stopped"
    assert 100 <= int(str(summary["delivered"])) < 1500
    assert examine(tmp_path, receiver, summary).problems == []
    campaign = campaign_of(tmp_path, receiver, 1500)
    code, summary = finish(start(campaign, tmp_path / "state", cli=True))
    assert code == 0
    found = examine(tmp_path, receiver, summary)
    assert found.problems == []
    assert (found.duplicates, found.doubted, found.accepted) == ({}, set(), 1500)


def test_the_events_of_a_killed_process_are_complete_when_the_next_begins_to_send(
    tmp_path: Path, receiver: Receiver
) -> None:
    campaign = campaign_of(tmp_path, receiver, 1000)
    process = start(campaign, tmp_path / "state")
    assert wait_until(process, lambda: receiver.bytes_logged > 300 * LINE_BYTES)
    process.kill()
    finish(process)
    code, summary = finish(start(campaign, tmp_path / "state"))
    assert code == 0
    lines = [json.loads(line) for line in (tmp_path / "state/events/trial-1.ndjson").read_text().splitlines()]
    # What the first process did, or may have done, is in the file before the second says that it sends.
    begun = [place for place, line in enumerate(lines) if line["reason"] == "sending"][-1]
    doubts = [place for place, line in enumerate(lines) if line["event"] == "in_doubt"]
    assert all(place < begun for place in doubts)
    assert examine(tmp_path, receiver, summary).problems == []


def test_what_recovery_says_has_its_site_and_what_is_assumed_delivered_is_said(
    tmp_path: Path, receiver: Receiver
) -> None:
    campaign = campaign_of(tmp_path, receiver, 1000, "assume_delivered", messages="1000/s")
    process = start(campaign, tmp_path / "state")
    log = tmp_path / "state/events/trial-1.ndjson"
    # Late enough that the log tells of the site.
    assert wait_until(process, lambda: log.exists() and log.read_bytes().count(b'"site":"google"') > 50)
    process.kill()
    finish(process)
    code, summary = finish(start(campaign, tmp_path / "state"))
    assert code == 0
    assert examine(tmp_path, receiver, summary, "assume_delivered").problems == []
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    doubted = {line["recipient"] for line in lines if line["disposition"] == "in_doubt"}
    assumed = [line for line in lines if line["event"] == "in_doubt" and line["disposition"] == "delivered"]
    assert sorted(line["recipient"] for line in assumed) == sorted(doubted)
    assert all("assumed delivered" in line["reply"] for line in assumed)
    google = [line for line in lines if (line["recipient"] or "").endswith("@gmail.com")]
    without = [line for line in google if line["event"] in ("attempt", "in_doubt") and line["site"] != "google"]
    assert without == []
