"""MJML, Markdown, inlined styles, derived texts and pre-headers, with their Jinja2 as it was."""

import sys
from typing import Any

import pytest

from bulkmail.content.compiler import compile_content
from bulkmail.content.plain import plain_text
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from tests.content.conftest import MakeCampaign

MJML = """<mjml><mj-head><mj-preview>{{ name }} first</mj-preview></mj-head><mj-body>
{% if name %}<mj-section><mj-column>
<mj-text color="{{ colour }}">Hi {{ name | default("you") }},
{% for x in items %}<b>{{ x }}</b>{% else %}none{% endfor %}</mj-text>
<mj-button href="{{ link }}?a=1&amp;b={{ name | urlencode }}">Go &amp; see</mj-button>
</mj-column></mj-section>{% endif %}
{% for x in items %}<mj-section><mj-column><mj-text>Row {{ x }}</mj-text></mj-column></mj-section>{% endfor %}
</mj-body></mjml>
"""
ROW = {"name": "Ann", "colour": "#f00", "items": ["a", "<b>"], "link": "https://x.example/"}


def shown(campaign: Campaign, row: dict[str, Any] = ROW) -> tuple[str, str]:
    """The page and the text, by both ways."""
    found = set()
    for compiled in (True, False):
        program = compile_content(campaign, compiled=compiled)
        assert program.problem(row) is None
        preview = program.preview("a@b.example", program.encode_row(row))
        found.add(((preview.html or "").replace("\r\n", "\n"), (preview.text or "").replace("\r\n", "\n")))
    assert len(found) == 1
    return found.pop()


def test_mjml_becomes_html_once_and_its_values_stay_values(make_campaign: MakeCampaign) -> None:
    html, text = shown(make_campaign(files={"mjml": MJML}))
    assert "<mj-" not in html
    assert "jinja" not in html
    assert "color:#f00" in html.replace(": ", ":")
    assert "Hi Ann,\n<b>a</b><b>&lt;b&gt;</b>" in html
    assert 'href="https://x.example/?a=1&amp;b=Ann"' in html
    assert html.count("Row ") == 2
    assert "fonts.googleapis.com" not in html
    assert "Row a\n" in text
    assert "Go & see: https://x.example/?a=1&b=Ann" in text


def test_a_condition_of_mjml_leaves_its_section_out(make_campaign: MakeCampaign) -> None:
    html, _ = shown(make_campaign(files={"mjml": MJML.replace("first", "")}), ROW | {"name": "x", "items": []})
    assert "none" in html
    html = shown(make_campaign(files={"mjml": "<mjml><mj-body>{% if b %}<mj-section><mj-column><mj-text>T</mj-text>"
    "</mj-column></mj-section>{% endif %}</mj-body></mjml>"}), {"a": 1})[0]  # fmt: skip
    assert ">T<" not in html


@pytest.mark.parametrize(
    ("mjml", "complaint"),
    [
        ("<mjml><mj-body>\n<mj-section></mj-body></mjml>", "is not MJML"),
        ("<mjml>\n{{ a.b() }}</mjml>", "body.mjml:2: calls are not available"),
        ("<mjml><mj-body>\n<mj-section {% if a %}padding='0'{% endif %}></mj-section></mj-body></mjml>",
         "body.mjml:2: {% if a %} stands inside a tag, where MJML cannot keep it"),
    ],
)  # fmt: skip
def test_mjml_that_cannot_be_used_is_refused_in_the_authors_file(
    make_campaign: MakeCampaign, mjml: str, complaint: str
) -> None:
    with pytest.raises(CampaignError) as caught:
        compile_content(make_campaign(files={"mjml": mjml}))
    assert complaint in str(caught.value)


def test_an_unknown_field_is_told_with_the_line_of_the_authors_file(make_campaign: MakeCampaign) -> None:
    for kind, source in (("mjml", "<mjml><mj-body>\n{{ nam }}</mj-body></mjml>"), ("markdown", "x\n{{ nam }}")):
        with pytest.raises(CampaignError, match=rf"body.{kind}:2: nam is no field"):
            compile_content(make_campaign(files={kind: source}), columns=["name"])


def test_markdown_is_page_and_text(make_campaign: MakeCampaign) -> None:
    source = (
        "# Hello {{ name }}\n\n{% if items %}\nYou *have*:\n\n{% for x in items %}\n- {{ x }}\n"
        "{% endfor %}\n{% endif %}\n"
        "\n[Go]({{ link }}) & see\n\n| a | b |\n|---|---|\n| {{ name }} | 2 |\n"
    )
    html, text = shown(make_campaign(files={"markdown": source}))
    assert "<h1>Hello Ann</h1>" in html
    assert html.count("<li>") == 2
    assert "<li>&lt;b&gt;</li>" in html
    assert '<a href="https://x.example/">Go</a> &amp; see' in html
    assert "<td>Ann</td>" in html
    assert "- <b>\n" in text
    assert text.startswith("# Hello Ann\n")


