"""How a lane's pace follows what its site says: fewer, slower, not at all, and back again.

Problem. A receiver never states what it takes; it says "slower" when it has had enough, often on ten connections at
once, and "blocked" when it has had far too much. Too timid wastes hours; too bold turns a slow-down into a block.

Rule. Additive growth while mail is accepted, multiplicative decrease when told to slow down, a pause that doubles when
told to go away. One signal counts once, however many connections hear it.

    slow:      rate and connections *= 1/2, once in `signal_seconds`; nothing accepted between `slow_limit` cuts: pause
    pause:     until now + max(what the reply asks, base * 2 ** pauses in a row), within the limit; rate *= 1/2;
               then one connection to probe, then two
    accepted:  pauses in a row = 0; every `recover_seconds`: rate += `rate_step`, connections += 1, up to the limits
    watch:     a refusal that may be one recipient's own; `watch_limit` of them with nothing accepted between: pause
    closed (without a word, or by 421) between messages after n, twice the same n: n messages a connection from now on

Limits. It knows one lane: a block of the whole source is learned by each lane alone. Nothing is kept over a restart.
The count of messages per connection is only ever lowered. `now` is monotonic seconds, and never goes back.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from bulkmail.model.delivery import Reason
from bulkmail.policy.verdict import NO_REPLY, LaneAction, Subject, Verdict

AFTER_PAUSE = 2.0  # connections, once the probe was answered
_NEVER = float("-inf")


class PacingSettings(Struct, frozen=True, kw_only=True):
    """The pacer's constants; `scaled` makes all its times shorter for a site that lives faster.

    `longest_pause_seconds` is where pauses stop growing by themselves; `pause_limit_seconds` holds for those that a
    reply asks for as well.
    """

    base_pause_seconds: float = 60.0
    pause_factor: float = 2.0
    longest_pause_seconds: float = 4 * 3600.0
    pause_limit_seconds: float = 24 * 3600.0
    verdict_scale: float = 1.0
    signal_seconds: float = 5.0
    recover_seconds: float = 60.0
    busy_seconds: float = 600.0
    slow_factor: float = 0.5
    least_rate: float = 1 / 64
    rate_step: float = 1 / 16
    slow_limit: int = 4
    watch_limit: int = 10
    doubtful_block_weight: int = 4

    def scaled(self, factor: float) -> "PacingSettings":
        """The same pace with every time multiplied by `factor`, those that replies ask for too."""
        return replace(
            self,
            base_pause_seconds=self.base_pause_seconds * factor,
            longest_pause_seconds=self.longest_pause_seconds * factor,
            pause_limit_seconds=self.pause_limit_seconds * factor,
            verdict_scale=self.verdict_scale * factor,
            signal_seconds=self.signal_seconds * factor,
            recover_seconds=self.recover_seconds * factor,
            busy_seconds=self.busy_seconds * factor,
        )


class PacerStatistics(Struct, frozen=True, kw_only=True):
    """How a lane's pace stands; `connection_cap` and `messages_per_connection` are None while nothing is learned."""

    rate_factor: float
    connection_cap: int | None
    messages_per_connection: int | None
    paused_until: float
    pause_reason: Reason
    pauses: int
    slow_downs: int
    connect_failures: int


