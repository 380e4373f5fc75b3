"""Forecasts: the time a campaign takes, its tail, and the limit that binds, each where the answer can be reckoned."""

from pathlib import Path
from typing import Any

import pytest

from bulkmail.config.load import load_campaign
from bulkmail.sandbox.profiles import OPEN_HOUSE
from bulkmail.simulation.forecast import Forecast, forecast
from bulkmail.simulation.internet import seeded
from bulkmail.simulation.loop import VirtualClock
from bulkmail.simulation.sending import prepare
from bulkmail.store.database import Database
from bulkmail.store.directory import DATABASE
from bulkmail.store.suppressions import Suppression, Suppressions
from tests.engine.scene import addresses, write_campaign

REAL = {"route": "mx", "retry": ["5m", "30m", "2h", "4h"], "expire": "48h"}


def foresee(folder: Path, rows: list[str], *, profiles: Path | None = OPEN_HOUSE, **changes: Any) -> Forecast:
    changes.setdefault("delivery", REAL)
    campaign = load_campaign(write_campaign(folder, rows, **changes))
    return forecast(campaign, profiles=profiles, clock=VirtualClock())


def test_a_rate_takes_the_time_that_it_says(tmp_path: Path) -> None:
    found = foresee(tmp_path, addresses(600, "gmail.com"), limits={"sites": {"*.google.com": {"messages": "10/s"}}})
    assert found.summary.delivered == 600
    assert found.seconds == pytest.approx(60, abs=2)
    assert found.tail is not None
    assert (found.tail.site, found.tail.limit) == ("google", "messages")
    assert found.shares["50%"] == pytest.approx(30, abs=2)
    assert (found.begin, found.end[:17]) == ("2027-03-01T08:00:00.000Z", "2027-03-01T08:01:")


def test_one_connection_takes_a_round_trip_for_each_message(tmp_path: Path) -> None:
    found = foresee(tmp_path, addresses(300, "shop.example"), limits={"default": {"connections": 1}})
    assert found.tail is not None
    assert found.tail.limit == "connections"
    assert found.most_connections == 1
    twice = foresee(tmp_path, addresses(300, "shop.example"), limits={"default": {"connections": 2}})
    assert twice.seconds == pytest.approx(found.seconds / 2, rel=0.2)


def test_the_rate_of_a_domain_is_named(tmp_path: Path) -> None:
    found = foresee(tmp_path, addresses(100, "yahoo.com"), limits={"domains": {"yahoo.com": {"messages": "5/s"}}})
    assert found.tail is not None
    assert found.tail.limit == "domain"
    assert found.seconds == pytest.approx(20, abs=2)


def test_greylisting_is_waited_for_and_the_large_site_has_a_name_of_its_own(tmp_path: Path) -> None:
    rows = addresses(20, "greylisting-1.test") + [f"welcome-{n}@gmail.com" for n in range(200)]
    found = foresee(tmp_path, rows, profiles=None, delivery=REAL | {"retry": ["10m"]})
    assert found.tail is not None and found.large is not None
    assert found.tail.limit == "retry"
    assert 600 <= found.delivered_by < 700
    assert found.tail.site == found.sites[0].site == "mx.greylisting-1.test"


def test_a_site_that_never_answers_is_given_up_at_the_end_and_is_no_tail(tmp_path: Path) -> None:
    found = foresee(
        tmp_path,
        [*addresses(3, "dead-1.test"), *addresses(3, "gmail.com")],
        profiles=None,
        delivery=REAL | {"expire": "12h"},
    )
    assert found.summary.expired == 3
    assert 12 * 3600 <= found.seconds < 18 * 3600
    assert found.delivered_by < 3600
    assert found.sites[-1].limit == "unreachable"
    assert found.sites[-1].final_by == found.seconds


def test_a_relay_takes_everything_at_the_limits_of_the_campaign(tmp_path: Path) -> None:
    relay = {"host": "smtp.relay.example", "port": 587, "username": "acme", "password_env": "NOBODY_HAS_SET_THIS"}
    found = foresee(
        tmp_path,
        [*addresses(50, "gmail.com"), *addresses(50, "shop.example")],
        delivery=REAL | {"route": "relay", "relay": {**relay, "limits": {"messages": "2/s"}}},
    )
    assert found.summary.delivered == 100
    assert found.seconds == pytest.approx(50, abs=2)
    assert [site.limit for site in found.sites] == ["messages"]


def test_the_suppression_list_is_heeded_and_nothing_is_written(tmp_path: Path) -> None:
    state = tmp_path / "state"
    prepare(state, seeded(1, "test"))
    with Suppressions.open(state, clock=VirtualClock()) as suppressions:
        suppressions.add_many(
            Suppression(key=one, address=one, reason="manual", source="test", time=1.0)
            for one in addresses(4, "gmail.com")
        )
    before = (state / DATABASE).read_bytes()
    campaign = load_campaign(write_campaign(tmp_path, addresses(10, "gmail.com"), delivery=REAL))
    found = forecast(campaign, state=state, profiles=OPEN_HOUSE)
    assert (found.summary.suppressed, found.summary.delivered) == (4, 6)
    database = Database(state / DATABASE)
    assert database.value("SELECT count(*) FROM run") == 0
    database.close()
    assert (state / DATABASE).read_bytes() == before


def test_a_forecast_repeats(tmp_path: Path) -> None:
    rows = [f"person{n}@{domain}" for n in range(60) for domain in ("gmail.com", "gmx.de", "old-1.test")]
    first = foresee(tmp_path, rows, profiles=None)
    assert foresee(tmp_path, rows, profiles=None) == first
