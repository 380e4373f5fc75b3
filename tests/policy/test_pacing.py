"""The pace of a lane: cuts, pauses, probes, and the way back."""

import pytest

from bulkmail.model.delivery import Disposition, Reason, Reply, Stage
from bulkmail.policy.disposition import LaneAction, Subject, Verdict, judge
from bulkmail.policy.pacing import Pacer, PacingSettings

RETRY = (300.0, 1800.0)
SETTINGS = PacingSettings()


def verdict(
    lane: LaneAction,
    *,
    subject: Subject = Subject.LANE,
    reason: Reason = Reason.RATE_LIMITED,
    charged: bool = False,
    pause_seconds: float = 0.0,
    rule: str = "test",
) -> Verdict:
    return Verdict(
        subject=subject,
        disposition=Disposition.DEFERRED,
        reason=reason,
        rule=rule,
        charged=charged,
        lane=lane,
        pause_seconds=pause_seconds,
    )


SLOW = verdict(LaneAction.SLOW)
PAUSE = verdict(LaneAction.PAUSE, reason=Reason.BLOCKED)
DOUBTFUL = verdict(LaneAction.PAUSE, reason=Reason.BLOCKED, charged=True)
WATCH = verdict(LaneAction.WATCH, subject=Subject.RECIPIENT, reason=Reason.POLICY, charged=True)
ENDED = verdict(LaneAction.SLOW, subject=Subject.CONNECTION, reason=Reason.SYSTEM)
OWN_FAULT = verdict(LaneAction.NONE, subject=Subject.RECIPIENT, reason=Reason.USER_UNKNOWN, charged=True)


@pytest.fixture
def pacer() -> Pacer:
    return Pacer(RETRY)


def test_a_new_lane_goes_at_its_limits(pacer: Pacer) -> None:
    assert not pacer.paused(0.0)
    assert pacer.connections_allowed(10) == 10
    assert pacer.rate(100.0) == 100.0
    assert pacer.messages_per_connection(50) == 50


class TestSlow:
    def test_a_slow_down_halves_rate_and_connections(self, pacer: Pacer) -> None:
        pacer.on_slow(0.0, SLOW, open_connections=8)
        assert pacer.rate(100.0) == 50.0
        assert pacer.connections_allowed(10) == 4

    def test_ten_connections_that_hear_one_signal_cut_once(self, pacer: Pacer) -> None:
        for connection in range(10):
            pacer.on_slow(0.1 * connection, SLOW, open_connections=8)
        assert pacer.rate(100.0) == 50.0
        assert pacer.statistics().slow_downs == 1

    def test_the_next_cut_starts_from_the_last_when_more_are_still_open(self, pacer: Pacer) -> None:
        pacer.on_slow(0.0, SLOW, open_connections=12)
        pacer.on_slow(SETTINGS.signal_seconds, SLOW, open_connections=12)
        assert pacer.connections_allowed(10) == 3

    def test_one_connection_and_some_rate_are_always_left(self, pacer: Pacer) -> None:
        for cut in range(20):
            pacer.on_slow(10.0 * cut, SLOW, open_connections=1)
            pacer.on_accepted(10.0 * cut)
        assert pacer.connections_allowed(10) == 1
        assert pacer.rate(64.0) == pytest.approx(1.0)

    def test_accepted_mail_brings_the_pace_back_by_steps(self, pacer: Pacer) -> None:
        pacer.on_slow(0.0, SLOW, open_connections=8)
        pacer.on_accepted(59.0)
        assert (pacer.rate(16.0), pacer.connections_allowed(10)) == (8.0, 4)
        for second in range(60, 121):
            pacer.on_accepted(float(second))
        assert (pacer.rate(16.0), pacer.connections_allowed(10)) == (10.0, 6)
        for minute in range(3, 20):
            pacer.on_accepted(60.0 * minute)
        assert (pacer.rate(16.0), pacer.connections_allowed(10)) == (16.0, 10)

    def test_slow_downs_with_nothing_accepted_between_end_in_a_pause(self, pacer: Pacer) -> None:
        for cut in range(SETTINGS.slow_limit):
            assert not pacer.paused(6.0 * cut)
            pacer.on_slow(6.0 * cut, SLOW, open_connections=5)
        assert pacer.paused(18.1)
        assert pacer.pause_reason is Reason.RATE_LIMITED

    def test_accepted_mail_between_slow_downs_avoids_the_pause(self, pacer: Pacer) -> None:
        for cut in range(3 * SETTINGS.slow_limit):
            pacer.on_slow(6.0 * cut, SLOW, open_connections=5)
            pacer.on_accepted(6.0 * cut + 1)
        assert pacer.statistics().pauses == 0


