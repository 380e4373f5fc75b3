"""Carry out what a reply, a loss or a refusal means for messages in flight, their exchange and its lane.

Rules: a refusal that is about the lane leaves the recipient as it was and slows or pauses the lane. The second one
that meets the same recipient is taken as the recipient's own, so that one bad recipient never blocks the others.
"""

from collections.abc import Callable, Sequence

from bulkmail.clock import Clock
from bulkmail.engine.conclusions import Conclusions
from bulkmail.engine.dialer import Refusal
from bulkmail.engine.exchange import Exchange, Outlet
from bulkmail.engine.lane import Lane
from bulkmail.engine.recorder import Recorder, Transmission
from bulkmail.engine.router import Unroutable
from bulkmail.engine.work import ActiveChunk, Work
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Disposition, Reason, Reply, Stage
from bulkmail.native.message import Message
from bulkmail.net.connection import Connection
from bulkmail.net.owner import Left, Result
from bulkmail.policy.disposition import judge
from bulkmail.policy.rules import RuleBook
from bulkmail.policy.verdict import Verdict
from bulkmail.smtp.replies import parse_text

# A lane that pauses for longer gives its recipients back to the store, so that chunks can close.
PARK_SECONDS = 5.0
PARK_SHARE = 0.1
# Forgetting them costs a bad recipient's lane one more pause.
MOST_REFUSED = 100_000


