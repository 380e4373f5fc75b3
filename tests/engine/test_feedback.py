import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bulkmail.content.identity import Identity, Issuer
from bulkmail.engine.feedback import AGE_LIMIT_SECONDS, Effect, FeedbackDesk
from bulkmail.engine.returns import feedback_log
from bulkmail.feedback.understand import understand
from bulkmail.model.campaign import Feedback, SoftBounces
from bulkmail.model.delivery import Disposition, Reason, Stage
from bulkmail.policy.feedback import Class
from bulkmail.policy.rules import Rule
from bulkmail.store.chunks import NewChunk
from bulkmail.store.outcomes import Outcome
from bulkmail.store.runs import IntakeProgress, RunState
from bulkmail.store.settings import FeedbackSettings
from bulkmail.store.store import Store
from bulkmail.store.suppressions import SoftBounce, Suppressions
from tests.feedback import messages

NOW = 1_800_000_000.0
ANNA, BERT, UNSENT = range(3)
ADDRESSES = ["anna@house.example", "bert@house.example", "carl@house.example"]


class StoppedClock:
    now = NOW

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Sent:
    """A run of three recipients, two of whom have their mail, while its process still owns the directory."""

    def __init__(self, path: Path, now: float = NOW) -> None:
        self.path = path
        self.clock = StoppedClock()
        self.clock.now = now
        self.store = Store.open(path, clock=self.clock, segment_bytes=1 << 16)
        self.run = self.store.create_run("spring", "c", "r", b"{}")
        progress = IntakeProgress(rows=3, rejected=0, duplicates=0, suppressed=0, watermark=3)
        (self.chunk,) = self.store.ingest(
            self.run.number, [NewChunk("house.example", None, ADDRESSES, [b"[]"] * 3)], progress
        )
        self.store.set_state(self.run.number, RunState.SENDING)
        claimed = self.store.claim(self.run.number, "house.example", now)
        assert claimed is not None
        for index in (ANNA, BERT):
            outcome = Outcome(Disposition.DELIVERED, 1, stage=Stage.MESSAGE, code=250, time=now)
            claimed.outcomes.set(index, outcome)
            self.store.journal.outcome(self.chunk, index, outcome)
        self.store.journal.sync()

    def token(self, index: int) -> str:
        return self.issuer().tokens(self.chunk, index).returning

    def link(self, index: int) -> str:
        return self.issuer().tokens(self.chunk, index).link

    def issuer(self, run: int | None = None) -> Issuer:
        number = self.run.number if run is None else run
        return Identity(self.store.token_keys).issuer(number, self.run.created)

    def about(self, name: str, index: int = ANNA) -> bytes:
        return messages.ALL[name].replace(messages.TOKEN.encode(), self.token(index).encode())

    def suppressed(self, index: int) -> bool:
        with Suppressions.open(self.path) as suppressions:
            return suppressions.contains(ADDRESSES[index])

    def events(self) -> list[dict[str, object]]:
        path = feedback_log(self.path, self.run.id)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def desk(self) -> FeedbackDesk:
        return FeedbackDesk(self.path, self.clock)


@pytest.fixture
def sent(tmp_path: Path) -> Iterator[Sent]:
    made = Sent(tmp_path / "state")
    yield made
    made.store.close()


def test_a_hard_bounce_suppresses_its_recipient_and_leaves_an_event(sent: Sent) -> None:
    with sent.desk() as desk:
        applied = desk.apply(understand(sent.about("standard")))
    assert (applied.effect, applied.recipient, applied.klass) == (Effect.SUPPRESSED, ADDRESSES[ANNA], Class.HARD)
    assert [sent.suppressed(index) for index in (ANNA, BERT)] == [True, False]
    (event,) = sent.events()
    assert [event[key] for key in ("event", "run", "recipient", "code", "reason")] == [
        "bounce", "spring-1", ADDRESSES[ANNA], 550, "user_unknown",
    ]  # fmt: skip


def test_the_same_bounce_again_has_no_further_effect_in_the_same_process_or_another(sent: Sent) -> None:
    report = understand(sent.about("standard"))
    with sent.desk() as desk:
        desk.apply(report)
        assert desk.apply(report).effect is Effect.REPEATED
    with sent.desk() as desk:
        assert desk.apply(report).effect is Effect.REPEATED
    assert len(sent.events()) == 1


def test_a_crash_between_suppression_and_event_is_made_good_by_reading_again(sent: Sent) -> None:
    report = understand(sent.about("standard"))
    with sent.desk() as desk:
        desk.apply(report)
    feedback_log(sent.path, sent.run.id).unlink()
    with sent.desk() as desk:
        desk.apply(report)
    assert len(sent.events()) == 1


@pytest.mark.parametrize("name", ["exim", "warning", "vacation", "person", "newsletter", "receipt"])
def test_nobody_is_suppressed_by_a_block_or_by_what_is_no_bounce(sent: Sent, name: str) -> None:
    with sent.desk() as desk:
        desk.apply(understand(sent.about(name)))
    assert not sent.suppressed(ANNA)
    assert [event["reason"] for event in sent.events()] == (["blocked"] if name == "exim" else [])


