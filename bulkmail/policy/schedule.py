"""When a recipient may get mail: from a moment on, or in a window of the day where the recipient lives."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any

from bulkmail.model.campaign import WEEKDAYS, Schedule

_WINDOW = re.compile(r"([01]?\d|2[0-3]):([0-5]\d) ?- ?([01]?\d|2[0-3]|24):([0-5]\d)")


class SendTimes:
    """The send times of one run. ValueError, with a sentence, for a schedule that cannot be read."""

    def __init__(self, schedule: Schedule, *, began: float) -> None:
        """`began` is when the run was made (Unix seconds), so that a resumed intake finds the same times."""
        self._schedule = schedule
        self._zone = zone_of(schedule.default_timezone)
        at = 0.0 if schedule.at is None else moment_of(schedule.at, self._zone)
        self.at = at
        self._from = max(at, began)
        self._window = None if schedule.window is None else window_of(schedule.window)
        self._days = frozenset(WEEKDAYS.index(day) for day in schedule.days) or frozenset(range(7))

    @property
    def by_recipient(self) -> bool:
        """Whether recipients differ."""
        return self._window is not None

    def due(self, fields: Mapping[str, Any]) -> float:
        """Unix seconds before which this row gets no mail. ValueError for a time zone that there is not."""
        if self._window is None:
            return self.at
        name = fields.get(self._schedule.timezone) if self._schedule.timezone is not None else None
        return self._opening(zone_of(str(name)) if name not in (None, "") else self._zone)

    def _opening(self, zone: tzinfo) -> float:
        assert self._window is not None
        opens, closes = self._window
        start = datetime.fromtimestamp(self._from, zone)
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        # A window over midnight (22:00-02:00) may have opened yesterday.
        for days in range(-1, 9):
            day = midnight + timedelta(days=days)
            if day.weekday() not in self._days:
                continue
            open_at = (day + timedelta(minutes=opens)).timestamp()
            length = (closes - opens) % (24 * 60) or 24 * 60
            if open_at + length * 60 > self._from:
                return 0.0 if open_at <= self._from and not self.at else max(open_at, self._from)
        raise ValueError("no day is left")


def moment_of(text: str, zone: tzinfo) -> float:
    """Unix seconds of `2027-05-01T09:00+02:00`, `2027-05-01 09:00` (in `zone`) or `2027-05-01 09:00 Europe/Vienna`."""
    words = text.strip().rsplit(" ", 1)
    if len(words) == 2 and words[1][:1].isalpha():
        text, zone = words[0], zone_of(words[1])
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no date and time; write 2027-05-01 09:00 Europe/Vienna") from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).timestamp()


def window_of(text: str) -> tuple[int, int]:
    """Minutes of the day at which a window such as `09:00-17:30` opens and closes."""
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no window; write 09:00-17:00")
    opens, closes = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if closes > 24 * 60 or opens == closes:
        raise ValueError(f"{text!r} is no window; write 09:00-17:00")
    return opens, closes


@lru_cache(maxsize=1000)
def zone_of(name: str) -> tzinfo:
    """A time zone of the IANA database. ValueError where there is none of that name."""
    if name.upper() in ("UTC", "Z"):
        return UTC
    # Reads how this Python was built, which is worth it only where there are zones.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; write one such as Europe/Vienna") from None
