"""When a row may first be mailed: whole minutes, never early, and never guessed."""

import pytest

from bulkmail.content.compiler import compile_content
from bulkmail.errors import CampaignError
from tests.content.conftest import MakeCampaign


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1970-01-01T00:10:00Z", 600),
        ("1970-01-01T00:10:00.5+00:00", 660),
        ("1970-01-01T02:10:01+02:00", 660),
        (600, 600),
        (601.0, 660),
        (-5, 0),
        (None, 0),
        ("", 0),
    ],
)
def test_a_time_is_the_next_whole_minute(make_campaign: MakeCampaign, value: object, seconds: float) -> None:
    program = compile_content(make_campaign(send_at="when"))
    assert program.problem({"when": value}) is None
    assert program.send_time({"when": value}) == seconds
    assert program.plain_rules is None
    assert program.fields == ()


@pytest.mark.parametrize("value", ["soon", "2027-05-08T10:00:00", "2027-05-08", True, [], "2027-13-01T00:00:00Z"])
def test_a_time_that_is_none_or_has_no_zone_rejects_its_row(make_campaign: MakeCampaign, value: object) -> None:
    program = compile_content(make_campaign(send_at="when"))
    assert (program.problem({"when": value}) or "").startswith("field when: ")


def test_the_field_has_to_be_there(make_campaign: MakeCampaign) -> None:
    assert compile_content(make_campaign()).send_time({"when": 600}) == 0
    with pytest.raises(CampaignError, match=r"send_at: wen is no field.*did you mean when"):
        compile_content(make_campaign(send_at="wen"), columns=["email", "when"])
