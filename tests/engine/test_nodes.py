"""Several sending processes for one run: limits hold for all together, and nobody is lost whichever of them dies."""

import os
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.auditor.audit import Audit, audit, objects
from tests.engine.casualties import Receiver, finish, start, wait_until
from tests.engine.scene import write_campaign

LINE_BYTES = 500
CONNECTIONS = 5


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver") as running:
        yield running


def campaign_of(folder: Path, receiver: Receiver, rows: list[str], policy: str = "resend", **limits: object) -> Path:
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


def people(count: int) -> list[str]:
    """At ten domains, and a tail of many."""
    places = ["gmail.com", "outlook.com", *(f"own-{n}.test" for n in range(8))]
    return [f"r{n}@{places[n % 10] if n % 5 else f'small-{n}.test'}" for n in range(count)]


def nodes_of(owner: "subprocess.Popen[bytes]") -> list[int]:
    """The processes of its nodes."""
    return nodes_below(owner.pid)


def nodes_below(owner: int) -> list[int]:
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == owner and b"bulkmail.nodeprocess" in words:
            found.append(pid)
    return sorted(found)


def examine(folder: Path, receiver: Receiver, summary: dict[str, object], policy: str = "resend") -> Audit:
    return audit(
        recipients=folder / "recipients.csv",
        log=receiver.log,
        events=folder / "state" / "events" / "trial-1.ndjson",
        summary=summary,
        policy=policy,
    )


def events_of(folder: Path) -> list[dict[str, object]]:
    return list(objects(folder / "state" / "events" / "trial-1.ndjson"))


def gone(pid: int) -> bool:
    """Ended, whether or not whoever has inherited it has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_two_nodes_send_to_everybody_once_and_leave_nothing_behind(tmp_path: Path, receiver: Receiver) -> None:
    campaign = campaign_of(tmp_path, receiver, people(2000))
    process = start(campaign, tmp_path / "state", cli=True, options=("--nodes", "2"))
    assert wait_until(process, lambda: len(nodes_of(process)) == 2)
    nodes = nodes_of(process)
    code, summary = finish(process)
    assert (code, summary["state"], summary["delivered"]) == (0, "finished", 2000)
    found = examine(tmp_path, receiver, summary)
    assert found.problems == []
    assert (found.duplicates, found.doubted, found.accepted) == ({}, set(), 2000)
    assert list((tmp_path / "state" / "journal").iterdir()) == []
    assert all(map(gone, nodes))


class Seen:
    """What the receiver saw of each site: its log, read with the events' word for which domain is at which site."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        sites = {str(event["recipient"]).rpartition("@")[2]: str(event["site"]) for event in events_of(folder)}
        log = list(objects(receiver.log))
        self.messages = [
            (time_of(entry), sites[entry["domain"]])
            for entry in log
            if entry["event"] == "result" and entry["stage"] == "message"
        ]
        place = {entry["connection"]: sites[entry["domain"]] for entry in log if entry["event"] == "result"}
        now: defaultdict[str, int] = defaultdict(int)
        self.most_connections: defaultdict[str, int] = defaultdict(int)
        for entry in log:
            if entry["event"] in ("opened", "closed") and entry["connection"] in place:
                site = place[entry["connection"]]
                now[site] += 1 if entry["event"] == "opened" else -1
                self.most_connections[site] = max(self.most_connections[site], now[site])

    def most_messages(self, site: str, *, seconds: float) -> int:
        """The most that the site took in any stretch of that length."""
        times = [moment for moment, where in self.messages if where == site]
        most = first = 0
        for last, moment in enumerate(times):
            while moment - times[first] > seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


def time_of(entry: dict[str, object]) -> float:
    return datetime.fromisoformat(str(entry["time"])).timestamp()