class TestPause:
    def test_pauses_double_up_to_the_longest(self, pacer: Pacer) -> None:
        now, lengths = 0.0, []
        for _ in range(12):
            pacer.on_paused(now, PAUSE)
            lengths.append(pacer.paused_until - now)
            now = pacer.paused_until
        assert lengths[:4] == [60.0, 120.0, 240.0, 480.0]
        assert lengths[-1] == SETTINGS.longest_pause_seconds
        assert pacer.statistics().pauses == 12

    def test_a_very_long_row_of_pauses_overflows_nothing(self, pacer: Pacer) -> None:
        for _ in range(3000):
            pacer.on_paused(pacer.paused_until if pacer.paused_until > 0 else 0.0, PAUSE)
        assert pacer.statistics().pauses == 3000

    def test_success_starts_the_growth_anew(self, pacer: Pacer) -> None:
        pacer.on_paused(0.0, PAUSE)
        pacer.on_paused(60.0, PAUSE)
        pacer.on_accepted(180.0)
        assert pacer.pause_reason is Reason.NONE
        pacer.on_paused(200.0, PAUSE)
        assert pacer.paused_until == 260.0

    def test_mail_still_on_its_way_when_the_pause_began_ends_nothing(self, pacer: Pacer) -> None:
        pacer.on_paused(0.0, PAUSE)
        pacer.on_accepted(0.5)
        assert pacer.connections_allowed(10) == 1
        pacer.on_paused(60.0, PAUSE)
        assert pacer.paused_until == 180.0

    def test_signals_during_a_pause_change_nothing(self, pacer: Pacer) -> None:
        pacer.on_paused(0.0, PAUSE)
        before = pacer.statistics()
        pacer.on_paused(1.0, PAUSE)
        pacer.on_slow(1.0, SLOW, open_connections=5)
        pacer.on_connect_failure(1.0)
        pacer.on_connection_refused_busy(1.0, 0)
        for _ in range(100):
            pacer.on_doubt(1.0, WATCH)
        assert pacer.statistics() == before

    def test_no_pause_is_longer_than_the_limit_whoever_asks(self) -> None:
        pacer = Pacer((1.0,), PacingSettings(pause_limit_seconds=30.0))
        pacer.on_paused(0.0, verdict(LaneAction.PAUSE, pause_seconds=21600.0))
        assert pacer.paused_until == 30.0

    def test_the_reply_may_ask_for_a_longer_pause(self, pacer: Pacer) -> None:
        pacer.on_paused(0.0, verdict(LaneAction.PAUSE, pause_seconds=21600.0))
        assert pacer.paused_until == 21600.0

    def test_after_a_pause_one_connection_probes_and_then_the_pace_grows_from_two(self, pacer: Pacer) -> None:
        pacer.on_paused(0.0, PAUSE)
        assert pacer.connections_allowed(10) == 1
        pacer.on_accepted(61.0)
        assert pacer.connections_allowed(10) == 2
        assert pacer.rate(100.0) == 50.0
        pacer.on_accepted(121.0)
        assert pacer.connections_allowed(10) == 3

    def test_a_lane_that_was_down_to_one_connection_stays_there_after_a_pause(self, pacer: Pacer) -> None:
        pacer.on_connection_refused_busy(0.0, 1)
        pacer.on_paused(1.0, PAUSE)
        pacer.on_accepted(62.0)
        assert pacer.connections_allowed(10) == 1

    def test_a_refusal_of_one_recipient_ends_the_probe_too(self, pacer: Pacer) -> None:
        pacer.on_paused(0.0, PAUSE)
        pacer.on_verdict(1.0, OWN_FAULT, open_connections=1)
        assert pacer.connections_allowed(10) == 1
        pacer.on_verdict(61.0, OWN_FAULT, open_connections=1)
        assert pacer.connections_allowed(10) == 2

    def test_a_close_that_nobody_was_charged_for_ends_no_probe(self, pacer: Pacer) -> None:
        pacer.on_paused(0.0, PAUSE)
        pacer.on_verdict(61.0, judge(Stage.RSET, None, Reason.CONNECTION_LOST), open_connections=1)
        assert pacer.connections_allowed(10) == 1


