"""What templates may say, what they are refused, and where the complaint points."""

import time
from typing import Any

import pytest

from bulkmail.content.compiler import compile_content
from bulkmail.content.errors import ContentError
from bulkmail.content.segments import Slot
from bulkmail.content.template import Mode, Source, Template, TemplateFolder, parse_template
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Unsubscribe
from tests.content.conftest import MakeCampaign


def parse(text: str, mode: Mode = Mode.TEXT, **options: Any) -> Template:
    return parse_template(Source(text=text, mode=mode, file="body.html"), **options)


def refusal(text: str, mode: Mode = Mode.TEXT, **options: Any) -> str:
    with pytest.raises(CampaignError) as caught:
        parse(text, mode, **options)
    return str(caught.value)


def general(text: str, mode: Mode = Mode.TEXT, **values: Any) -> str:
    template = TemplateFolder(compiled=False).parse(Source(text=text, mode=mode, file="body.html"))
    return template.render(values, max_size=10_000)


@pytest.mark.parametrize(
    "text",
    [
        "{{ a }}",
        "x{{ a | upper }}{{ b | default('y') | title }}",
        "{{ a | default('x', true) }}",
        "{{ a | default(default_value='x', boolean=true) }}",
        "{{ a | trim('.') | capitalize | lower }}{# note #}",
        "{{ a | e }}{{ a | escape }}{{ a | safe }}{{ a | urlencode }}",
        "{% raw %}{{ a }}{% endraw %}{{ 'literal' }}",
    ],
)
def test_literals_and_plain_filters_become_slots(text: str) -> None:
    assert parse(text, Mode.HTML).flat


@pytest.mark.parametrize(
    "text",
    ["{% if a %}x{% elif b %}y{% else %}z{% endif %}", "{{ a.b }}", "{{ a ~ b }}", "{{ a | join }}", "{{ 1 + 1 }}",
     "{{ a | default(b) }}", "{{ a if b else c }}", "{{ a | default(none) }}", "{% set a = 1 %}{{ a }}",
     "{{ (a ~ b) | upper }}", "{% for x in a if x %}{{ loop.index }}{{ x }}{% else %}-{% endfor %}",
     "{% with x = a.b %}{{ x }}{% endwith %}", "{{ range(3) | join }}", "{% block x %}{{ a.b }}{% endblock %}",
     "{{ a | date('long', locale=b) }}"],
)  # fmt: skip
def test_conditions_loops_and_expressions_become_segments(text: str) -> None:
    template = parse(text)
    assert template.segments is not None
    assert not template.flat


@pytest.mark.parametrize(
    "text",
    ["{% macro m() %}{% endmacro %}{{ m() }}", "{% if a %}{% set b = 1 %}{% endif %}{{ b }}", "{{ a[1:2] }}",
     "{% set ns = namespace(n=1) %}{% for x in a %}{% set ns.n = 2 %}{% endfor %}{{ ns.n }}", "{{ 1 < a < 3 }}",
     "{% filter upper %}{{ a }}{% endfilter %}", "{{ a | map('upper') | join }}", "{% set b %}x{% endset %}{{ b }}",
     "{% for x in a recursive %}{{ loop(x) }}{% endfor %}", "{% for x in a %}{{ loop.cycle(1, 2) }}{% endfor %}"],
)  # fmt: skip
def test_anything_else_is_left_to_jinja(text: str) -> None:
    template = parse(text)
    assert template.segments is None
    assert template.jinja is not None


def test_literals_side_by_side_become_one() -> None:
    parts = parse("a{# note #}b{% raw %}c{% endraw %}{{ 'd' }}{{ e }}f").parts
    assert [part.name if isinstance(part, Slot) else part for part in parts] == ["abcd", "e", "f"]


def test_syntax_errors_name_file_and_line() -> None:
    assert refusal("one\ntwo {{ name").startswith("body.html:2: ")
    assert refusal("\n\n{% if x %}").startswith("body.html:3: ")


def test_an_unknown_field_is_answered_with_line_and_nearest_name() -> None:
    text = refusal("Hello\n{{ frist_name }}", known=["first_name", "city"])
    assert text.startswith("body.html:2: frist_name is no field of the recipients; did you mean first_name?")
    assert "city" in text


def test_an_unknown_field_is_found_inside_statements_and_in_defaults() -> None:
    assert "body.html:2: plann" in refusal("{% if plan %}\n{{ plann | default('x') }}{% endif %}", known=["plan"])


def test_names_the_template_sets_itself_are_known() -> None:
    parse("{% set x = a %}{{ x }}{% for y in a %}{{ y }}{{ loop.index }}{% endfor %}", known=["a"])


def test_unknown_fields_pass_where_the_columns_are_unknown(make_campaign: MakeCampaign) -> None:
    assert compile_content(make_campaign(text="{{ a }}"), columns=()).fields == ("a",)
    assert compile_content(make_campaign(text="{{ a }}")).fields == ("a",)
    with pytest.raises(CampaignError, match="a is no field"):
        compile_content(make_campaign(text="{{ a }}"), columns=["b"])