class Pacer:
    """The pace of one lane: signals go in with the time, limits come out.

    `on_*` are inputs; `paused_until`, `connections_allowed`, `rate`, `messages_per_connection` outputs.
    """

    def __init__(self, retry: Sequence[float], settings: PacingSettings | None = None) -> None:
        """`retry`: the campaign's delays in seconds; pauses after failed connects follow them, the last repeats."""
        self._settings = settings or PacingSettings()
        self._retry = tuple(retry)
        self.paused_until = _NEVER
        self.pause_reason = Reason.NONE
        self._rate_factor = 1.0
        self._connection_cap: float | None = None
        self._messages_cap: int | None = None
        self._closed_at: int | None = None
        self._probing = False
        self._pauses_in_row = 0
        self._suspicion = 0
        self._cuts_in_row = 0
        self._failed_connects_in_row = 0
        self._quiet_until = _NEVER
        self._grow_at = _NEVER
        self._accepted_since_pause = False
        self._pauses = 0
        self._slow_downs = 0
        self._connect_failures = 0

    # -- outputs

    def paused(self, now: float) -> bool:
        return now < self.paused_until

    def connections_allowed(self, limit: int) -> int:
        """How many connections may be open at once when not paused: 1 while it is not known if the site takes mail."""
        if self._probing:
            return 1
        return limit if self._connection_cap is None else max(1, min(limit, int(self._connection_cap)))

    def rate(self, limit_per_second: float) -> float:
        """The messages a second allowed, of a limit."""
        return limit_per_second * self._rate_factor

    def messages_per_connection(self, limit: int) -> int:
        """After how many messages to close a connection."""
        return limit if self._messages_cap is None else min(limit, self._messages_cap)

    def statistics(self) -> PacerStatistics:
        return PacerStatistics(
            rate_factor=self._rate_factor,
            connection_cap=None if self._connection_cap is None else int(self._connection_cap),
            messages_per_connection=self._messages_cap,
            paused_until=self.paused_until,
            pause_reason=self.pause_reason,
            pauses=self._pauses,
            slow_downs=self._slow_downs,
            connect_failures=self._connect_failures,
        )

    @property
    def has_learned(self) -> bool:
        """Whether a new pacer would do anything else than this one."""
        return (
            self._pauses > 0
            or self._slow_downs > 0
            or self._connect_failures > 0
            or self._messages_cap is not None
            or self._closed_at is not None
            or self._suspicion > 0
        )

    # -- inputs

    def take_over(self, learned: PacerStatistics | None, paused_until: float) -> None:
        """Go on from what another pacer of the same lane has learned, from `paused_until` on."""
        self.paused_until = paused_until
        if learned is None:
            return
        self.paused_until = max(paused_until, learned.paused_until)
        self.pause_reason = learned.pause_reason
        self._rate_factor = learned.rate_factor
        self._connection_cap = None if learned.connection_cap is None else float(learned.connection_cap)
        self._messages_cap = learned.messages_per_connection
        self._pauses, self._slow_downs = learned.pauses, learned.slow_downs
        self._connect_failures = learned.connect_failures

    def on_verdict(self, now: float, verdict: Verdict, *, open_connections: int, sent_on_connection: int = 0) -> None:
        """Do what a verdict asks of the lane; of one about a `CONNECTION`, only when no other host is left to try.

        `open_connections` counts those that are open or being opened, without one that was turned away;
        `sent_on_connection` the messages that the connection which heard the reply had taken.
        """
        ended_by_server = verdict.subject is Subject.CONNECTION and not verdict.charged and sent_on_connection > 0
        match verdict.lane:
            case LaneAction.WATCH:
                self.on_doubt(now, verdict)
            case LaneAction.SLOW if verdict.reason is Reason.TOO_MANY_CONNECTIONS:
                self.on_connection_refused_busy(now, open_connections)
            case LaneAction.SLOW if ended_by_server and self._closed_at in (None, sent_on_connection):
                self.on_closed_between(now, sent_on_connection)
            case LaneAction.SLOW:
                self._closed_at = sent_on_connection if ended_by_server else self._closed_at
                self.on_slow(now, verdict, open_connections=open_connections)
            case LaneAction.PAUSE if verdict.rule == NO_REPLY:
                self.on_connect_failure(now, verdict.reason)
            case LaneAction.PAUSE:
                self.on_paused(now, verdict)
            case LaneAction.RECYCLE if sent_on_connection > 0:
                self.on_message_limit(sent_on_connection)
            case LaneAction.RECYCLE:
                self._slow(now, 0.0, verdict.reason, open_connections)
            case _:
                self.on_answered(now, verdict)

    def on_accepted(self, now: float) -> None:
        """A message was accepted, or several since the last call."""
        self._suspicion = self._cuts_in_row = 0
        if self.paused(now):  # it was on its way when the pause began: no sign that the pause is over
            return
        self._accepted_since_pause = True
        self._probing = False
        self._pauses_in_row = 0
        self.pause_reason = Reason.NONE
        if now >= self._grow_at:
            self._grow_at = now + self._settings.recover_seconds
            self._rate_factor = min(1.0, self._rate_factor + self._settings.rate_step)
            if self._connection_cap is not None:
                self._connection_cap += 1

    def on_answered(self, now: float, verdict: Verdict) -> None:
        """A refusal that says only something of its recipient: the site does talk to us."""
        if verdict.charged and not self.paused(now):
            self._probing = False

    def on_slow(self, now: float, verdict: Verdict, *, open_connections: int) -> None:
        """The site asks for less."""
        self._slow(now, verdict.pause_seconds, verdict.reason, open_connections)

    def on_paused(self, now: float, verdict: Verdict) -> None:
        """The site wants nothing now.

        Told to a recipient on a lane that does take mail, it may be that recipient's domain's own wish, and is only
        believed when it is repeated with nothing accepted between.
        """
        if verdict.charged and self._accepted_since_pause:
            self._doubt(now, verdict, self._settings.doubtful_block_weight)
        elif not self.paused(now):
            self._pause(now, verdict.pause_seconds, verdict.reason)

    def on_doubt(self, now: float, verdict: Verdict) -> None:
        """A refusal that may concern more than its recipient."""
        self._doubt(now, verdict, self._settings.watch_limit if self._probing else 1)

    def on_connect_failure(self, now: float, reason: Reason = Reason.NETWORK) -> None:
        """None of the site's hosts could be reached: wait as the campaign's retry schedule says."""
        if self.paused(now):
            return
        self._connect_failures += 1
        delay = self._retry[min(self._failed_connects_in_row, len(self._retry) - 1)]
        self._failed_connects_in_row += 1
        self._begin_pause(now + delay, reason)

    def on_connected(self) -> None:
        """A host greeted us: the next failure to connect is again the first."""
        self._failed_connects_in_row = 0

    def on_connection_refused_busy(self, now: float, open_connections: int) -> None:
        """One connection too many: keep to those that are open for `busy_seconds`, then try one more at a time."""
        if open_connections == 0:
            if not self.paused(now):
                self._pause(now, 0.0, Reason.TOO_MANY_CONNECTIONS)
            return
        if self._connection_cap is None or open_connections < self._connection_cap:
            self._connection_cap = float(open_connections)
            self._slow_downs += 1
        self._grow_at = now + self._settings.busy_seconds

    def on_closed_between(self, now: float, count: int) -> None:
        """The server closed a busy connection after `count` messages without a word; twice the same is its limit.

        Closed before the first message, it asks for less. A connection that was idle is no sign: do not report it.
        """
        if count == 0:
            self._slow(now, 0.0, Reason.CONNECTION_LOST, None)
        elif count == self._closed_at:
            self.on_message_limit(count)
        self._closed_at = count

    def on_message_limit(self, count: int) -> None:
        """The server said that a connection carries `count` messages (at least 1) and no more."""
        self._messages_cap = count if self._messages_cap is None else min(count, self._messages_cap)

    # -- how

    def _slow(self, now: float, asked_seconds: float, reason: Reason, open_connections: int | None) -> None:
        if now < self._quiet_until or self.paused(now):
            return
        self._slow_downs += 1
        self._cuts_in_row += 1
        if self._cuts_in_row >= self._settings.slow_limit:
            self._pause(now, asked_seconds, reason)
            return
        self._quiet_until = now + self._settings.signal_seconds
        self._grow_at = now + self._settings.recover_seconds
        self._rate_factor = max(self._settings.least_rate, self._rate_factor * self._settings.slow_factor)
        caps = [cap for cap in (self._connection_cap, open_connections) if cap is not None]
        if caps:
            self._connection_cap = max(1.0, min(caps) * self._settings.slow_factor)

    def _doubt(self, now: float, verdict: Verdict, weight: int) -> None:
        if self.paused(now):
            return
        self._suspicion += weight
        if self._suspicion >= self._settings.watch_limit:
            self._pause(now, verdict.pause_seconds, verdict.reason)

    def _pause(self, now: float, asked_seconds: float, reason: Reason) -> None:
        settings = self._settings
        grown = settings.base_pause_seconds * settings.pause_factor ** min(self._pauses_in_row, 64)
        seconds = max(min(grown, settings.longest_pause_seconds), asked_seconds * settings.verdict_scale)
        seconds = min(seconds, settings.pause_limit_seconds)
        self._pauses_in_row += 1
        self._rate_factor = max(settings.least_rate, self._rate_factor * settings.slow_factor)
        self._connection_cap = min(self._connection_cap or AFTER_PAUSE, AFTER_PAUSE)
        self._grow_at = now + seconds + settings.recover_seconds
        self._begin_pause(now + seconds, reason)

    def _begin_pause(self, until: float, reason: Reason) -> None:
        self.paused_until = until
        self.pause_reason = reason
        self._pauses += 1
        self._probing = True
        self._accepted_since_pause = False
        self._suspicion = self._cuts_in_row = 0