@pytest.mark.parametrize("name", ["complaint", "jmrp"])
def test_a_complaint_suppresses_whom_its_token_says(sent: Sent, name: str) -> None:
    with sent.desk() as desk:
        applied = desk.apply(understand(sent.about(name, BERT)))
    assert (applied.effect, applied.reason, applied.recipient) == (Effect.SUPPRESSED, Reason.COMPLAINT, ADDRESSES[BERT])
    assert [sent.suppressed(index) for index in (ANNA, BERT)] == [False, True]


@pytest.mark.parametrize("name", ["standard", "qmail", "complaint", "jmrp"])
def test_without_a_token_of_ours_nothing_has_an_effect(sent: Sent, name: str) -> None:
    with sent.desk() as desk:
        assert desk.apply(understand(messages.ALL[name])).effect is Effect.NONE
    assert not sent.suppressed(ANNA) and sent.events() == []


def test_no_token_that_was_changed_anywhere_has_an_effect(sent: Sent) -> None:
    token, chance = sent.token(ANNA), random.Random(1)
    forged = [token[:at] + other + token[at + 1 :] for at in range(32) for other in "aq7" if other != token[at]]
    forged += ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz234567", k=32)) for _ in range(500)]
    forged += [token[:31], token[1:], token + "a", "0" * 32]
    with sent.desk() as desk:
        for each in forged:
            data = messages.STANDARD.replace(messages.TOKEN.encode(), each.encode())
            assert desk.apply(understand(data)).effect is Effect.NONE
    assert sent.events() == []


def test_a_token_in_capitals_is_still_ours(sent: Sent) -> None:
    data = messages.STANDARD.replace(messages.TOKEN.encode(), sent.token(ANNA).upper().encode())
    with sent.desk() as desk:
        assert desk.apply(understand(data)).effect is Effect.SUPPRESSED


def test_who_was_sent_nothing_cannot_bounce(sent: Sent) -> None:
    with sent.desk() as desk:
        applied = desk.apply(understand(sent.about("standard", UNSENT)))
    assert (applied.effect, applied.why) == (Effect.NONE, "its recipient has not been sent anything")


def test_a_bounce_long_after_the_mail_has_no_effect(sent: Sent) -> None:
    sent.clock.now += AGE_LIMIT_SECONDS + 1
    with sent.desk() as desk:
        assert desk.apply(understand(sent.about("standard"))).effect is Effect.NONE


def test_a_token_of_a_run_that_is_gone_has_no_effect(sent: Sent) -> None:
    gone = sent.issuer(9).tokens(sent.chunk, ANNA).returning.encode()
    with sent.desk() as desk:
        applied = desk.apply(understand(messages.STANDARD.replace(messages.TOKEN.encode(), gone)))
    assert applied.effect is Effect.NONE


def test_a_report_on_several_counts_only_for_the_one_that_was_mailed(sent: Sent) -> None:
    with sent.desk() as desk:
        assert desk.apply(understand(sent.about("qmail", BERT))).reason is Reason.MAILBOX_FULL
        stranger = sent.about("qmail", BERT).replace(b"bert@", b"emil@")
        assert desk.apply(understand(stranger)).why == "it is about other recipients"
    assert not sent.suppressed(ANNA) and not sent.suppressed(BERT)


def test_a_bounce_of_forwarded_mail_is_the_recipients_own(sent: Sent) -> None:
    data = sent.about("standard").replace(b"anna@house.example", b"elsewhere@far.example")
    with sent.desk() as desk:
        assert desk.apply(understand(data)).recipient == ADDRESSES[ANNA]


def test_an_outcome_recorded_after_the_desk_was_opened_is_seen(sent: Sent) -> None:
    with sent.desk() as desk:
        outcome = Outcome(Disposition.DELIVERED, 1, stage=Stage.MESSAGE, code=250, time=NOW)
        sent.store.journal.outcome(sent.chunk, UNSENT, outcome)
        sent.store.journal.sync()
        assert desk.apply(understand(sent.about("standard", UNSENT))).effect is Effect.SUPPRESSED


# Complaints without a token: believed when a known reporter signed them, and for one recipient alone.

REPORTER = "staff@hotmail.com"


@pytest.fixture(scope="module")
def key() -> tuple[bytes, bytes]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem, b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


def complaint(
    key: tuple[bytes, bytes],
    sender: str = REPORTER,
    *,
    domain: str = "hotmail.com",
    rcpt: str = "Original-Rcpt-To: gone@elsewhere.example\n",
    **options: bool,
) -> bytes:
    report = (
        f"From: {sender}\nTo: abuse@garden.example\nSubject: complaint\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="=_b"\n\n'
        "--=_b\nContent-Type: text/plain\n\nA complaint.\n\n--=_b\nContent-Type: message/feedback-report\n\n"
        f"Feedback-Type: abuse\nUser-Agent: x/1\nVersion: 1\n{rcpt}\n--=_b\nContent-Type: message/rfc822\n\n"
        "From: news@garden.example\nTo: list@garden.example\n\nHello\n\n--=_b--\n"
    ).replace("\n", "\r\n")
    signed = dkim.sign(report.encode(), b"s", domain.encode(), key[0], **options)
    return bytes(signed) + report.encode()


