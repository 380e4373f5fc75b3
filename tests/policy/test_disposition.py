"""`judge`: whom an answer is about, and what becomes of the recipient."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.errors import InternalError
from bulkmail.model.delivery import Disposition, Reason, Reply, Stage
from bulkmail.policy.disposition import LaneAction, Subject, Verdict, judge

TELLING_WORDS = ["user", "unknown", "mailbox", "full", "blocked", "rate", "limit", "disabled", "later", "no", "such"]
ANSWERED = (Stage.RCPT, Stage.DATA, Stage.MESSAGE)
NEVER_THE_ADDRESS = (
    Reason.BLOCKED,
    Reason.RATE_LIMITED,
    Reason.TOO_MANY_CONNECTIONS,
    Reason.GREYLISTED,
    Reason.POLICY,
    Reason.AUTHENTICATION,
    Reason.CONTENT,
    Reason.SYSTEM,
    Reason.OTHER,
)


def said(stage: Stage, line: str) -> Verdict:
    """The verdict on `550 5.1.1 No such user`; `-` for no enhanced code."""
    code, enhanced, text = line.split(" ", 2)
    return judge(stage, Reply(code=int(code), enhanced=None if enhanced == "-" else enhanced, text=text))


class TestAtRcpt:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("550 5.1.1 The address you wrote to is not there", Reason.USER_UNKNOWN),
            ("550 - No such user here", Reason.USER_UNKNOWN),
            ("554 - <blocked@x.example>: recipient unknown", Reason.USER_UNKNOWN),
            ("550 - sorry, 'unknown user'", Reason.USER_UNKNOWN),
            ("550 5.5.0 Requested action not taken: mailbox unavailable", Reason.USER_UNKNOWN),
            ("550 5.2.1 This account has been disabled", Reason.MAILBOX_INACTIVE),
            ("550 5.2.1 -", Reason.MAILBOX_INACTIVE),
            ("551 5.1.6 The user moved to another place", Reason.MOVED),
            ("553 5.1.3 Bad syntax", Reason.BAD_ADDRESS),
        ],
    )
    def test_what_is_said_for_good_of_the_address_bounces_and_suppresses(self, line: str, reason: Reason) -> None:
        verdict = said(Stage.RCPT, line)
        assert (verdict.reason, verdict.disposition) == (reason, Disposition.BOUNCED)
        assert verdict.suppress
        assert verdict.subject is Subject.RECIPIENT
        assert verdict.lane is LaneAction.NONE

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("552 5.2.2 Mailbox is full", Reason.MAILBOX_FULL),
            ("550 5.7.1 Relaying denied", Reason.RELAYING_DENIED),
            ("550 5.1.2 Host unknown", Reason.DOMAIN_UNKNOWN),
            ("556 5.1.10 This domain does not accept mail", Reason.NULL_MX),
            ("554 5.4.6 Too many hops", Reason.LOOP),
            ("550 5.4.1 Recipient address rejected: Access denied", Reason.USER_UNKNOWN),
            ("550 5.7.1 The recipient has blocked you", Reason.POLICY),
            ("550 5.7.1 You are not authorized to send to this group", Reason.POLICY),
            ("550 5.2.0 -", Reason.MAILBOX_INACTIVE),
            ("550 5.2.2 This account is temporarily locked", Reason.MAILBOX_FULL),
            ("550 - This account is temporarily disabled", Reason.MAILBOX_INACTIVE),
        ],
    )
    def test_other_refusals_of_one_recipient_bounce_and_suppress_nothing(self, line: str, reason: Reason) -> None:
        verdict = said(Stage.RCPT, line)
        assert (verdict.reason, verdict.disposition) == (reason, Disposition.BOUNCED)
        assert not verdict.suppress
        assert verdict.subject is Subject.RECIPIENT
        assert verdict.lane is LaneAction.NONE

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("550 5.7.1 Delivery not authorized, message refused", Reason.POLICY),
            ("550 5.7.23 Failed the SPF check", Reason.AUTHENTICATION),
            ("554 5.3.0 Configuration error", Reason.SYSTEM),
            ("550 - -", Reason.OTHER),
        ],
    )
    def test_a_refusal_that_may_concern_all_bounces_and_makes_the_lane_watch(self, line: str, reason: Reason) -> None:
        verdict = said(Stage.RCPT, line)
        assert (verdict.reason, verdict.disposition) == (reason, Disposition.BOUNCED)
        assert verdict.lane is LaneAction.WATCH
        assert not verdict.suppress

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("450 4.2.0 Greylisted, see you in 300 seconds", Reason.GREYLISTED),
            ("421 4.7.1 Greylisted", Reason.GREYLISTED),
            ("451 4.7.1 Please try again later", Reason.GREYLISTED),
            ("550 5.7.1 Greylisting in action", Reason.GREYLISTED),
            ("450 - -", Reason.GREYLISTED),
            ("451 - -", Reason.SYSTEM),
            ("452 4.2.2 Over quota", Reason.MAILBOX_FULL),
            ("450 4.1.1 User unknown for the moment", Reason.USER_UNKNOWN),
            ("450 4.2.1 The user is receiving mail at a rate that is too high", Reason.RATE_LIMITED),
            ("550 5.2.1 This user is receiving mail too quickly", Reason.RATE_LIMITED),
            ("452 4.5.3 Too many recipients", Reason.RATE_LIMITED),
            ("552 - Too many recipients", Reason.RATE_LIMITED),
            ("552 - -", Reason.MAILBOX_FULL),
        ],
    )
    def test_what_passes_defers_the_recipient_alone(self, line: str, reason: Reason) -> None:
        verdict = said(Stage.RCPT, line)
        assert (verdict.reason, verdict.disposition) == (reason, Disposition.DEFERRED)
        assert verdict.subject is Subject.RECIPIENT
        assert verdict.lane is LaneAction.NONE
        assert verdict.charged

    @pytest.mark.parametrize(
        ("line", "reason", "lane"),
        [
            ("450 4.7.0 Rate limit exceeded", Reason.RATE_LIMITED, LaneAction.SLOW),
            ("451 4.3.2 System not accepting messages", Reason.SYSTEM, LaneAction.SLOW),
            ("452 - Server too busy", Reason.SYSTEM, LaneAction.SLOW),
            ("421 4.7.0 Too many concurrent connections", Reason.TOO_MANY_CONNECTIONS, LaneAction.SLOW),
            ("550 - Ip frequency limited", Reason.RATE_LIMITED, LaneAction.PAUSE),
            ("550 - RP:ORQ You sent enough today", Reason.RATE_LIMITED, LaneAction.PAUSE),
            ("450 4.7.650 Come back when you are known", Reason.RATE_LIMITED, LaneAction.SLOW),
        ],
    )
    def test_a_site_that_is_told_too_much_slows_its_lane_and_leaves_the_recipient_alone(
        self, line: str, reason: Reason, lane: LaneAction
    ) -> None:
        verdict = said(Stage.RCPT, line)
        assert (verdict.reason, verdict.lane) == (reason, lane)
        assert verdict.subject is Subject.LANE
        assert verdict.disposition is Disposition.DEFERRED
        assert not verdict.charged

    @pytest.mark.parametrize(
        "line",
        [
            "554 5.7.1 Service unavailable; client host [192.0.2.1] blocked using a list",
            "550 5.7.1 Your IP has a poor reputation",
            "550 5.1.1 user unknown? No: 192.0.2.1 is on our blacklist",
            "553 5.7.2 [TSS09] All messages from 192.0.2.1 will be permanently deferred",
            "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred",
        ],
    )
    def test_a_block_pauses_the_lane_and_defers_the_recipient(self, line: str) -> None:
        verdict = said(Stage.RCPT, line)
        assert verdict.reason is Reason.BLOCKED
        assert (verdict.subject, verdict.lane) == (Subject.LANE, LaneAction.PAUSE)
        assert (verdict.disposition, verdict.charged) == (Disposition.DEFERRED, True)
        assert not verdict.suppress

    def test_what_never_succeeds_pauses_longer_than_what_may(self) -> None:
        forever = said(Stage.MAIL, "421 4.7.1 [TS03] All messages will be permanently deferred")
        for_now = said(Stage.MAIL, "421 4.7.0 [TSS04] Messages temporarily deferred due to user complaints")
        assert forever.lane is for_now.lane is LaneAction.PAUSE
        assert forever.pause_seconds > for_now.pause_seconds > 0


class TestBeforeRcpt:
    @pytest.mark.parametrize("stage", [Stage.GREETING, Stage.EHLO, Stage.AUTH, Stage.MAIL])
    @pytest.mark.parametrize("code", [421, 450, 451, 500, 521, 535, 550, 553, 554])
    def test_no_reply_touches_the_recipient(self, stage: Stage, code: int) -> None:
        for text in ("", "user unknown", "mailbox is full", "no such domain"):
            verdict = judge(stage, Reply(code=code, text=text))
            assert verdict.disposition is Disposition.DEFERRED
            assert verdict.subject in (Subject.LANE, Subject.CONNECTION)
            assert not verdict.charged
            assert not verdict.suppress
            assert verdict.lane in (LaneAction.SLOW, LaneAction.PAUSE)

    @pytest.mark.parametrize("line", ["554 - No SMTP service here", "521 - This host takes no mail", "550 - -"])
    def test_a_host_that_refuses_at_the_greeting_may_be_passed_over_for_the_next(self, line: str) -> None:
        verdict = said(Stage.GREETING, line)
        assert (verdict.subject, verdict.lane) == (Subject.CONNECTION, LaneAction.PAUSE)

    def test_a_busy_host_may_be_passed_over_for_the_next(self) -> None:
        verdict = said(Stage.GREETING, "421 - Service not available, closing transmission channel")
        assert (verdict.subject, verdict.lane) == (Subject.CONNECTION, LaneAction.SLOW)

    def test_greylisting_before_any_recipient_makes_the_lane_wait(self) -> None:
        verdict = said(Stage.MAIL, "450 4.7.1 Greylisted")
        assert (verdict.reason, verdict.subject, verdict.lane) == (Reason.GREYLISTED, Subject.LANE, LaneAction.PAUSE)

    def test_refused_at_the_door_is_a_block(self) -> None:
        verdict = said(Stage.GREETING, "554 - Connection denied")
        assert (verdict.reason, verdict.subject) == (Reason.BLOCKED, Subject.LANE)

    def test_a_block_at_mail_pauses_the_lane(self) -> None:
        verdict = said(Stage.MAIL, "550 5.7.1 -")
        assert (verdict.subject, verdict.lane) == (Subject.LANE, LaneAction.PAUSE)

    def test_a_message_too_large_for_the_server_is_refused_at_mail(self) -> None:
        verdict = said(Stage.MAIL, "552 5.3.4 Message size exceeds fixed limit")
        assert (verdict.subject, verdict.disposition) == (Subject.MESSAGE, Disposition.BOUNCED)
        assert verdict.reason is Reason.TOO_LARGE

    def test_an_address_that_the_server_cannot_take_is_refused_at_mail(self) -> None:
        verdict = said(Stage.MAIL, "553 5.6.7 SMTPUTF8 is not for us")
        assert (verdict.subject, verdict.disposition) == (Subject.RECIPIENT, Disposition.BOUNCED)
        assert verdict.reason is Reason.UNSUPPORTED

    def test_a_connection_that_had_its_share_is_to_be_replaced(self) -> None:
        verdict = said(Stage.MAIL, "421 4.7.0 Too many messages in this session")
        assert (verdict.subject, verdict.lane) == (Subject.CONNECTION, LaneAction.RECYCLE)
        assert not verdict.charged

    def test_a_connection_that_idled_too_long_is_no_sign(self) -> None:
        verdict = said(Stage.MAIL, "421 4.4.2 Connection idle for too long")
        assert (verdict.subject, verdict.lane) == (Subject.CONNECTION, LaneAction.NONE)
        assert not verdict.charged


class TestAfterRcpt:
    @pytest.mark.parametrize("stage", [Stage.DATA, Stage.MESSAGE])
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("554 5.7.1 Message rejected as spam", Reason.CONTENT),
            ("554 5.7.1 Message refused for policy reasons", Reason.POLICY),
            ("550 5.7.26 DMARC says no", Reason.AUTHENTICATION),
            ("554 - Transaction failed", Reason.OTHER),
            ("552 - -", Reason.TOO_LARGE),
        ],
    )
    def test_a_refused_message_bounces_and_suppresses_nothing(self, stage: Stage, line: str, reason: Reason) -> None:
        verdict = said(stage, line)
        assert (verdict.reason, verdict.subject) == (reason, Subject.MESSAGE)
        assert verdict.disposition is Disposition.BOUNCED
        assert not verdict.suppress

    def test_a_user_who_is_clearly_unknown_is_suppressed_even_after_the_message(self) -> None:
        assert said(Stage.MESSAGE, "550 5.1.1 No such user").suppress
        assert not said(Stage.MESSAGE, "550 - Mailbox unavailable").suppress

    @pytest.mark.parametrize(
        "line",
        [
            "550 - Reject due to policy restrictions",
            "550 5.7.1 An unusual rate of mail comes from you",
            "554 - HL:ITC 192.0.2.1",
            "550 - Domain frequency limited",
        ],
    )
    def test_a_5yz_that_means_slow_down_defers(self, line: str) -> None:
        verdict = said(Stage.MESSAGE, line)
        assert (verdict.disposition, verdict.subject) == (Disposition.DEFERRED, Subject.LANE)
        assert verdict.lane is LaneAction.PAUSE
        assert not verdict.suppress

    def test_a_421_after_the_message_is_an_attempt_for_the_content_may_be_the_cause(self) -> None:
        verdict = said(Stage.MESSAGE, "421 - Something broke")
        assert (verdict.subject, verdict.disposition) == (Subject.CONNECTION, Disposition.DEFERRED)
        assert verdict.charged
        assert not said(Stage.RCPT, "421 - Something broke").charged

    def test_content_suspected_for_now_is_tried_again(self) -> None:
        verdict = said(Stage.MESSAGE, "451 4.7.1 Message suspected as spam")
        assert (verdict.subject, verdict.disposition) == (Subject.MESSAGE, Disposition.DEFERRED)


class TestWithoutReply:
    @pytest.mark.parametrize("reason", [Reason.NETWORK, Reason.TIMEOUT, Reason.CONNECTION_LOST, Reason.PROTOCOL])
    @pytest.mark.parametrize(
        ("stage", "disposition", "charged"),
        [
            (Stage.CONNECT, Disposition.DEFERRED, False),
            (Stage.GREETING, Disposition.DEFERRED, False),
            (Stage.MAIL, Disposition.DEFERRED, False),
            (Stage.RCPT, Disposition.DEFERRED, True),
            (Stage.DATA, Disposition.DEFERRED, True),
            (Stage.MESSAGE, Disposition.IN_DOUBT, True),
        ],
    )
    def test_only_a_message_fully_written_is_in_doubt(
        self, reason: Reason, stage: Stage, disposition: Disposition, charged: bool
    ) -> None:
        verdict = judge(stage, None, reason)
        assert (verdict.disposition, verdict.charged, verdict.reason) == (disposition, charged, reason)
        assert not verdict.suppress
        assert verdict.rule == "failure"

    @pytest.mark.parametrize(
        ("reason", "subject", "disposition"),
        [
            (Reason.DNS, Subject.RECIPIENT, Disposition.DEFERRED),
            (Reason.DOMAIN_UNKNOWN, Subject.RECIPIENT, Disposition.BOUNCED),
            (Reason.NULL_MX, Subject.RECIPIENT, Disposition.BOUNCED),
            (Reason.UNSUPPORTED, Subject.RECIPIENT, Disposition.BOUNCED),
            (Reason.TOO_LARGE, Subject.MESSAGE, Disposition.BOUNCED),
            (Reason.LOOP, Subject.RECIPIENT, Disposition.BOUNCED),
            (Reason.EXPIRED, Subject.RECIPIENT, Disposition.EXPIRED),
            (Reason.SUPPRESSED, Subject.RECIPIENT, Disposition.SUPPRESSED),
            (Reason.OTHER, Subject.RECIPIENT, Disposition.DEFERRED),
        ],
    )
    def test_what_is_known_before_anything_is_sent(
        self, reason: Reason, subject: Subject, disposition: Disposition
    ) -> None:
        verdict = judge(Stage.DNS, None, reason)
        assert (verdict.subject, verdict.disposition, verdict.suppress) == (subject, disposition, False)

    def test_a_message_that_cannot_be_made_bounces(self) -> None:
        assert judge(Stage.COMPOSE, None, Reason.OTHER).disposition is Disposition.BOUNCED

    def test_a_close_between_messages_asks_nothing_of_the_lane(self) -> None:
        assert judge(Stage.RSET, None, Reason.CONNECTION_LOST).lane is LaneAction.NONE

    def test_a_5yz_that_came_before_the_connection_died_still_counts(self) -> None:
        verdict = judge(Stage.RCPT, Reply(code=550, enhanced="5.1.1", text="unknown"), Reason.CONNECTION_LOST)
        assert (verdict.disposition, verdict.reason) == (Disposition.BOUNCED, Reason.USER_UNKNOWN)

    def test_a_success_that_nothing_asked_for_breaks_the_protocol(self) -> None:
        assert judge(Stage.DATA, Reply(code=250, text="ok")).reason is Reason.PROTOCOL
        assert judge(Stage.MESSAGE, Reply(code=354, text="go on")).disposition is Disposition.IN_DOUBT

    def test_nothing_to_judge_is_our_own_defect(self) -> None:
        with pytest.raises(InternalError, match="nothing to judge at rcpt"):
            judge(Stage.RCPT, None)


@given(
    stage=st.sampled_from(Stage),
    code=st.integers(400, 599),
    enhanced=st.none() | st.from_regex(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True) | st.text(max_size=9),
    text=st.text(max_size=200) | st.lists(st.sampled_from(TELLING_WORDS)).map(" ".join),
)
def test_any_reply_gets_a_verdict_that_keeps_the_promises(
    stage: Stage, code: int, enhanced: str | None, text: str
) -> None:
    verdict = judge(stage, Reply(code=code, enhanced=enhanced, text=text))
    assert verdict.disposition in (Disposition.DEFERRED, Disposition.BOUNCED)
    if code < 500:
        assert verdict.disposition is Disposition.DEFERRED
    if verdict.suppress:
        assert stage in ANSWERED
        assert code >= 500
        assert verdict.disposition is Disposition.BOUNCED
        assert verdict.subject is Subject.RECIPIENT
        assert verdict.reason not in NEVER_THE_ADDRESS
    if verdict.subject is Subject.LANE:
        assert verdict.lane in (LaneAction.SLOW, LaneAction.PAUSE)
        assert verdict.disposition is Disposition.DEFERRED


def test_an_enhanced_code_of_another_class_is_as_good_as_none() -> None:
    assert judge(Stage.RCPT, Reply(code=550, enhanced="2.1.1", text="")).reason is Reason.OTHER
    assert judge(Stage.RCPT, Reply(code=550, enhanced="5.1.1", text="")).reason is Reason.USER_UNKNOWN
    assert judge(Stage.RCPT, Reply(code=550, enhanced="5.1.²", text="")).reason is Reason.OTHER


@pytest.mark.parametrize(
    "text", ["mailbox " * 8192, "user unknow " * 5000, "'" * 65536, "a" * 65536, "\u0130" * 65536, "ip . " * 20000]
)
def test_a_hostile_text_costs_milliseconds(text: str) -> None:
    judge(Stage.RCPT, Reply(code=550, text="rules are read at the first call"))
    started = time.process_time()
    for _ in range(5):
        judge(Stage.RCPT, Reply(code=550, text=text))
    assert time.process_time() - started < 1
