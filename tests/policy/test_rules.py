"""The data files hold together, and phrases mean what their documentation says."""

import pytest

from bulkmail.errors import InternalError
from bulkmail.model.delivery import Reason, Stage
from bulkmail.policy import rules
from bulkmail.policy.rules import Effect, Rule, RuleBook, effect_of_failure, effect_of_reply, plain_words

ANY = Rule(id="any", reason="other")


def fits(phrase: str, text: str) -> bool:
    book = RuleBook([Rule(id="phrase", reason="policy", phrases=(phrase,)), ANY])
    return book.first(Stage.RCPT, 550, None, plain_words(text)).rule.id == "phrase"


@pytest.mark.parametrize(
    ("phrase", "text", "expected"),
    [
        ("reject", "it was rejected", True),
        ("reject.", "it was rejected", False),
        ("reject.", "a reject; nothing else", True),
        ("listed", "unlisted", False),
        ("mail box", "MAIL-BOX", True),
        ("mail box", "mail_box", True),
        ("doesn't", "doesn\u2019t", True),
        ("user", "'user'", True),
        ("mailbox * full", "the mailbox of this person is full", True),
        ("mailbox * full", "the mailbox is empty, the moon is full" + " really" * 20, True),
        ("mailbox * full", "mailbox" + " very" * 20 + " full", False),
        ("mailbox * full", "mailbox" + " very" * 20 + " mailbox full", True),
        ("mailbox * full", "full mailbox", False),
        ("ip. * blocked", "ip blocked", True),
        ("ip. * blocked", "ipswich blocked", False),
    ],
)
def test_a_phrase_is_words_begun_at_their_start(phrase: str, text: str, expected: bool) -> None:
    assert fits(phrase, text) is expected


def test_a_phrase_is_sought_at_its_first_places_only() -> None:
    many = "mailbox" + " x" * 60 + " "
    assert fits("mailbox * full", many * 15 + "mailbox full")
    assert not fits("mailbox * full", many * 16 + "mailbox full")


def test_the_first_rule_that_fits_decides() -> None:
    book = RuleBook(
        [
            Rule(id="rcpt", reason="policy", stages=("rcpt",), phrases=("nope",)),
            Rule(id="code", reason="policy", codes=(551,)),
            Rule(id="class", reason="policy", classes=(4,)),
            Rule(id="enhanced", reason="policy", enhanced=("1.1", "7.10-12")),
            Rule(id="none", reason="policy", enhanced=("none",), phrases=("quiet",)),
            ANY,
        ]
    )

    def first(stage: Stage, code: int, enhanced: tuple[int, int] | None, text: str) -> str:
        return book.first(stage, code, enhanced, text).rule.id

    assert first(Stage.RCPT, 551, (1, 1), "nope") == "rcpt"
    assert first(Stage.MAIL, 551, (1, 1), "nope") == "code"
    assert first(Stage.MAIL, 450, (1, 1), "nope") == "class"
    assert first(Stage.MAIL, 550, (1, 1), "nope") == "enhanced"
    assert first(Stage.MAIL, 550, (7, 12), "nope") == "enhanced"
    assert first(Stage.MAIL, 550, None, "quiet") == "none"
    assert first(Stage.MAIL, 550, (7, 13), "quiet") == "any"


def test_a_book_without_a_rule_for_any_is_our_own_defect() -> None:
    with pytest.raises(InternalError, match="no rule for 550 at rcpt"):
        RuleBook([]).first(Stage.RCPT, 550, None, "")


def test_a_phrase_too_short_for_the_index_is_refused() -> None:
    with pytest.raises(ValueError, match="rule short"):
        RuleBook([Rule(id="short", reason="other", phrases=("ip",))])


def test_rule_names_are_unique_and_the_last_rule_fits_any_reply() -> None:
    names = [rule.rule.id for rule in rules.rule_book().rules]
    assert len(names) == len(set(names))
    assert rules.rule_book().rules[-1].rule == ANY


def test_every_phrase_is_in_plain_words_or_a_sign_it_may_have() -> None:
    for rule in rules.rule_book().rules:
        for phrase in rule.rule.phrases:
            for part in phrase.split("*"):
                assert plain_words(part), f"{rule.rule.id}: {phrase!r} has an empty part"


def test_no_rule_could_suppress_a_recipient_for_what_concerns_the_source() -> None:
    for rule in rules.rule_book().rules:
        for stage in Stage:
            for code in (421, 450, 550):
                effect = effect_of_reply(stage, code, rule.rule.treat or code // 100, rule.reason)
                if effect.suppress:
                    assert rule.reason in (
                        Reason.USER_UNKNOWN,
                        Reason.MAILBOX_INACTIVE,
                        Reason.MOVED,
                        Reason.BAD_ADDRESS,
                    )


def test_every_reason_has_an_effect_at_every_stage() -> None:
    for stage in Stage:
        for reason in Reason:
            assert isinstance(effect_of_failure(stage, reason), Effect)
            for code in (421, 450, 550):
                assert isinstance(effect_of_reply(stage, code, code // 100, reason), Effect)


def test_an_effect_that_is_missing_is_our_own_defect() -> None:
    with pytest.raises(InternalError, match="nothing of blocked at rcpt"):
        rules.first_effect((), Stage.RCPT, 550, 5, Reason.BLOCKED)
