"""Look at a connection when something about it may be overdue, and not before.

A connection is asked for the next such time whenever it was looked at. No timeout is shorter than the longest time
between two looks, so none that begins meanwhile can be over by the next. Thousands of connections that wait cost
nothing in between, and one that is gone is not kept.
"""

import asyncio
from weakref import ReferenceType, ref

from bulkmail.clock import Clock
from bulkmail.net.connection import Connection

# Timers are a little early at times.
_LEAST_SECONDS = 0.001


def look_after(connection: Connection, clock: Clock) -> None:
    """End the connection in time where a reply is overdue, or where it has nothing to do for long; as long as it is."""
    _wait(ref(connection), connection.seconds_to_look(clock.monotonic()), clock)


def _wait(reference: ReferenceType[Connection], seconds: float, clock: Clock) -> None:
    asyncio.get_running_loop().call_later(max(seconds, _LEAST_SECONDS), _look, reference, clock)


def _look(reference: ReferenceType[Connection], clock: Clock) -> None:
    connection = reference()
    if connection is None or connection.closed:
        return
    now = clock.monotonic()
    connection.expire(now)
    if not connection.closed:
        _wait(reference, connection.seconds_to_look(now), clock)