class TestDoubt:
    def test_refusals_with_mail_accepted_between_never_pause(self, pacer: Pacer) -> None:
        for second in range(1000):
            pacer.on_doubt(float(second), WATCH)
            if second % 5 == 0:
                pacer.on_accepted(float(second))
        assert pacer.statistics().pauses == 0

    def test_ten_in_a_row_pause(self, pacer: Pacer) -> None:
        for second in range(9):
            pacer.on_doubt(float(second), WATCH)
        assert not pacer.paused(9.0)
        pacer.on_doubt(9.0, WATCH)
        assert pacer.paused(9.1)

    def test_a_doubtful_refusal_of_the_probe_pauses_again(self, pacer: Pacer) -> None:
        pacer.on_paused(0.0, PAUSE)
        pacer.on_doubt(60.0, WATCH)
        assert pacer.paused_until == 180.0

    def test_one_domains_block_on_a_lane_that_takes_mail_is_believed_at_the_third_time(self, pacer: Pacer) -> None:
        pacer.on_accepted(0.0)
        for second in (1.0, 2.0):
            pacer.on_paused(second, DOUBTFUL)
            assert not pacer.paused(second)
        pacer.on_accepted(2.5)
        for second in (3.0, 4.0):
            pacer.on_paused(second, DOUBTFUL)
        assert not pacer.paused(4.0)
        pacer.on_paused(5.0, DOUBTFUL)
        assert pacer.paused(5.1)

    def test_a_block_on_a_lane_that_took_nothing_yet_is_believed_at_once(self, pacer: Pacer) -> None:
        pacer.on_paused(0.0, DOUBTFUL)
        assert pacer.paused(0.1)

    def test_what_was_taken_before_a_pause_speaks_for_nobody_after_it(self, pacer: Pacer) -> None:
        pacer.on_accepted(0.0)
        pacer.on_paused(1.0, PAUSE)
        pacer.on_paused(62.0, DOUBTFUL)
        assert pacer.paused_until == 182.0

    def test_a_block_before_any_recipient_is_believed_at_once(self, pacer: Pacer) -> None:
        pacer.on_accepted(0.0)
        pacer.on_paused(1.0, PAUSE)
        assert pacer.paused(1.1)


class TestConnecting:
    def test_failures_to_connect_follow_the_campaigns_schedule(self, pacer: Pacer) -> None:
        now = 0.0
        for delay in (300.0, 1800.0, 1800.0):
            pacer.on_connect_failure(now)
            assert pacer.paused_until == now + delay
            now = pacer.paused_until
        assert pacer.pause_reason is Reason.NETWORK
        assert pacer.statistics().connect_failures == 3

    def test_a_greeting_starts_the_schedule_anew(self, pacer: Pacer) -> None:
        pacer.on_connect_failure(0.0)
        pacer.on_connected()
        pacer.on_connect_failure(300.0)
        assert pacer.paused_until == 600.0

    def test_too_many_connections_keeps_to_those_that_are_open(self, pacer: Pacer) -> None:
        pacer.on_connection_refused_busy(0.0, 6)
        pacer.on_connection_refused_busy(0.1, 5)
        pacer.on_connection_refused_busy(0.2, 7)
        assert pacer.connections_allowed(10) == 5
        pacer.on_accepted(500.0)
        assert pacer.connections_allowed(10) == 5
        pacer.on_accepted(601.0)
        assert pacer.connections_allowed(10) == 6
        assert pacer.rate(100.0) == 100.0

    def test_not_even_one_connection_is_a_pause(self, pacer: Pacer) -> None:
        pacer.on_connection_refused_busy(0.0, 0)
        assert pacer.paused_until == 60.0
        assert pacer.pause_reason is Reason.TOO_MANY_CONNECTIONS