def test_unsubscribe_url_needs_one_in_the_campaign(make_campaign: MakeCampaign) -> None:
    with pytest.raises(CampaignError, match="unsubscribe_url is not available"):
        compile_content(make_campaign(text="{{ unsubscribe_url }}"))
    with pytest.raises(CampaignError, match=r"spring.yaml: unsubscribe.url: unsubscribe_url is not available"):
        compile_content(make_campaign(unsubscribe=Unsubscribe(url="https://x.example/{{ unsubscribe_url }}")))


def test_an_unknown_filter_is_answered_with_the_nearest() -> None:
    assert "there is no filter uper; did you mean upper?" in refusal("\n{{ a | uper }}")
    assert "body.html:2: " in refusal("\n{% if false %}{{ a | uper }}{% endif %}")
    assert "there is no test devined; did you mean defined?" in refusal("{% if a is devined %}{% endif %}")


@pytest.mark.parametrize(
    "text",
    ["{{ " + "(" * 5000 + "a" + ")" * 5000 + " }}", "{{ " + "9" * 5000 + " }}", "{{ " + "not " * 5000 + "a }}",
     "{% for a in a %}" * 30 + "{% endfor %}" * 30, "{% if a %}" * 300 + "{% endif %}" * 300],
    ids=range(5),
)  # fmt: skip
def test_a_template_beyond_pythons_limits_is_refused_without_a_traceback(text: str) -> None:
    assert refusal(text).startswith("body.html: the template cannot be ")


def test_filters_with_wrong_arguments_are_found_at_once() -> None:
    assert refusal("\n{{ a | upper(1) }}").startswith("body.html:2: ")


FORBIDDEN = [
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% autoescape false %}{{ a }}{% endautoescape %}",
    "{{ 9 ** 9 }}",
    "{{ a._secret }}",
    "{{ __import__ }}",
    "{{ _budget }}",
    "{{ a.b() }}",
    "{{ ''.format(a) }}",
    "{{ a | _counted }}",
    "{{ a | attr('__class__') }}",
    "{{ a | pprint }}",
    "{{ a | xmlattr }}",
    "{{ a | random }}",
    "{{ a | map('_counted') | list }}",
    "{{ a | map(b) | list }}",
    "{{ a | selectattr('x', '_y') | list }}",
    "{% include a %}",
    "{% include ['x', a] %}",
    "{% extends a %}",
    "{% set ns._x = 1 %}",
    "{{ a.__class__ }}",
    "{{ cycler('a').next() }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ cycler.__init__.__globals__ }}",
]


@pytest.mark.parametrize("text", FORBIDDEN)
def test_what_leads_out_of_the_data_is_refused_with_its_line(text: str) -> None:
    assert refusal("\n" + text).startswith("body.html:2: ")


ESCAPES = [
    "{{ self }}",
    "{{ super() }}",
    "{{ super }}",
    "{% macro m() %}{% endmacro %}{{ m }}",
    "{% macro m() %}{% endmacro %}{{ m.__call__ }}",
    "{{ [a] | map(attribute='__class__.__mro__') | join }}",
    "{{ '%(x)s' | format(x=a) }}",
    "{{ '%99999d' | format(1) }}",
    "{{ '%*d' | format(99999, 1) }}",
    "{{ '%s' | format([a]) }}",
    "{{ 'a' | center(100000000) }}",
    "{{ 'a' | indent(100000000) }}",
    "{{ [1] | batch(100000000, 0) | list }}",
    "{{ [1] | slice(100000000, 0) | list }}",
    "{{ range(100000) }}",
    "{{ range(1, 10**9) }}",
    "{{ range(0, 10, 0) }}",
    "{{ namespace }}",
    "{{ namespace(a=1) }}",
    "{{ namespace(a=1).__class__ }}",
    "{{ joiner().__init__ }}",
    "{{ 1 | number(locale='../../etc') }}",
    "{{ 1 | date(format='yyyy' * 99) }}",
    "{{ '1e999999' | number }}",
    "{{ 1e400 | number }}",
    "{{ 'x' | datetime(tz='../../../etc/passwd') }}",
    "{{ a['__class__'] }}",
    "{{ a['__class__'] ~ '' }}",
    "{{ a['__cl' ~ 'ass__'] }}",
    "{{ a.format }}",
    "{{ lipsum }}",
    "{{ range }}",
    "{{ namespace }}",
    "{{ joiner }}",
    "{{ a.items }}",
    "{{ (1).real }}",
    "{{ [a] | sum(attribute='__class__') }}",
    "{{ [a] | join(attribute='__class__') }}",
    "{% set f = a %}{{ f() }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop['_iterable'] }}{% endfor %}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m.name }}",
    "{{ '%s' % a }}",
    "{{ 'x' * 1000000000 }}",
    "{{ [1] * 1000000000 }}",
    "{{ 1 // 0 }}",
    "{{ 5 | round(-1000000000) }}",
    "{{ 5.5 | round(1000000000, 'ceil') }}",
    "{{ a | truncate(1, 2, 3, 4, 5) }}",
    "{{ [1, 'a'] | sort }}",
]


