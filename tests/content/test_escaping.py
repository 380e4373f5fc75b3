"""What a value may be depends on where in the page it is printed."""

import pytest

from bulkmail.content.compiler import compile_content
from bulkmail.content.escaping import TEXT, feed
from bulkmail.errors import CampaignError
from tests.content.conftest import MakeCampaign


@pytest.mark.parametrize(
    ("page", "kind", "attribute"),
    [
        ("", "text", ""),
        ("<p>x", "text", ""),
        ("a < b", "text", ""),
        ("<p", "name", ""),
        ("<p ", "tag", ""),
        ("<p class", "attribute", "class"),
        ("<p class=", "before", "class"),
        ("<p class = ", "before", "class"),
        ("<p class=x", "bare", "class"),
        ("<p class=\"a'", "quoted", "class"),
        ("<p class='a\"b", "quoted", "class"),
        ('<p class="a">', "text", ""),
        ('<a title="a>b" href="', "quoted", "href"),
        ("<br/>", "text", ""),
        ("<p hidden class='", "quoted", "class"),
        ("<!-- <a href='", "comment", ""),
        ("<!-- x -->", "text", ""),
        ('<!--[if mso]><v:rect href="', "quoted", "href"),
        ("<!--[if mso]>x<![endif]-->", "text", ""),
        ("<!DOCTYPE html><html>", "text", ""),
        ("<style>a > b {", "raw", ""),
        ("<style></style >", "text", ""),
        ("<script>'</p>'", "raw", ""),
        ("<textarea><b ", "raw", ""),
        ("</p", "name", ""),
    ],
)
def test_the_place_is_where_a_browser_would_be(page: str, kind: str, attribute: str) -> None:
    whole = feed(TEXT, page)
    assert (whole.kind, whole.attribute if whole.kind in ("attribute", "before", "quoted", "bare") else "") == (
        kind,
        attribute,
    )
    state = TEXT
    if "<!" not in page and "<s" not in page:  # these are told apart by characters that must come in one piece
        for character in page:
            state = feed(state, character)
        assert state.kind == kind


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("<p title={{ a }}>", 'the attribute title needs quotes around its value: title="..."'),
        ("<p title=x{{ a }}>", "needs quotes"),
        ("<p {{ a }}>", "cannot stand inside a tag"),
        ("<{{ a }}>", "cannot stand inside a tag"),
        ("<p data-{{ a }}='x'>", "cannot stand inside a tag"),
        ('<p onclick="x({{ a }})">', "would be run as a script"),
        ("<script>x = {{ a }}</script>", "tojson"),
        ('<p {% if b %}title="{% else %}title={% endif %}{{ a }}">', "needs quotes"),
        ("{% for x in b %}<p title={{ x }}{% endfor %}", "needs quotes"),
        ("<p{% if b %} {% else %}>{% endif %}{{ a }}>", "cannot stand inside a tag"),
    ],
)
def test_a_value_where_nothing_makes_it_safe_is_refused_with_its_line(
    make_campaign: MakeCampaign, page: str, complaint: str
) -> None:
    with pytest.raises(CampaignError, match=r"body.html:2: ") as caught:
        compile_content(make_campaign(html="\n" + page))
    assert complaint in str(caught.value)


def test_marked_as_safe_it_is_the_authors_word(make_campaign: MakeCampaign) -> None:
    compile_content(make_campaign(html="<td {{ attributes | safe }}>"))
    compile_content(make_campaign(html='<td {% if a %}class="{{ a }}"{% endif %}>'))
    compile_content(make_campaign(html='<script type="application/ld+json">{{ a | tojson }}</script>'))


DANGEROUS = ["javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)",
             "java\nscript:x", "\x01javascript:x", "data:text/html,<script>", "vbscript:x", "file:///etc/passwd", ":x",
             "blob:x", "intent:x"]  # fmt: skip


@pytest.mark.parametrize("value", DANGEROUS)
@pytest.mark.parametrize(
    "page",
    ['<a href="{{ a }}">x</a>', "<img src='{{ a }}'>", '<a href="{{ a | safe }}">x</a>',
     '<a href="{{ b }}{{ a }}">x</a>', "<td background=\"{{ a | trim }}\">",
     '<!--[if mso]><v:rect href="{{ a }}"><![endif]-->',
     '<a {% if b %}href="{% else %}src="{% endif %}{{ a }}">'],
)  # fmt: skip
@pytest.mark.parametrize("compiled", [True, False])
def test_a_link_that_runs_is_a_problem_of_its_row(
    make_campaign: MakeCampaign, page: str, value: str, compiled: bool
) -> None:
    program = compile_content(make_campaign(html=page), compiled=compiled)
    assert "no link may" in (program.problem({"a": value, "b": "x"}) or "")


def test_a_scheme_split_over_two_values_is_none(make_campaign: MakeCampaign) -> None:
    program = compile_content(make_campaign(html='<a href="{{ a }}{{ b }}">x</a>'))
    assert "no link may" in (program.problem({"a": "javascript", "b": ":alert(1)"}) or "")


@pytest.mark.parametrize(
    "value", ["https://x.example/a?b=c:d", "/a:b", "#a", "?q=a:b", "mailto:a@b.example", "tel:+1", "x"]
)
def test_links_that_run_nothing_are_printed(make_campaign: MakeCampaign, value: str) -> None:
    program = compile_content(make_campaign(html='<a href="{{ a }}">x</a><a href="https://x.example/{{ a }}">y</a>'))
    assert program.problem({"a": value}) is None


@pytest.mark.parametrize("value", ["red;background:url(x)", "expression(1)", "a{b}", "/*", "@import", "\\65"])
def test_a_value_in_a_style_is_one_word_of_it(make_campaign: MakeCampaign, value: str) -> None:
    for page in ('<p style="color: {{ a }}">', "<style>p { color: {{ a }} }</style>"):
        program = compile_content(make_campaign(html=page))
        assert "into a style" in (program.problem({"a": value}) or "")
        assert program.problem({"a": "#ff0000"}) is None