class TestMessagesPerConnection:
    def test_two_silent_closes_at_the_same_count_are_a_limit(self, pacer: Pacer) -> None:
        pacer.on_closed_between(0.0, 20)
        assert pacer.messages_per_connection(100) == 100
        pacer.on_closed_between(1.0, 20)
        assert pacer.messages_per_connection(100) == 20
        assert pacer.messages_per_connection(10) == 10

    def test_closes_at_different_counts_teach_nothing(self, pacer: Pacer) -> None:
        for count in (20, 7, 20, 12):
            pacer.on_closed_between(0.0, count)
        assert pacer.messages_per_connection(100) == 100
        assert pacer.rate(100.0) == 100.0

    def test_a_limit_is_only_lowered(self, pacer: Pacer) -> None:
        pacer.on_message_limit(5)
        pacer.on_message_limit(9)
        assert pacer.messages_per_connection(100) == 5

    def test_closed_before_the_first_message_slows_and_then_pauses(self, pacer: Pacer) -> None:
        pacer.on_closed_between(0.0, 0)
        assert (pacer.rate(100.0), pacer.connections_allowed(10)) == (50.0, 10)
        for cut in range(1, SETTINGS.slow_limit):
            pacer.on_closed_between(6.0 * cut, 0)
        assert pacer.paused(19.0)
        assert pacer.pause_reason is Reason.CONNECTION_LOST

    def test_a_rate_cut_without_a_cap_on_connections_recovers_without_one(self, pacer: Pacer) -> None:
        pacer.on_closed_between(0.0, 0)
        pacer.on_accepted(60.0)
        assert (pacer.rate(16.0), pacer.statistics().connection_cap) == (9.0, None)

    def test_a_server_that_says_its_limit_is_believed_at_once(self, pacer: Pacer) -> None:
        said = judge(Stage.MAIL, Reply(code=421, text="Too many messages in this session"))
        pacer.on_verdict(0.0, said, open_connections=4, sent_on_connection=15)
        assert pacer.messages_per_connection(100) == 15
        assert pacer.rate(100.0) == 100.0

    def test_a_limit_of_no_message_at_all_slows(self, pacer: Pacer) -> None:
        pacer.on_verdict(0.0, verdict(LaneAction.RECYCLE, subject=Subject.CONNECTION), open_connections=4)
        assert pacer.messages_per_connection(100) == 100
        assert pacer.rate(100.0) == 50.0

    def test_a_bare_421_at_the_same_count_twice_is_a_limit_and_no_slow_down(self, pacer: Pacer) -> None:
        bare = judge(Stage.MAIL, Reply(code=421, text="Service not available, closing transmission channel"))
        for _ in range(2):
            pacer.on_verdict(0.0, bare, open_connections=4, sent_on_connection=5)
        assert pacer.messages_per_connection(100) == 5
        assert pacer.rate(100.0) == 100.0

    def test_a_bare_421_at_another_count_slows(self, pacer: Pacer) -> None:
        pacer.on_verdict(0.0, ENDED, open_connections=4, sent_on_connection=5)
        pacer.on_verdict(1.0, ENDED, open_connections=4, sent_on_connection=3)
        assert pacer.messages_per_connection(100) == 100
        assert pacer.rate(100.0) == 50.0
        pacer.on_verdict(2.0, ENDED, open_connections=4, sent_on_connection=3)
        assert pacer.messages_per_connection(100) == 3

    def test_a_421_to_a_fresh_connection_slows_and_teaches_no_count(self, pacer: Pacer) -> None:
        pacer.on_verdict(0.0, ENDED, open_connections=4)
        assert (pacer.rate(100.0), pacer.connections_allowed(10)) == (50.0, 2)
        assert pacer.statistics().messages_per_connection is None

    def test_a_site_that_asks_for_less_after_some_messages_is_slowed(self, pacer: Pacer) -> None:
        pacer.on_verdict(0.0, SLOW, open_connections=4, sent_on_connection=5)
        assert (pacer.rate(100.0), pacer.connections_allowed(10)) == (50.0, 2)


