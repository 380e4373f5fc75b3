"""A user's own rules: before ours, and a slip in them is named with its line."""

from pathlib import Path

import pytest

from bulkmail.config.load import load_campaign
from bulkmail.config.rules import FILE_LIMIT, read_rules, state_rules
from bulkmail.errors import CampaignError
from bulkmail.model.delivery import Reason, Reply, Stage
from bulkmail.policy.disposition import judge
from bulkmail.policy.rules import rule_book

GOOD = """\
# What our partner says when it is closed for the night.
[[rule]]
id = "night"
reason = "greylisted"
stages = ["rcpt"]
phrases = ["{closed|shut} for the night"]
treat = 4

[[rule]]
id = "their-code"
reason = "user_unknown"
codes = [577]
enhanced = ["7.900-999"]
suppress = false
"""


def test_a_rule_of_the_users_goes_before_ours_and_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(GOOD)
    book = rule_book().after(state_rules(tmp_path))
    reply = Reply(code=550, enhanced="5.1.1", text="User unknown: we are shut for the night")
    assert judge(Stage.RCPT, reply).reason is Reason.USER_UNKNOWN
    ours = judge(Stage.RCPT, reply, book=book)
    assert (ours.rule, ours.reason, ours.disposition.label) == ("night", Reason.GREYLISTED, "deferred")
    other = judge(Stage.RCPT, Reply(code=577, enhanced="5.7.950", text="x"), book=book)
    assert (other.rule, other.suppress) == ("their-code", False)
    plain = Reply(code=552, enhanced="5.2.2", text="mailbox full")
    assert judge(Stage.RCPT, plain, book=book) == judge(Stage.RCPT, plain)


def test_a_directory_without_rules_has_none(tmp_path: Path) -> None:
    assert state_rules(tmp_path) == ()
    assert rule_book().after(()) is rule_book()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('reason = "greylisted"', 'reason = "greylsted"', ":4: reason: 'greylsted' is none; did you mean greylisted?"),
        ('stages = ["rcpt"]', 'stages = ["rcp"]', ":5: stages: 'rcp' is none; did you mean rcpt?"),
        ("treat = 4", "treet = 4", ":7: treet: Object contains unknown field `treet`; did you mean treat?"),
        ("treat = 4", "treat = 3", ":7: treat: Invalid enum value 3"),
        ("codes = [577]", 'codes = ["577"]', ":12: codes: Expected `int`, got `str`"),
        ("codes = [577]", "codes = [250]", ":12: codes: 250 is no refusal"),
        ('"7.900-999"', '"5.7.900"', ":13: enhanced: '5.7.900' is no subject and detail"),
        ('"{closed|shut} for the night"', '"ip"', ":6: phrases: rule night: the phrase 'ip' begins with too few"),
        ('id = "night"', 'id = "user-unknown"', ":3: id: 'user-unknown' is taken"),
        ('id = "their-code"', 'id = "night"', ":10: id: 'night' is taken"),
        ('id = "night"\n', "", ":2: id: Object missing required field `id`"),
        ('codes = [577]\nenhanced = ["7.900-999"]\n', "", ":9: rule: their-code has no condition"),
        ("[[rule]]\nid", "[[rules]]\nid", ":2: rules: no such table"),
        ("treat = 4", "treat = ", ":7: is no TOML: Invalid value (at line 7"),
    ],
)
def test_a_slip_is_named_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "rules.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(CampaignError) as caught:
        read_rules(path)
    assert str(caught.value).startswith(f"{path}{said}"), str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff", "is not UTF-8"), (b"#" * (FILE_LIMIT + 1), "larger"), (b"[rule]\nid = 1\n", "write [[rule]]")],
)
def test_what_is_no_file_of_rules_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(content)
    with pytest.raises(CampaignError, match=said.replace("[", r"\[")):
        read_rules(path)
    with pytest.raises(CampaignError, match="cannot be read"):
        read_rules(tmp_path / "none.toml")


def test_a_campaign_with_a_slip_in_its_rules_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "body.txt").write_text("Hello\n")
    (tmp_path / "rules.toml").write_text(GOOD.replace("greylisted", "greylsted"))
    campaign = tmp_path / "c.yaml"
    campaign.write_text(
        "campaign: c\nkind: transactional\nfrom: a@garden.example\nsubject: S\ncontent: {text: body.txt}\n"
        "feedback: {rules: rules.toml}\n"
    )
    with pytest.raises(CampaignError, match=r"rules\.toml:4: reason: 'greylsted' is none"):
        load_campaign(campaign, recipients_required=False)
    campaign.write_text(campaign.read_text().replace("rules.toml", "rule.toml"))
    with pytest.raises(CampaignError, match=r'c\.yaml:6: feedback\.rules: "rule\.toml" does not exist; did you mean'):
        load_campaign(campaign, recipients_required=False)