class Courier:
    """One run's consequences. A lane that is closed for more than `park_seconds` keeps nothing.

    `on_lane_changed(lane)` is called when a pause or a failure changed what it may do.
    """

    def __init__(
        self,
        campaign: Campaign,
        recorder: Recorder,
        conclusions: Conclusions,
        *,
        clock: Clock,
        rules: RuleBook | None = None,
    ) -> None:
        self._rules = rules
        self._retry = [float(seconds) for seconds in campaign.delivery.retry]
        # A campaign that gives up soon looks at the time to expire often.
        self.park_seconds = min(PARK_SECONDS, float(campaign.delivery.expire) * PARK_SHARE)
        self._recorder = recorder
        self._conclusions = conclusions
        self._clock = clock
        # Recipients that a lane-wide refusal met. Not kept with their chunk: that may be closed while the lane is.
        self._refused: set[tuple[int, int]] = set()
        self.on_lane_changed: Callable[[Lane], None] = lambda lane: None

    # Replies.

    def results(self, exchange: Exchange, connection: Connection, results: Sequence[Result]) -> None:
        """Replies that decided something, in order of arrival."""
        lane = exchange.lane
        for message, stage, code, text in results:
            if stage == Stage.MESSAGE and 200 <= code < 300:
                self._delivered(lane, connection, message, code, text)
            else:
                reply = parse_text(code, text)
                verdict = judge(Stage(stage), reply, book=self._rules)
                self._judged(exchange, connection, message, verdict, Stage(stage), reply, "")

    def delivered(self, lane: Lane, counts: Sequence[tuple[int, int]]) -> None:
        """Deliveries that are on record already: how many, by the disposition before."""
        lane.on_accepted(self._clock.monotonic(), sum(count for _, count in counts))
        self._recorder.moved(counts, lane.site.name)

    def lost(
        self, exchange: Exchange, connection: Connection, left: Sequence[Left], reason: Reason, explanation: str
    ) -> None:
        """A connection ended with messages that have no result."""
        lane = exchange.lane
        untouched = all(stage == Stage.MAIL and not ended for _, stage, ended in left)
        if connection.completed and untouched:
            # Receivers close after so many messages without a word: a limit, not a failure. Nothing left means that the
            # connection was idle, or that the server had said why: no sign either.
            if left and reason is Reason.CONNECTION_LOST and not (connection.said_quit or connection.dismissed):
                lane.pacer.on_closed_between(self._clock.monotonic(), connection.completed)
            self.again(exchange, [message for message, _, _ in left])
            return
        for message, stage_value, ended in left:
            stage = Stage(stage_value)
            verdict = judge(stage, None, reason if reason is not Reason.NONE else Reason.CONNECTION_LOST)
            if ended:
                self._doubt(lane, connection, message, explanation)
            else:
                self._judged(exchange, connection, message, verdict, stage, None, explanation)

    def again(self, exchange: Exchange, messages: Sequence[Message]) -> None:
        """These were not taken, through no fault of theirs: they are next, and no attempt is counted."""
        for message in reversed(messages):
            self._recorder.answered(message)
            exchange.give_back(message, first=True)

    def unfit(
        self, exchange: Exchange, connection: Connection, message: Message, reason: Reason, explanation: str
    ) -> None:
        """This message cannot go to this server at all; nothing was written."""
        verdict = judge(Stage.COMPOSE, None, reason)
        self._conclude_refused(exchange.lane, connection, message, verdict, Stage.COMPOSE, None, explanation)

    # Lanes.

    def unreachable(self, exchange: Exchange, refusal: Refusal) -> None:
        """No host of the exchange let us in. Without a word: it waits by the retry schedule, and only it.

        With a reply: what it says of us may hold for the whole lane. Where there is another relay, it takes over.
        """
        lane, reply = exchange.lane, refusal.reply
        verdict = judge(refusal.stage, reply, refusal.reason, self._rules)
        now = self._clock.monotonic()
        if reply is None and verdict.disposition is Disposition.BOUNCED:
            # What was asked of them, none of the hosts can do: nobody there will get it, whenever it is tried.
            problem = Unroutable(verdict.reason, refusal.explanation)
            for active, index in exchange.clear():
                self._conclusions.unroutable(active, [index], problem, lane.site.name, stage=refusal.stage)
        elif reply is None or exchange.has_another_relay(now, spare=True):
            delay = self._retry[min(exchange.failed_connects, len(self._retry) - 1)]
            exchange.failed_connects += 1
            exchange.closed_until = now + delay
            self._lane_event(lane, verdict.reason, refusal, f"tried again in {delay:.0f} s")
            # However short the delay: the time to expire begins now, and is looked at when the chunk is claimed again.
            self.park(exchange)
            self.on_lane_changed(lane)
        else:
            # The connection that was turned away still counts as one being opened.
            self._heard(lane, verdict, now, refusal, open_connections=lane.connections - 1)

    def should_park(self, exchange: Exchange, now: float) -> bool:
        """Whether what waits on a closed exchange would wait for long, or for nothing: another relay is open."""
        closed_seconds = exchange.open_again_at - now
        return closed_seconds > self.park_seconds or (
            closed_seconds > 0 and exchange.has_another_relay(now, spare=exchange.closed_until > now)
        )

    def park(self, exchange: Exchange) -> None:
        """Give everything that waits on a closed exchange back to the store until it, or another way, is open."""
        self._park_until(exchange.clear(), min(one.open_again_at for one in exchange.alternatives))

    def park_work(self, exchange: Outlet, work: Sequence[Work]) -> None:
        """The same for recipients that were about to be handed to it."""
        self._park_until(work, exchange.open_again_at)

    def _park_until(self, work: Sequence[Work], open_again_at: float) -> None:
        due = self._clock.time() + max(0.0, open_again_at - self._clock.monotonic())
        for active, index in work:
            self._recorder.park(active, index, due)

    # Beneath.

    def _delivered(self, lane: Lane, connection: Connection, message: Message, code: int, text: bytes) -> None:
        now = self._clock.monotonic()
        lane.on_accepted(now, 1)
        self._recorder.delivered(
            message,
            code,
            text,
            site=lane.site.name,
            host=connection.host,
            source=lane.source.address,
            tls=connection.tls,
            milliseconds=round((now - message.started) * 1000, 1),
        )

    def _judged(
        self,
        exchange: Exchange,
        connection: Connection,
        message: Message,
        verdict: Verdict,
        stage: Stage,
        reply: Reply | None,
        explanation: str,
    ) -> None:
        lane = exchange.lane
        if verdict.charged or self._refused_before(message.chunk, message.index):
            self._conclude_refused(lane, connection, message, verdict, stage, reply, explanation)
        else:
            self._recorder.answered(message)
            exchange.give_back(message)
        refusal = Refusal(stage=stage, host=connection.host, reply=reply, explanation=explanation)
        self._heard(lane, verdict, self._clock.monotonic(), refusal, sent_on_connection=connection.completed)

    def _refused_before(self, active: ActiveChunk, index: int) -> bool:
        """Whether it was met before: a lane that refuses everybody waits, one bad recipient must not stop it."""
        recipient = (active.chunk.number, index)
        if recipient in self._refused:
            return True
        if len(self._refused) == MOST_REFUSED:
            self._refused.clear()
        self._refused.add(recipient)
        return False

    def _conclude_refused(
        self,
        lane: Lane,
        connection: Connection,
        message: Message,
        verdict: Verdict,
        stage: Stage,
        reply: Reply | None,
        explanation: str,
    ) -> None:
        self._conclusions.refused(
            message,
            verdict,
            stage=stage,
            reply=reply,
            explanation=explanation,
            site=lane.site.name,
            sent=_sent(lane, connection, message, self._clock.monotonic()),
        )

    def _doubt(self, lane: Lane, connection: Connection, message: Message, explanation: str) -> None:
        self._conclusions.doubt(
            message.chunk,
            message.index,
            message.attempt,
            f"in doubt: {explanation}",
            site=lane.site.name,
            sent=_sent(lane, connection, message, self._clock.monotonic()),
        )

    def _heard(
        self,
        lane: Lane,
        verdict: Verdict,
        now: float,
        refusal: Refusal,
        *,
        open_connections: int | None = None,
        sent_on_connection: int = 0,
    ) -> None:
        """Let the lane's pace follow, and say so where it changed."""
        before = lane.pacer.statistics()
        if open_connections is None:
            open_connections = lane.connections
        lane.pacer.on_verdict(now, verdict, open_connections=open_connections, sent_on_connection=sent_on_connection)
        after = lane.pacer.statistics()
        if (after.pauses, after.slow_downs) == (before.pauses, before.slow_downs):
            return
        lane.follow_pace(now)
        pause_seconds = lane.pacer.paused_until - now
        what = f"lane paused for {pause_seconds:.1f} s" if pause_seconds > 0 else "lane slowed"
        self._lane_event(lane, verdict.reason, refusal, what)
        for exchange in lane.exchanges.values():
            if self.should_park(exchange, now):
                self.park(exchange)
        self.on_lane_changed(lane)

    def _lane_event(self, lane: Lane, reason: Reason, refusal: Refusal, what: str) -> None:
        lane.state = f"{what}: {refusal.reply or refusal.explanation}"
        complaint = f"{refusal.host}: {refusal.reply}" if refusal.reply else refusal.explanation
        self._conclusions.complained(lane.site.name, complaint)
        self._recorder.lane_event(
            reason=reason,
            stage=refusal.stage,
            reply=refusal.reply,
            explanation="; ".join(part for part in (refusal.explanation, what) if part),
            site=lane.site.name,
            source=lane.source.address,
            host=refusal.host,
        )


def _sent(lane: Lane, connection: Connection, message: Message, now: float) -> Transmission:
    return Transmission(
        host=connection.host,
        source=lane.source.address,
        tls=connection.tls,
        size_bytes=message.size_bytes,
        milliseconds=round((now - message.started) * 1000, 1) if message.started else None,
        message_id=message.message_id,
    )