class TestVerdicts:
    def test_each_lane_action_reaches_its_signal(self) -> None:
        busy = verdict(LaneAction.SLOW, reason=Reason.TOO_MANY_CONNECTIONS)
        refused = verdict(LaneAction.PAUSE, reason=Reason.TLS, rule="failure")
        pacers = {given: Pacer(RETRY) for given in ("watch", "busy", "slow", "failure", "pause", "none")}
        for _ in range(10):
            pacers["watch"].on_verdict(0.0, WATCH, open_connections=3)
        pacers["busy"].on_verdict(0.0, busy, open_connections=3)
        pacers["slow"].on_verdict(0.0, SLOW, open_connections=3)
        pacers["failure"].on_verdict(0.0, refused, open_connections=0)
        pacers["pause"].on_verdict(0.0, PAUSE, open_connections=3)
        pacers["none"].on_verdict(0.0, OWN_FAULT, open_connections=3)
        found = {
            given: (p.paused_until, p.pause_reason, p.connections_allowed(10), p.rate(2.0))
            for given, p in pacers.items()
        }
        never = float("-inf")
        assert found == {
            "watch": (60.0, Reason.POLICY, 1, 1.0),
            "busy": (never, Reason.NONE, 3, 2.0),
            "slow": (never, Reason.NONE, 1, 1.0),
            "failure": (300.0, Reason.TLS, 1, 2.0),
            "pause": (60.0, Reason.BLOCKED, 1, 1.0),
            "none": (never, Reason.NONE, 10, 2.0),
        }

    def test_a_scaled_pace_has_every_time_shorter_and_nothing_else(self) -> None:
        quick = SETTINGS.scaled(1 / 60)
        pacer = Pacer(RETRY, quick)
        pacer.on_paused(0.0, verdict(LaneAction.PAUSE, pause_seconds=600.0))
        assert pacer.paused_until == pytest.approx(10.0)
        pacer.on_accepted(10.5)
        assert pacer.connections_allowed(10) == 2
        pacer.on_accepted(11.5)
        assert pacer.connections_allowed(10) == 3
        for name in SETTINGS.__struct_fields__:
            ratio = getattr(quick, name) / getattr(SETTINGS, name)
            timed = name.endswith("_seconds") or name == "verdict_scale"
            assert ratio == pytest.approx(1 / 60 if timed else 1.0), name


class TestAgainstReceivers:
    def test_a_receiver_that_refuses_everything_with_a_bland_550_is_left_alone_within_a_minute(self) -> None:
        pacer, now, tried = Pacer(RETRY), 0.0, 0
        pacer.on_accepted(now)
        bland = judge(Stage.RCPT, Reply(code=550, enhanced="5.7.1", text="Refused"))
        assert not bland.suppress
        while now < 3600.0:
            if pacer.paused(now):
                now = pacer.paused_until
                continue
            now += 0.1
            tried += 1
            pacer.on_verdict(now, bland, open_connections=5)
        assert tried <= 20

    def test_the_rate_settles_near_what_a_throttling_receiver_takes(self) -> None:
        pacer, now, window_start, in_window, accepted = Pacer(RETRY), 0.0, 0.0, 0, 0
        too_fast = judge(Stage.MAIL, Reply(code=450, enhanced="4.7.0", text="Rate limit exceeded"))
        taken_per_second, limit = 30, 100.0
        while now < 3600.0:
            if pacer.paused(now):
                now = pacer.paused_until
                continue
            now += 1.0 / pacer.rate(limit)
            if now - window_start >= 1.0:
                window_start, in_window = now, 0
            in_window += 1
            if in_window > taken_per_second:
                pacer.on_verdict(now, too_fast, open_connections=5)
            else:
                accepted += 1
                pacer.on_accepted(now)
        assert pacer.statistics().pauses == 0
        assert accepted / now > 0.5 * taken_per_second
        assert pacer.statistics().slow_downs < 100