def test_styles_are_inlined_around_jinja(make_campaign: MakeCampaign) -> None:
    page = """<html><head><style>
p.x { color: {{ colour }}; margin: 0 } a:hover { color: red } @media (max-width: 9px) { p { margin: 1px } }
</style></head><body><table>{% for x in items %}<tr><td title="{{ x }}">{{ x }}</td></tr>{% endfor %}</table>
<p class="x{% if name %} y{% endif %}">{{ name }}&nbsp;é<br></p></body></html>"""
    html, _ = shown(make_campaign(html=page, given={"inline_css": True}))
    assert '<p class="x y" style="color: #f00;margin: 0' in html.replace("; margin", ";margin")
    assert html.count("<tr>") == 2
    assert '<td title="&lt;b&gt;">&lt;b&gt;</td>' in html
    assert "@media" in html


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("<p>\n<td {% if a %}class='x'{% else %}class='y'{% endif %}>", "body.html:2: {% if a %} stands inside a tag"),
        ("{% if a %}<div>{% else %}<span>{% endif %}x</div>", "opened in one branch"),
        ("<table><tr><td>{% if a %}</td></tr></table><p>{% endif %}x</p>", ""),
        ("<style>{% if a %}p { margin: 0 }{% endif %}</style>", "stands inside a style"),
    ],
)
def test_what_inlining_would_change_is_refused(make_campaign: MakeCampaign, page: str, complaint: str) -> None:
    campaign = make_campaign(html=page, text="x", given={"inline_css": True})
    if complaint:
        with pytest.raises(CampaignError) as caught:
            compile_content(campaign)
        assert complaint in str(caught.value)
    else:
        compile_content(campaign)


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("mrml", {"files": {"mjml": MJML}}, "content.mjml needs mrml"),
        ("markdown_it", {"files": {"markdown": "x"}}, "content.markdown needs markdown-it-py"),
        ("css_inline", {"html": "x", "given": {"inline_css": True}}, "content.inline_css needs css-inline"),
    ],
)
def test_a_tool_that_is_not_installed_is_named_with_the_extra(
    make_campaign: MakeCampaign, monkeypatch: pytest.MonkeyPatch, name: str, settings: Any, complaint: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CampaignError, match=rf"{complaint}.*bulkmail\[content\]"):
        compile_content(make_campaign(**settings))


def test_the_pre_header_comes_first_and_is_not_seen(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        html='<html><body class="a>b">\n<p>Hello</p></body></html>', given={"preheader": "Tea & {{ name }} < 5"}
    )
    html, text = shown(campaign)
    assert '<body class="a>b"><div style="display:none' in html
    assert "Tea &amp; Ann &lt; 5" in html
    assert text == "Hello\n"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One\n two</p><p>Three</p>", "One two\n\nThree\n"),
        ("a<br>b<hr>c", "a\nb\n\n" + "-" * 40 + "\n\nc\n"),
        ("<ul><li>a<li>b</ul><ol><li>c</li><li>d</li></ol>", "* a\n* b\n\n1. c\n2. d\n"),
        ('<a href="https://x.example/">Go</a> <a href="mailto:a@b">a@b</a> <a href="#top">up</a>',
         "Go: https://x.example/ a@b up\n"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc\n"),
        ("<style>p{}</style><script>x</script><title>t</title><p>&lt;b&gt; &amp; é&nbsp;x</p>", "<b> & é\xa0x\n"),
        ('<div style="display: none">x<p>y</p></div>z', "z\n"),
        ('<img src="x" alt="Logo"><img src="y">', "Logo\n"),
        ("<pre>a\n  b</pre>", "a\n  b\n"),
        ('<a href="{{ link | replace("\\"", ">") }}">{% if a > 1 %}x{% endif %}</a>',
         '{% if a > 1 %}x{% endif %}: {{ link | replace("\\"", ">") }}\n'),
        ("", ""),
    ],
)  # fmt: skip
def test_a_page_is_read_as_text(html: str, text: str) -> None:
    assert plain_text(html) == text


def test_a_page_whose_text_makes_no_template_asks_for_a_text(make_campaign: MakeCampaign) -> None:
    page = '{% if a %}<div style="display:none">{% endif %}x</div>'
    with pytest.raises(CampaignError, match=r"no text can be made of the page.*content.text"):
        compile_content(make_campaign(html=page))
    compile_content(make_campaign(html=page, text="x"))
