"""Templates that use each other stay within the campaign's folder, and complain in the file that is wrong."""

from pathlib import Path

import msgspec
import pytest

from bulkmail.content.compiler import compile_content
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, Content


def campaign_with(folder: Path, **files: str) -> Campaign:
    for name, text in files.items():
        path = folder / "campaign" / name.replace("__", "/").replace("_html", ".html")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Campaign(
        campaign="spring",
        from_="news@garden.example",
        subject="x",
        content=Content(html=str(folder / "campaign" / "page.html")),
        file=str(folder / "campaign" / "campaign.yaml"),
    )


def shown(campaign: Campaign, **fields: object) -> str:
    texts = set()
    for compiled in (True, False):
        program = compile_content(campaign, compiled=compiled)
        texts.add(program.preview("a@b.example", program.encode_row(fields)).html or "")
    assert len(texts) == 1
    return texts.pop().strip().replace("\r\n", "\n")


def test_a_name_is_looked_for_beside_the_template_and_then_in_the_folder(tmp_path: Path) -> None:
    campaign = campaign_with(
        tmp_path,
        page_html="{% include 'parts/a.html' %}|{% include 'b.html' %}",
        parts__a_html="a{% include 'b.html' %}{% include 'c.html' %}",
        parts__b_html="inner",
        b_html="outer",
        c_html="c",
    )
    assert shown(campaign) == "ainnerc|outer"


def test_macros_are_imported_and_see_the_recipient(tmp_path: Path) -> None:
    campaign = campaign_with(
        tmp_path,
        page_html="{% import 'm.html' as m %}{% from 'm.html' import hi as hello %}{{ m.hi('<x>') }}{{ hello(2) }}"
        "{% call m.box() %}in {{ name }}{% endcall %}",
        m_html="{% macro hi(a) %}<b>{{ a }} {{ name }}</b>{% endmacro %}"
        "{% macro box() %}[{{ caller() }}]{% endmacro %}{% for i in [1] %}{{ i }}{% endfor %}",
    )
    assert shown(campaign, name="&") == "<b>&lt;x&gt; &amp;</b><b>2 &amp;</b>[in &amp;]"


def test_blocks_take_the_place_of_those_of_the_layout(tmp_path: Path) -> None:
    campaign = campaign_with(
        tmp_path,
        page_html="{% extends 'mid.html' %}{% block a %}({{ super() }}){{ name }}{% endblock %}",
        mid_html="{% extends 'top.html' %}{% block a %}mid{% endblock %}{% block b %}b2{% endblock %}",
        top_html="{% block a %}top{% endblock %}-{% block b %}b{% endblock %}-{{ self.b() }}",
    )
    assert shown(campaign, name="n") == "(mid)n-b2-b2"


def test_what_a_template_sets_is_known_where_it_includes(tmp_path: Path) -> None:
    campaign = campaign_with(
        tmp_path, page_html="{% set colour = 'red' %}{% include 'x.html' %}", x_html="{{ colour }}"
    )
    assert compile_content(campaign, columns=["email"]).fields == ()
    assert shown(campaign) == "red"


@pytest.mark.parametrize(
    "name", ["../secret.html", "/etc/passwd", "link.html", "../campaign/../secret.html", "no.html", ""]
)
def test_nothing_outside_of_the_folder_can_be_included(tmp_path: Path, name: str) -> None:
    campaign = campaign_with(tmp_path, page_html=f"\n{{% include '{name}' %}}")
    (tmp_path / "secret.html").write_text("secret")
    (tmp_path / "campaign" / "link.html").symlink_to(tmp_path / "secret.html")
    with pytest.raises(CampaignError, match=r"page.html:2: there is no template"):
        compile_content(campaign)


def test_a_missing_one_may_be_left_out_where_the_template_says_so(tmp_path: Path) -> None:
    assert shown(campaign_with(tmp_path, page_html="a{% include 'no.html' ignore missing %}b")) == "ab"
    assert shown(campaign_with(tmp_path, page_html="{% include ['no.html', 'x.html'] %}", x_html="x")) == "x"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\n{{ a.b() }}", r"x.html:2: calls are not available"),
        ("\n{% if %}", r"x.html:2: "),
        ("\n{{ a | evil }}", r"x.html:2: there is no filter evil"),
        ("\n{{ nam }}", r"x.html:2: nam is no field of the recipients; did you mean name"),
        ("\n<p title={{ name }}>", r"x.html:2: the attribute title needs quotes"),
        ("\n{% include 'page.html' %}", r"x.html:2: page.html includes itself"),
    ],
)
def test_what_is_wrong_in_an_included_file_is_told_with_its_own_line(tmp_path: Path, text: str, complaint: str) -> None:
    campaign = campaign_with(tmp_path, page_html="{% include 'x.html' %}", x_html=text)
    with pytest.raises(CampaignError, match=complaint):
        compile_content(campaign, columns=["name"])


def test_inline_images_are_found_in_what_is_included_too(tmp_path: Path) -> None:
    campaign = campaign_with(tmp_path, page_html="{% include 'x.html' %}", x_html='<img src="cid:logo.png">')
    (tmp_path / "logo.png").write_bytes(b"x")
    content = Content(html=campaign.content.html, inline=(str(tmp_path / "logo.png"),))
    page = shown(msgspec.structs.replace(campaign, content=content))
    assert "cid:logo.png" not in page and "@garden.example" in page
    with pytest.raises(CampaignError, match=r"x.html:1: cid:logo.png is not in content.inline"):
        compile_content(campaign)
