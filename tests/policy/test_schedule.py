"""Send times: from a moment on, and in a window of the recipient's day."""

from datetime import datetime

import pytest

from bulkmail.model.campaign import Schedule
from bulkmail.policy.schedule import SendTimes, moment_of, window_of, zone_of


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    "text",
    ["2027-05-01T09:00:00+02:00", "2027-05-01 09:00 Europe/Vienna", "2027-05-01 07:00 UTC", "2027-05-01 07:00"],
)
def test_a_moment_is_written_with_an_offset_a_zone_or_in_the_default_one(text) -> None:
    assert moment_of(text, zone_of("UTC")) == at("2027-05-01T07:00:00+00:00")


@pytest.mark.parametrize("text", ["tomorrow", "2027-13-01 09:00", "2027-05-01 09:00 Mars/Olympus"])
def test_what_is_no_moment_is_said_to_be_none(text) -> None:
    with pytest.raises(ValueError, match="write"):
        moment_of(text, zone_of("UTC"))


@pytest.mark.parametrize("text", ["9-17", "09:00", "25:00-26:00", "09:00-09:00", "09:60-10:00"])
def test_what_is_no_window_is_said_to_be_none(text) -> None:
    with pytest.raises(ValueError, match="is no window"):
        window_of(text)


@pytest.mark.parametrize(
    ("zone", "began", "due"),
    [
        ("Europe/Vienna", "2027-05-03T06:00:00+00:00", "2027-05-03T09:00:00+02:00"),
        ("Asia/Tokyo", "2027-05-03T06:00:00+00:00", None),  # 15:00 there: open
        ("America/New_York", "2027-05-03T06:00:00+00:00", "2027-05-03T09:00:00-04:00"),
        ("Asia/Tokyo", "2027-05-03T09:00:00+00:00", "2027-05-04T09:00:00+09:00"),  # 18:00 there: tomorrow
        ("", "2027-05-03T06:00:00+00:00", "2027-05-03T09:00:00+00:00"),
    ],
)
def test_each_gets_the_mail_when_the_window_opens_where_they_live(zone, began, due) -> None:
    times = SendTimes(Schedule(window="09:00-17:00", timezone="zone"), began=at(began))
    assert times.by_recipient
    assert times.due({"zone": zone}) == (at(due) if due else 0.0)


def test_days_that_do_not_count_are_passed_over() -> None:
    times = SendTimes(Schedule(window="09:00-17:00", days=("mon", "tue")), began=at("2027-05-05T10:00:00+00:00"))
    assert times.due({}) == at("2027-05-10T09:00:00+00:00")


def test_a_window_may_go_over_midnight() -> None:
    schedule = Schedule(window="22:00-02:00")
    assert SendTimes(schedule, began=at("2027-05-05T01:00:00+00:00")).due({}) == 0.0
    assert SendTimes(schedule, began=at("2027-05-05T03:00:00+00:00")).due({}) == at("2027-05-05T22:00:00+00:00")


def test_the_clock_that_is_put_forward_is_followed() -> None:
    # 28 March 2027 is the night of the change in Vienna.
    times = SendTimes(
        Schedule(window="09:00-10:00", default_timezone="Europe/Vienna"), began=at("2027-03-27T12:00:00+00:00")
    )
    assert times.due({}) == at("2027-03-28T09:00:00+02:00")


def test_nothing_is_due_before_the_moment_and_then_only_in_the_window() -> None:
    schedule = Schedule(at="2027-05-03 12:00", window="09:00-17:00", timezone="zone")
    times = SendTimes(schedule, began=at("2027-05-01T00:00:00+00:00"))
    assert times.due({}) == at("2027-05-03T12:00:00+00:00")
    assert times.due({"zone": "Asia/Tokyo"}) == at("2027-05-04T09:00:00+09:00")
    with pytest.raises(ValueError, match="no time zone"):
        times.due({"zone": "Nowhere/Land"})