def desk_with(sent: Sent, key: tuple[bytes, bytes], asked: list[str]) -> FeedbackDesk:
    def texts(name: str) -> bytes | None:
        asked.append(name.rstrip("."))
        return key[1]

    return FeedbackDesk(sent.path, sent.clock, texts=texts)


def test_a_complaint_signed_by_a_known_reporter_suppresses_its_one_recipient(sent: Sent, key) -> None:
    asked: list[str] = []
    data = complaint(key)
    with desk_with(sent, key, asked) as desk:
        applied = desk.apply(understand(data), data)
        assert desk.apply(understand(data), data).effect is Effect.REPEATED
    assert (applied.effect, applied.recipient) == (Effect.SUPPRESSED, "gone@elsewhere.example")
    assert set(asked) == {"s._domainkey.hotmail.com"}
    with Suppressions.open(sent.path) as suppressions:
        entry = suppressions.check("gone@elsewhere.example")
        assert entry is not None
        assert "signed by hotmail.com" in entry.source


def test_no_other_complaint_without_a_token_has_an_effect_or_looks_a_strangers_key_up(sent: Sent, key) -> None:
    two = "Original-Rcpt-To: a@x.example\nOriginal-Rcpt-To: b@x.example\n"
    good = complaint(key)
    cases = {
        "unsigned": (good.partition(b"From: ")[1] + good.partition(b"From: ")[2], set()),
        "of a stranger": (complaint(key, "staff@evil.example", domain="evil.example"), set()),
        "of another user": (complaint(key, "somebody@hotmail.com"), set()),
        "signed by another domain": (complaint(key, domain="evil.example"), set()),
        "of two recipients": (complaint(key, rcpt=two), set()),
        "of nobody": (complaint(key, rcpt=""), set()),
        "of a part alone": (complaint(key, length=True), set()),
        "changed": (good.replace(b"gone@", b"anna@"), {"s._domainkey.hotmail.com"}),
        "with two senders": (b"From: x@y.example\r\n" + good, set()),
        "no complaint of a person": (good.replace(b"Type: abuse", b"Type: not-spam"), set()),
    }
    for name, (data, looked_up) in cases.items():
        asked: list[str] = []
        with desk_with(sent, key, asked) as desk:
            assert desk.apply(understand(data), data).effect is Effect.NONE, name
        assert set(asked) == looked_up, name


def test_a_campaign_names_further_reporters(sent: Sent, key) -> None:
    feedback = Feedback(trusted_reporters=("fbl.school.example",))
    sent.store.keep_feedback_settings("spring", FeedbackSettings(feedback))
    data = complaint(key, "reports@fbl.school.example", domain="school.example")
    with desk_with(sent, key, []) as desk:
        assert desk.apply(understand(data), data).effect is Effect.SUPPRESSED


def soft(sent: Sent) -> bytes:
    full = messages.report(messages.status(code="5.2.2", text="552 5.2.2 mailbox full"))
    return full.replace(messages.TOKEN.encode(), sent.token(ANNA).encode())


def test_soft_bounces_add_up_by_what_the_campaign_says(sent: Sent) -> None:
    settings = FeedbackSettings(Feedback(soft_bounces=SoftBounces(count=2)))
    sent.store.keep_feedback_settings("spring", settings)
    with sent.desk() as desk:
        assert desk.apply(understand(soft(sent))).effect is Effect.RECORDED
        assert desk.apply(understand(soft(sent))).effect is Effect.REPEATED
    assert not sent.suppressed(ANNA)
    with Suppressions.open(sent.path) as suppressions:
        earlier = SoftBounce(key=ADDRESSES[ANNA], address="", run="spring-0", reason="mailbox_full", time=NOW - 1)
        suppressions.count_soft_bounces([earlier], 86400.0)
    other = soft(sent).replace(b"mailbox full", b"is inactive").replace(b"5.2.2", b"5.2.1")
    with sent.desk() as desk:
        assert desk.apply(understand(other)).effect is Effect.SUPPRESSED
    assert sent.suppressed(ANNA)


def test_rules_of_the_campaign_and_of_the_directory_judge_bounces(sent: Sent) -> None:
    rule = Rule(id="ours", reason="user_unknown", phrases=("mailbox full",))
    sent.store.keep_feedback_settings("spring", FeedbackSettings(rules=(rule,)))
    data = soft(sent).replace(b"5.2.2", b"5.1.1")
    with sent.desk() as desk:
        applied = desk.apply(understand(data))
    assert (applied.rule, applied.effect) == ("ours", Effect.SUPPRESSED)
    (sent.path / "rules.toml").write_text('[[rule]]\nid = "bert"\nreason = "policy"\nphrases = ["mailbox full"]\n')
    sent.store.keep_feedback_settings("spring", FeedbackSettings())
    with sent.desk() as desk:
        assert desk.apply(understand(data)).rule == "bert"