def test_a_node_that_is_killed_leaves_its_lanes_to_the_others_and_every_limit_holds(
    tmp_path: Path, receiver: Receiver
) -> None:
    rate, count = 60, 3000
    campaign = campaign_of(tmp_path, receiver, people(count), messages=f"{rate}/s")
    process = start(campaign, tmp_path / "state", cli=True, options=("--nodes", "2"))
    assert wait_until(process, lambda: receiver.bytes_logged > 700 * LINE_BYTES)
    first, second = nodes_of(process)
    os.kill(first, signal.SIGKILL)
    code, summary = finish(process)
    assert (code, summary["state"]) == (0, "finished")
    found = examine(tmp_path, receiver, summary)
    assert found.problems == []
    assert found.duplicates.keys() <= found.doubted
    assert found.accepted >= count
    # Both nodes had lanes: what the dead one had went on with the other.
    told = [event for event in events_of(tmp_path) if event["reason"] == "node"]
    assert len(told) == 1
    assert f"process {first}" in str(told[0]["reply"]) and "signal 9" in str(told[0]["reply"])
    seen = Seen(tmp_path, receiver)
    most = seen.most_connections
    assert len(most) > 50
    assert 1 < max(most.values()) <= CONNECTIONS
    # A burst is a tenth of a second's; a busy receiver may have read some together. Two lanes would make twice as many.
    busiest = max(seen.most_messages(site, seconds=2.0) for site in most)
    assert rate * 0.5 < busiest < rate * 2.6
    assert list((tmp_path / "state" / "journal").iterdir()) == []
    assert gone(second)


@pytest.mark.parametrize("policy", ["resend", "hold"])
def test_all_nodes_killed_at_once_another_takes_over(tmp_path: Path, receiver: Receiver, policy: str) -> None:
    campaign = campaign_of(tmp_path, receiver, people(1500), policy, messages="150/s")
    process = start(campaign, tmp_path / "state", cli=True, options=("--nodes", "2"))
    assert wait_until(process, lambda: receiver.bytes_logged > 500 * LINE_BYTES)
    for pid in nodes_of(process):
        os.kill(pid, signal.SIGKILL)
    code, summary = finish(process)
    assert (code, summary["state"]) == (0, "finished")
    found = examine(tmp_path, receiver, summary, policy)
    assert found.problems == []
    assert int(str(summary["delivered"])) + int(str(summary["in_doubt"])) == 1500
    if policy == "hold":
        assert found.duplicates == {}
    assert found.duplicates.keys() <= found.doubted


@pytest.mark.parametrize("nodes", [1, 2])
def test_an_owner_that_is_killed_takes_its_nodes_with_it_and_the_next_goes_on(
    tmp_path: Path, receiver: Receiver, nodes: int
) -> None:
    campaign = campaign_of(tmp_path, receiver, people(1500), messages="150/s")
    process = start(campaign, tmp_path / "state", cli=True, options=("--nodes", "2"))
    assert wait_until(process, lambda: receiver.bytes_logged > 500 * LINE_BYTES)
    orphans = nodes_of(process)
    process.kill()
    finish(process)
    # With however many processes it is resumed, and however soon: what still lives has the directory.
    code, summary = finish(start(campaign, tmp_path / "state", cli=True, options=("--nodes", str(nodes))))
    assert all(map(gone, orphans))
    assert (code, summary["state"]) == (0, "finished")
    found = examine(tmp_path, receiver, summary)
    assert found.problems == []
    assert found.duplicates.keys() <= found.doubted
    assert sum(found.duplicates.values()) - len(found.duplicates) <= 2 * CONNECTIONS * 40
    assert list((tmp_path / "state" / "journal").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_the_nodes_end_in_order_and_nobody_gets_two(
    tmp_path: Path, receiver: Receiver, number: signal.Signals
) -> None:
    rows = people(1500)
    campaign = campaign_of(tmp_path, receiver, rows, messages="150/s")
    process = start(campaign, tmp_path / "state", cli=True, options=("--nodes", "2"))
    assert wait_until(process, lambda: receiver.bytes_logged > 300 * LINE_BYTES)
    nodes = nodes_of(process)
    for pid in (process.pid, *nodes):
        # As a service manager does it: to all of them.
        os.kill(pid, number)
    code, summary = finish(process)
    assert (code, summary["state"]) == (3, "stopped")
    assert 100 <= int(str(summary["delivered"])) < 1500
    assert all(map(gone, nodes))
    assert examine(tmp_path, receiver, summary).problems == []
    assert list((tmp_path / "state" / "journal").iterdir()) == []
    campaign_of(tmp_path, receiver, rows)
    code, summary = finish(start(campaign, tmp_path / "state", cli=True, options=("--nodes", "2")))
    assert code == 0
    found = examine(tmp_path, receiver, summary)
    assert found.problems == []
    assert (found.duplicates, found.doubted, found.accepted) == ({}, set(), 1500)
