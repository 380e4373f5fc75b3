"""Faulty sites, a faulty DNS and a clock that is set concern nobody else."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from bulkmail.engine.statistics import Snapshot
from bulkmail.sandbox.profiles import Answer, Group, Manners, Profiles, Replies
from bulkmail.simulation.faults import Faults, Trouble, Window
from bulkmail.simulation.internet import seeded
from bulkmail.simulation.loop import BEGIN_SECONDS, VirtualClock
from tests.simulation.growth import large_containers
from tests.simulation.playing import REAL, Played, SmallSend, play

EACH = 4
# Sites in all by connections of the node: so many that it never has to wait, and so few that it always does.
SITES = {160: 300, 10: 160}
MANNERS = {
    "silent": Manners(silent=True),
    "dripping": Manners(connections=2000, greeting_delay_seconds=60.0, reply_delay_seconds=100.0),
    "closing": Manners(connections=0),
    "refusing": Manners(connections=2000, replies=Replies(greeting=Answer("554 5.7.1 Go away"))),
    "deferring": Manners(connections=2000, later_share=1.0, later_seconds=1e9),
}


def with_faulty(kind: str) -> Callable[[Profiles], Profiles]:
    """Domains that begin with `faulty` are at exchangers with these manners."""

    def change(profiles: Profiles) -> Profiles:
        group = Group(manners="faulty", exchangers=("10 mx.{domain}",), addresses=8, word="faulty")
        return structs.replace(
            profiles,
            manners={**profiles.manners, "faulty": MANNERS[kind]},
            group={**profiles.group, "faulty": group},
        )

    return change


def healthy(address: str) -> bool:
    return "faulty" not in address


@pytest.fixture(scope="module")
def baselines(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Played]:
    """By connections, what becomes of the healthy ones alone."""
    return {
        connections: play(
            tmp_path_factory.mktemp("baseline"),
            [f"r{n}@own-{site}.test" for n in range(EACH) for site in range(sites) if site % 20],
            connections=connections,
        )
        for connections, sites in SITES.items()
    }


@pytest.mark.parametrize(
    ("connections", "kind"),
    [
        *((160, kind) for kind in (*MANNERS, "dead", "unresolvable")),
        *((10, kind) for kind in ("silent", "dripping", "refusing", "deferring", "dead")),
    ],
)
def test_with_one_site_in_twenty_at_fault_the_others_keep_their_rate(
    tmp_path: Path, baselines: dict[int, Played], connections: int, kind: str
) -> None:
    name = {"dead": "dead", "unresolvable": "servfail"}.get(kind, "faulty")
    sites = SITES[connections]
    rows = [
        f"r{n}@{f'own-{site}' if site % 20 else f'{name}-{site}-faulty'}.test"
        for n in range(EACH)
        for site in range(sites)
    ]
    change = with_faulty(kind) if kind in MANNERS else lambda profiles: profiles
    played = play(
        tmp_path, rows, connections=connections, change=change, delivery={**REAL, "retry": ["5m"], "expire": "20m"}
    )
    assert sum(map(healthy, played.delivered)) == sites * 19 // 20 * EACH
    assert baselines[connections].seconds_until(0.99) >= 0.9 * played.seconds_until(0.99, healthy)
    # However many wait for a slow host, there is an end to it; a few are over for the sender alone so far.
    assert played.internet.most_connections <= connections * 3 // 2 + 5


def test_ten_minutes_without_dns_bounce_nobody(tmp_path: Path) -> None:
    for trouble in (Trouble.DNS_SILENT, Trouble.DNS_FAILING):
        outage = Window(trouble=trouble, begin=BEGIN_SECONDS, end=BEGIN_SECONDS + 600)
        rows = [f"r{n}@own-{n % 60}.test" for n in range(120)]
        played = play(tmp_path / trouble.name, rows, faults=Faults((outage,), seeded(1, "faults")))
        assert (played.summary.delivered, played.summary.bounced, played.summary.expired) == (120, 0, 0)
        assert played.seconds_until(0.01) >= 600
        # Two attempts met the outage; the third is half an hour after the second.
        assert played.seconds_until(1.0) < 300 + 1800 + 600
        assert {event.disposition for event in played.events if event.recipient} == {"deferred", "delivered"}


@pytest.mark.parametrize("step", [3600.0, -3600.0, 86400.0, -86400.0])
def test_a_clock_that_is_set_moves_no_retry_and_gives_up_on_nobody(tmp_path: Path, step: float) -> None:
    def set_clock(clock: VirtualClock) -> None:
        asyncio.get_running_loop().call_later(60.0, clock.step, step)

    rows = [f"r{n}@greylisting-{n}.test" for n in range(20)]
    delivery = {**REAL, "retry": ["10m"], "expire": "2h"}
    played = play(tmp_path, rows, profiles=None, act=set_clock, delivery=delivery)
    assert played.summary.expired == 0
    assert played.summary.delivered >= 15
    assert 600 <= played.seconds_until(1.0) < 1300


def test_a_provider_that_blocks_us_is_left_alone_and_costs_nobody_the_list(tmp_path: Path) -> None:
    rows = [f"r{n}@gmail.com" for n in range(300)] + [f"r{n}@own-{n}.test" for n in range(50)]

    def change(profiles: Profiles) -> Profiles:
        blocked = Manners(replies=Replies(unknown=Answer("550 5.7.1 Blocked by policy")), unknown_share=1.0)
        gmail = structs.replace(profiles.group["gmail"], manners="blocked")
        return structs.replace(
            profiles,
            manners={**profiles.manners, "blocked": blocked},
            group={**profiles.group, "gmail": gmail},
        )

    played = play(tmp_path, rows, change=change, delivery={**REAL, "expire": "4h"})
    assert len(played.delivered) == 50
    log = [json.loads(line) for line in (tmp_path / "receivers" / "log.ndjson").read_text().splitlines()]
    first_minute = [entry for entry in log if entry.get("code") == 550]
    # Each was tried a few times at most in four hours, not for ever.
    assert len(first_minute) < 2 * 300
    assert not [event for event in played.events if event.event == "suppressed"]


def test_a_limit_of_connections_is_never_exceeded_however_much_waits(tmp_path: Path) -> None:
    rows = [f"r{n}@gmail.com" for n in range(4000)]
    played = play(tmp_path, rows, limits={"sites": {"*.google.com": {"connections": 20}}})
    assert played.summary.delivered == 4000
    assert played.internet.statistics().most_at_once == 20


def test_of_many_domains_only_the_busy_ones_are_remembered(tmp_path: Path) -> None:
    rows = [f"r@own-{n}.test" for n in range(500)]
    played = play(tmp_path, rows, connections=20)
    assert played.summary.delivered == 500
    assert played.lanes < 250


def test_what_a_run_holds_does_not_grow_with_the_domains_it_has_met(tmp_path: Path) -> None:
    domains = 700
    large: dict[str, int] = {}

    class Looked(SmallSend):
        def snapshot(self) -> Snapshot | None:
            large.update(large_containers(self._node, domains // 3))
            return super().snapshot()

    # The last one is greylisted, and comes when the others have been forgotten.
    people = [*(f"r@own-{n}.test" for n in range(domains)), "r@greylisting-1.test"]
    played = play(tmp_path, people, profiles=None, kind=Looked)
    assert (played.summary.state, played.summary.expired) == ("finished", 0)
    assert played.seconds_until(1.0) > played.seconds_until(0.97) + 200
    assert played.lanes < 3
    # Answers of the DNS, and counts of sites: both have a bound. The chunk that was sent last is as large as it was.
    ours = {path for path in large if "_internet" not in path and "subscriber" not in path}
    assert ours == {
        "._lanes._means.encryption._resolver._cache._entries",
        ".statistics.sites",
        "._scheduler._tails[].chunk.addresses",
        "._scheduler._tails[].chunk.rows",
    }
