"""The examples of docs/content.md do what the page says."""

import re
from pathlib import Path

import pytest

from bulkmail.content.template import Mode, Source, parse_template
from tests.content.conftest import MakeCampaign
from tests.content.test_folder import shown

GUIDE = (Path(__file__).parents[2] / "docs" / "content.md").read_text()
ROWS = re.findall(r"^\| [^|]+ \| `(\{\{.+?\}\})` \| (.+?) \|$", GUIDE, re.MULTILINE)


@pytest.mark.parametrize(("template", "expected"), ROWS)
def test_a_filter_gives_what_the_table_says(make_campaign: MakeCampaign, template: str, expected: str) -> None:
    text = shown(make_campaign(html=template.replace("\\|", "|")))
    assert re.sub(r"[\s\xa0\u202f]", " ", text) == expected


def test_there_is_a_row_for_each_kind() -> None:
    assert len(ROWS) == 5


@pytest.mark.parametrize("template", re.findall(r"```jinja\n(.+?)```", GUIDE, re.DOTALL))
def test_the_longer_examples_compile(template: str) -> None:
    assert parse_template(Source(text=template, mode=Mode.HTML, file="guide.html")).segments is not None
