"""When a recipient that is always put off is tried again, and when it is given up, to the minute."""

from datetime import datetime
from pathlib import Path

from bulkmail.model.delivery import Event
from tests.simulation.playing import play


def hours(events: list[Event]) -> list[float]:
    """After the first of them."""
    times = [datetime.fromisoformat(event.time) for event in events]
    return [(time - times[0]).total_seconds() / 3600 for time in times]


def test_a_recipient_is_tried_by_the_schedule_and_given_up_when_its_time_is_over(tmp_path: Path) -> None:
    delivery = {"route": "mx", "retry": ["30m", "1h"], "expire": "4h"}
    played = play(tmp_path, ["quota-1@gmail.com", "r2@gmail.com"], delivery=delivery)
    assert (played.summary.delivered, played.summary.expired) == (1, 1)
    story = [event for event in played.events if event.recipient == "quota-1@gmail.com"]
    assert [event.disposition for event in story] == ["deferred", "deferred", "deferred", "deferred", "expired"]
    # Half an hour and then each hour, up to an eighth later each time and rounded up to a sixteenth of the delay.
    delays = [after - before for before, after in zip(hours(story), hours(story)[1:], strict=False)]
    for delay, wanted in zip(delays, [0.5, 1.0, 1.0, 1.0], strict=True):
        assert wanted - 0.01 <= delay <= wanted * (1 + 1 / 8 + 1 / 16) + 0.01
    # The next attempt would have been due after the end.
    assert hours(story)[-1] <= 4.0 < hours(story)[-1] + 1.0
