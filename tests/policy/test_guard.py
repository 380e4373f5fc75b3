"""A run or a site with too many dead addresses raises an alarm."""

from bulkmail.model.delivery import Disposition
from bulkmail.policy.guard import Alarm, Guard, GuardSettings

DELIVERED, BOUNCED, DEFERRED = Disposition.DELIVERED, Disposition.BOUNCED, Disposition.DEFERRED


def test_few_answers_are_no_reason_to_stop() -> None:
    guard = Guard()
    assert guard.observe(BOUNCED, True, "google", count=199) is None
    assert guard.observe(BOUNCED, True, "google") == Alarm(None, 200, 200)


def test_a_tenth_is_still_no_alarm_and_more_is() -> None:
    guard = Guard()
    assert guard.observe(DELIVERED, False, "google", count=270) is None
    assert guard.observe(BOUNCED, True, "google", count=30) is None
    alarm = guard.observe(BOUNCED, True, "google")
    assert alarm == Alarm(None, 301, 31)
    assert str(alarm) == "31 of 301 recipients in this run do not exist"


def test_one_site_can_alarm_where_the_run_is_well() -> None:
    guard = Guard(GuardSettings(least_answers=10, most_hard_bounces=0.5))
    assert guard.observe(DELIVERED, False, "google", count=1000) is None
    alarm = guard.observe(BOUNCED, True, "mx.example", count=10)
    assert alarm == Alarm("mx.example", 10, 10)
    assert str(alarm) == "10 of 10 recipients at mx.example do not exist"
    assert guard.alarm("google") is None
    assert guard.alarm("never.seen") is None


def test_refusals_of_the_content_and_deferrals_do_not_count_against_the_list() -> None:
    guard = Guard()
    assert guard.observe(BOUNCED, False, "google", count=1000) is None
    assert guard.observe(DEFERRED, False, "google", count=10**6) is None
    assert guard.observe(BOUNCED, True, "google", count=111) is None
    assert guard.observe(BOUNCED, True, "google") == Alarm(None, 1112, 112)