@pytest.mark.parametrize("text", ESCAPES)
def test_no_expression_reaches_an_attribute_or_raises_anything_but_our_own_errors(text: str) -> None:
    with pytest.raises((ContentError, CampaignError)):
        general(text, a="text")


BOMBS = [
    "{% for a in d %}{% for b in d %}{% for c in d %}{% for e in d %}" + "{% endfor %}" * 4,
    "{% for a in d if a is none %}{% for b in d %}{% endfor %}{% endfor %}" * 200,
    "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}{{ " + "m(" * 40 + "'xxxxxxxx'" + ")" * 40 + " }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% set s = 'xxxxxxxxxxxxxxxx' %}" + "{% set s = s ~ s %}" * 40 + "{{ s }}",
    "{% set s = 'xxxxxxxxxxxxxxxx' %}" + "{% set s = s + s %}" * 40 + "{{ s }}",
    "{% set s = 'xxxxxxxxxxxxxxxx' %}" + "{% set s = s | replace('x', 'xxxxxxxxxxxxxxxx') %}" * 20 + "{{ s }}",
    "{% set s = 'xxxxxxxxxxxxxxxx' %}" + "{% set s = [s, s] | join %}" * 40 + "{{ s }}",
    "{% set s %}xxxxxxxxxxxxxxxx{% endset %}" + "{% set s %}{{ s }}{{ s }}{% endset %}" * 40 + "{{ s }}",
    "{% set s = [1] %}" + "{% set s = s + s %}" * 40 + "{{ s }}",
    "{% set n = 9999999999 %}" + "{% set n = n * n %}" * 40 + "{{ n }}",
    "{% for x in d %}{{ 'y' ~ x }}{{ big }}{% endfor %}",
    "{% for x in range(10000) %}{{ d | sum }}{{ d | sort | join }}{% endfor %}",
    "{% for x in range(100) %}{% for y in range(100) %}{{ big | upper | lower | title }}{% endfor %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{{ range(10000) | map('string') | map('upper') | map('lower') | map('title') | map('trim') | list | length }}" * 9,
]


@pytest.mark.parametrize("text", BOMBS, ids=range(len(BOMBS)))
def test_a_template_that_would_not_end_meets_a_limit_soon(text: str) -> None:
    start = time.process_time()
    with pytest.raises((ContentError, CampaignError)):
        general(text, d=list(range(100)), big="z" * 1000)
    assert time.process_time() - start < 0.3  # 0.1 on a machine that does nothing else


def test_dict_keys_come_before_methods_and_indexes_are_numbers() -> None:
    values = {"a": {"items": 1, "keys": 2}, "b": [3, 4], "c": "xyz"}
    assert general("{{ a.items }} {{ a['keys'] }} {{ b[1] }} {{ b[-1] }} {{ c[:2] }}", **values) == "1 2 4 4 xy"


def test_loops_macros_and_conditions_work() -> None:
    text = (
        "{% macro li(x) %}<{{ x | upper }}>{% endmacro %}{% for x in a if x != 'n' %}{{ loop.cycle('o', 'e') }}"
        "{{ loop.index }}/{{ loop.length }}{{ li(x) }}{{ '' if loop.last else ',' }}{% else %}none{% endfor %}"
    )
    assert general(text, a=["x", "n", "y"]) == "o1/2<X>,e2/2<Y>"
    assert general(text, a=[]) == "none"


XSS = ["<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "</textarea><svg/onload=alert(1)>", "&lt;b&gt;",
       "Win http://evil.example <a href=x>", "{{ 7*7 }}", "{% include 'x' %}"]  # fmt: skip


@pytest.mark.parametrize("value", XSS)
@pytest.mark.parametrize("compiled", [True, False])
def test_a_value_adds_no_tag_and_leaves_no_attribute(make_campaign: MakeCampaign, value: str, compiled: bool) -> None:
    campaign = make_campaign(html='<p title="{{ a }}">{{ a | upper | lower }}</p>')
    program = compile_content(campaign, compiled=compiled)
    html = program.preview("a@b.example", program.encode_row({"a": value})).html or ""
    assert html.count("<") == 2
    assert html.count(">") == 2
    assert html.count('"') == 2
    assert "49" not in html


def test_url_templates_encode_what_they_print_on_both_ways() -> None:
    compiled = parse("{{ a }}|{{ a | urlencode }}|{{ a ~ '&' }}|{{ a | safe }}", Mode.URL)
    assert compiled.segments is not None
    with pytest.raises(ContentError, match="null"):
        general("{{ a[0] if false else none }}", Mode.URL)
    assert general("{{ a }}|{{ a | urlencode }}|{{ a ~ '&' }}|{{ a | safe }}", Mode.URL, a="/&") == (
        "%2F%26|/%26|%2F%26%26|%2F%26"
    )
