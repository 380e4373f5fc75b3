"""Compiled segments against Jinja2: the same bytes, or a refusal by both, for ten thousand rows of every shape."""

import random
from pathlib import Path
from typing import Any

import pytest

from bulkmail.content.compiler import compile_content
from bulkmail.content.errors import ContentError
from bulkmail.content.program import Program
from bulkmail.content.template import Template
from bulkmail.model.campaign import Campaign, Content, Unsubscribe

TOKEN = "aaaaaaiaaaaaeaadka43vy5kswdgaazb"
DATE = "Mon, 01 Mar 2027 08:15:00 +0000"

LAYOUT = """<html><head><title>{% block title %}News{% endblock %}</title></head>
<body style="color: {{ colour | default('#333') }}">
{% block body scoped %}nothing{% endblock %}
{% include "footer.html" %}
</body></html>
"""
FOOTER = (
    '<p>{% if city %}From {{ city }}{% else %}.{% endif %} <a href="{{ unsubscribe_url }}">leave</a> {{ name }}</p>'
)
PAGE = """{% extends "layout.html" %}
{% block title %}{{ name }} & {{ order.number }}{% endblock %}
{% block body %}
<p title="{{ name }}">Dear {% if name == 'Ann' %}dear {% elif name is defined and name | length > 3 %}{{ name | upper }}
{%- else %}friend{% endif %},</p>
{% for line in order.lines if line.price %}
.{{ loop.index }}/{{ loop.length }} {{ line.name }} {{ line.price | currency('EUR', locale=lang) }}
{%- if not loop.last %};{% endif %}
{% for tag in line.tags %}<b>{{ tag }}</b>{{ loop.index0 + line.price }}{% else %}no tags {{ tag }}{% endfor %}
{% else %}Nothing ordered{{ city }}.
{% endfor %}
{% with total = order.total, twice = order.total %}{{ total }} {{ (total ~ '<') if twice else 'free' }}{% endwith %}
{% for first, second in pairs %}{{ first }}={{ second | e }}
{% endfor %}<a href="{{ link }}">{{ link | replace('/', '|') | safe }}</a> {{ city in ['Graz', "<Wien>"] }}
{{ when | date('long', locale=lang) }} {{ [name, city] | join(', ') }} {{ count * 2 + 1 }} {{ -count }}
From {{ name | default(city, true) | default('x') }}{{ '' if city }} {{ name[0] }}{{ order['number'] }}
{% endblock %}
"""
TEXT = """{% set who = name | default('you') %}Hi {{ who }},
{% for n in range(count) %}{{ n }}{% if n == 3 %}
From {{ who }}{% endif %}{% endfor %}
  {{ name if name else 'nobody' }}{% if city and (count > 2 or not name) %} in {{ city }} {% endif %}
"""
SUBJECT = "{% if count %}{{ count }} things{% else %}{{ name }}{% endif %} for {{ city | default('you') }}"

TEXTS = ["Ann", "Zoë", "", None, "<b>", "a\nb", "\r\n.", "From me", "漢字", "javascript:alert(1)", "x" * 90, " ",
         "&amp;", "=?utf-8?q?x?=", "😀 ", "'\""]  # fmt: skip
LINKS = ["https://x.example/?a=b&c", "/path", "javascript:alert(1)", " JaVa\tScript:x", "data:text/html,x",
         "mailto:a@b", None, "#", "//x.example", "x\"y"]  # fmt: skip


def row(chance: random.Random) -> dict[str, Any]:
    def often(good: list[Any], seldom: list[Any]) -> Any:
        return chance.choice(seldom if chance.random() < 0.08 else good)

    def line() -> Any:
        return {
            "name": chance.choice(TEXTS[:2] + TEXTS[4:]),
            "price": often([2.25, 0, 12, "9.90"], [None, "x"]),
            "tags": often([[], ["a"], ["<i>", "b"]], [None]),
        }

    order = {
        "number": chance.choice([7, "A-7", True, 1.5]),
        "lines": [line() for _ in range(chance.randrange(4))],
        "total": often([0, 5, "9"], [None]),
    }
    return {
        "name": often(["Ann", "Zoë", "漢字 <b>", "x" * 90], TEXTS),
        "city": often(["Graz", "<Wien>", None], TEXTS),
        "colour": often([None, "#fff", "red"], ["red;x:y", "url(x)"]),
        "lang": often(["de", "ja", "en", "fr_CA"], [None, "xx"]),
        "order": often([order], [{}, None, "x"]),
        "pairs": often([[], [["a", "b"]], [["<", ">"], ["c", 2]]], [{}, [[1, None]], [["a"]], "ab"]),
        "link": often(["https://x.example/?a=b&c", "/path", "#"], LINKS),
        "when": often([0, "2027-05-08", "2027-05-08T10:00:00Z"], ["soon", None]),
        "count": often([0, 3, 5], [1, "2", None]),
    }


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    folder = tmp_path_factory.mktemp("campaign")
    for name, text in (("layout.html", LAYOUT), ("footer.html", FOOTER), ("page.html", PAGE), ("page.txt", TEXT)):
        (folder / name).write_text(text)
    return Campaign(
        campaign="spring",
        from_="Acme Garden <news@garden.example>",
        subject=SUBJECT,
        headers={"X-Lines": "{% for line in order.lines %}{{ loop.index }},{% endfor %}-"},
        content=Content(html=str(folder / "page.html"), text=str(folder / "page.txt")),
        unsubscribe=Unsubscribe(url="https://x.example/{% if city %}{{ city }}{% endif %}/{{ token }}"),
        file=str(folder / "campaign.yaml"),
    )


def result(program: Program, fields: dict[str, Any]) -> tuple[bytes, bytes] | None:
    try:
        message = program.render("ann@example.com", program.encode_row(fields), TOKEN, DATE)
    except ContentError:
        return None
    return message.header, message.body


def test_ten_thousand_rows_give_the_same_bytes_by_segments_and_by_jinja(campaign: Campaign) -> None:
    compiled, general = compile_content(campaign), compile_content(campaign, compiled=False)
    chance = random.Random(2027)
    rendered = 0
    for _ in range(10_000):
        fields = row(chance)
        expected = result(general, fields)
        assert result(compiled, fields) == expected, fields
        rendered += expected is not None
    assert 2_000 < rendered < 9_000  # good rows and bad ones both


def test_none_of_these_templates_needs_jinja_to_be_rendered(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Template, "render")
    fields = row(random.Random(1)) | {"name": "Ann", "city": "Graz", "count": 5, "lang": "de"}
    assert result(compile_content(campaign), fields) is not None


def test_what_is_included_is_pinned_by_its_content(campaign: Campaign, tmp_path: Path) -> None:
    before = compile_content(campaign).included
    assert set(before) == {"layout.html", "footer.html"}
    (Path(campaign.content.html or "").parent / "footer.html").write_text(FOOTER + "!")
    after = compile_content(campaign).included
    assert after["layout.html"] == before["layout.html"]
    assert after["footer.html"] != before["footer.html"]
