"""Scopes, expiry, history and pseudonyms of the suppression list."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bulkmail.engine.softbounces import count_soft_bounces
from bulkmail.model.campaign import SoftBounces
from bulkmail.model.units import Seconds
from bulkmail.store import schema
from bulkmail.store.database import Database
from bulkmail.store.pseudonyms import hash_list, is_pseudonym
from bulkmail.store.settings import FeedbackSettings, feedback_settings, keep_feedback_settings
from bulkmail.store.suppressions import SoftBounce, Suppression, Suppressions
from tests.store.conftest import FakeClock

DAY = 86400.0


def entry(key: str, scope: str = "all", *, expires: float | None = None, reason: str = "manual") -> Suppression:
    return Suppression(scope=scope, key=key, address=key, reason=reason, source="test", time=1.5, expires=expires)


@pytest.fixture
def suppressions(tmp_path: Path, clock: FakeClock) -> Iterator[Suppressions]:
    with closing(Suppressions.open(tmp_path / "state", campaign="spring", clock=clock)) as opened:
        yield opened


@pytest.fixture
def others(tmp_path: Path, suppressions: Suppressions, clock: FakeClock) -> Iterator[Suppressions]:
    with closing(Suppressions.open(tmp_path / "state", clock=clock)) as opened:
        yield opened


def actions(suppressions: Suppressions, key: str) -> list[str]:
    return [one.action for one in suppressions.history(key)]


def test_a_domain_is_suppressed_with_all_its_addresses_and_no_other(
    suppressions: Suppressions, others: Suppressions
) -> None:
    assert not suppressions.contains("a@x.example")
    others.add(entry("@x.example"))
    others.add(entry("@y.example", "news"))
    suppressions.refresh()
    asked = [("a@x.example", None), ("a@sub.x.example", None), ("a@y.example", "news"), ("a@y.example", None)]
    assert [suppressions.contains(*one) for one in asked] == [True, False, True, False]
    assert [suppressions.check(*one) is not None for one in asked] == [True, False, True, False]
    others.remove("@x.example")
    suppressions.refresh()
    assert not suppressions.contains("a@x.example")


def test_an_entry_for_a_campaign_holds_for_its_sends_alone(suppressions: Suppressions, others: Suppressions) -> None:
    others.add(entry("a@x.example", "campaign:spring"))
    others.add(entry("b@x.example", "campaign:autumn"))
    suppressions.refresh()
    assert suppressions.contains("a@x.example")
    assert not suppressions.contains("b@x.example")
    assert not others.contains("a@x.example")


def test_an_entry_that_expires_is_none_from_then_on_also_for_others(
    suppressions: Suppressions, others: Suppressions, clock: FakeClock
) -> None:
    suppressions.add(entry("a@x.example", expires=clock.now + DAY))
    others.refresh()
    assert suppressions.contains("a@x.example")
    assert others.contains("a@x.example")
    clock.now += DAY
    assert suppressions.check("a@x.example") is None
    assert list(suppressions.export()) == []
    assert others.refresh()
    assert not others.contains("a@x.example")
    assert suppressions.refresh()
    assert not suppressions.contains("a@x.example")
    assert actions(suppressions, "a@x.example") == ["added", "expired"]


def test_what_has_expired_is_not_loaded(tmp_path: Path, suppressions: Suppressions, clock: FakeClock) -> None:
    suppressions.add(entry("a@x.example", expires=clock.now + DAY))
    clock.now += 2 * DAY
    with Suppressions.open_readonly(tmp_path / "state", clock=clock) as reading:
        assert not reading.contains("a@x.example")


def test_a_longer_reason_takes_the_place_of_a_shorter_one_and_not_the_other_way(
    suppressions: Suppressions, clock: FakeClock
) -> None:
    suppressions.add(entry("a@x.example", expires=clock.now + DAY, reason="soft_bounces"))
    assert not suppressions.add(entry("a@x.example", reason="complaint"))
    assert not suppressions.add(entry("a@x.example", expires=clock.now + DAY, reason="soft_bounces"))
    found = suppressions.check("a@x.example")
    assert found is not None
    assert (found.reason, found.expires) == ("complaint", None)
    assert actions(suppressions, "a@x.example") == ["prolonged", "again"]
    clock.now += 2 * DAY
    assert suppressions.contains("a@x.example")


def test_the_history_tells_who_did_what_and_the_same_thing_once(suppressions: Suppressions) -> None:
    suppressions.add(entry("a@x.example", reason="user_unknown"))
    for _ in range(3):
        suppressions.add(entry("a@x.example", reason="complaint"))
    suppressions.remove("a@x.example", source="command line")
    told = [(one.action, one.reason, one.source) for one in suppressions.history("a@x.example")]
    assert sorted(told) == [
        ("added", "user_unknown", "test"),
        ("again", "complaint", "test"),
        ("removed", "user_unknown", "command line"),
    ]


def soft(key: str, run: int, clock: FakeClock) -> SoftBounce:
    return SoftBounce(key=key, address=key, run=f"spring-{run}", reason="mailbox_full", time=clock.now)


def test_enough_soft_bounces_within_the_time_suppress_for_a_time(suppressions: Suppressions, clock: FakeClock) -> None:
    policy = SoftBounces(count=3, within=Seconds(10 * DAY), suppress_for=Seconds(5 * DAY))
    for run in (1, 1, 2):
        assert count_soft_bounces(suppressions, [soft("a@x.example", run, clock)], policy) == set()
    clock.now += 11 * DAY
    for run in (3, 4):
        assert count_soft_bounces(suppressions, [soft("a@x.example", run, clock)], policy) == set()
    assert count_soft_bounces(suppressions, [soft("a@x.example", 5, clock)], policy) == {"a@x.example"}
    assert suppressions.contains("a@x.example")
    clock.now += 5 * DAY
    suppressions.refresh()
    assert not suppressions.contains("a@x.example")


def test_taking_an_address_off_forgets_its_soft_bounces(suppressions: Suppressions, clock: FakeClock) -> None:
    policy = SoftBounces(count=2)
    count_soft_bounces(suppressions, [soft("a@x.example", 1, clock)], policy)
    suppressions.remove("a@x.example")
    assert count_soft_bounces(suppressions, [soft("a@x.example", 2, clock)], policy) == set()


def test_a_hashed_list_holds_no_address_and_answers_as_before(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "state"
    with Suppressions.open(path, clock=clock) as list_:
        list_.add(entry("anna@x.example"))
        list_.add(entry("bert@x.example", "news"))
        list_.add(entry("gone@x.example"))
        list_.remove("gone@x.example")
        list_.add(Suppression(key="carl@x.example", address="carl@x.example", reason="user_unknown",
                              source="spring: 550 <carl@x.example> unknown", time=2.0))  # fmt: skip
        list_.count_soft_bounces([soft("dora@x.example", 1, clock)], DAY)
        assert hash_list(list_._database) == 3
        assert hash_list(list_._database) == 0
    with Suppressions.open(path, clock=clock) as list_:
        assert list_.hashed
        assert list_.contains("anna@x.example")
        assert not list_.contains("bert@x.example")
        assert list_.contains("bert@x.example", "news")
        assert list_.check("carl@x.example") is not None
        assert not list_.contains("emil@x.example")
        assert list_.add(entry("emil@x.example"))
        assert not list_.add(entry("anna@x.example"))
        assert list_.contains("emil@x.example")
        assert list_.remove("emil@x.example")
        assert all(is_pseudonym(one.key) and is_pseudonym(one.address) for one in list_.export())
        assert actions(list_, "gone@x.example") == ["added", "removed"]
    kept = b"".join(file.read_bytes() for file in path.glob("queue.db*"))
    for name in (b"anna@", b"bert@", b"carl@", b"dora@", b"emil@", b"gone@"):
        assert name not in kept, name


def test_a_process_that_has_the_list_open_follows_when_it_is_hashed(
    tmp_path: Path, suppressions: Suppressions, others: Suppressions
) -> None:
    suppressions.add(entry("anna@x.example"))
    assert others.contains("anna@x.example")
    hash_list(suppressions._database)
    assert others.add(entry("bert@x.example"))
    assert not others.add(entry("anna@x.example"))
    assert others.refresh() in (True, False)
    assert others.contains("anna@x.example")
    assert others.contains("bert@x.example")
    assert others.remove("anna@x.example")
    assert [one.action for one in others.history("anna@x.example")] == ["added", "removed"]
    assert all(is_pseudonym(one.key) for one in others.export())


def test_a_directory_of_the_first_version_is_brought_up_to_date_by_whoever_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(schema.TABLES)
        old.execute("INSERT INTO meta VALUES ('secret', x'00'), ('journal', 0)")
        old.execute("INSERT INTO suppression VALUES (1, 7, 'all', 'a@x', 'a@x', 'old', 'old', 1.0)")
        old.execute("PRAGMA user_version = 1")
        old.commit()
    with closing(Database(path, readonly=True)) as database:
        assert database.value("PRAGMA user_version") == schema.VERSION
        assert database.row("SELECT key, expires FROM suppression") == ("a@x", None)


def test_settings_of_feedback_are_kept_by_campaign(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "queue.db")) as database:
        settings = FeedbackSettings()
        keep_feedback_settings(database, "spring", settings)
        assert feedback_settings(database, "spring") == settings
        assert feedback_settings(database, "autumn") == FeedbackSettings()
