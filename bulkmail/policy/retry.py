"""When a deferred recipient is tried again, and when no more."""

import math
from collections.abc import Sequence

GRID_SHARE = 1 / 16
GRID_LEAST_SECONDS = 1.0
JITTER_SHARE = 1 / 8


def next_due(
    now: float,
    attempt: int,
    schedule: Sequence[float],
    first_tried: float,
    expire_seconds: float,
    jitter: float = 0.0,
) -> float | None:
    """When the attempt after `attempt` (1: the first was just made) is due, in the clock of `now`; None for never.

    `schedule` has the delays in seconds, the last repeats. `jitter` from 0 to 1 adds up to an eighth of the delay: draw
    it once for recipients that should stay together. The time is rounded up to a grid of a sixteenth of the delay, at
    least a second, so that the recipients of one chunk come back in one piece. The last attempt is not after
    `first_tried + expire_seconds`: one that would be due later is no attempt (RFC 5321 §4.5.4.1).
    """
    delay = schedule[min(attempt, len(schedule)) - 1]
    last = first_tried + expire_seconds
    if now + delay > last:
        return None
    grid = max(GRID_LEAST_SECONDS, delay * GRID_SHARE)
    due = math.ceil((now + delay * (1 + jitter * JITTER_SHARE)) / grid) * grid
    return min(due, last)


def expired(now: float, first_tried: float, expire_seconds: float) -> bool:
    """Whether the time for trying is over, also for a recipient whose lane never got to it."""
    return now > first_tried + expire_seconds
