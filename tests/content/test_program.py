"""Programs against the oracle and the standard library's parser, over rows nobody would wish for."""

import re
import threading
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.content.compiler import compile_content
from bulkmail.content.errors import ContentError, MissingField
from bulkmail.content.program import Program, RenderedMessage
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, Content, RecipientSource, Unsubscribe
from tests.content.conftest import MakeCampaign
from tests.oracles.rendering import OracleError, Rendering

TOKEN = "aaaaaaiaaaaaeaadka43vy5kswdgaazb"
DATE = "Mon, 01 Mar 2027 08:15:00 +0000"
PIECES = [
    *("From ", ".", "..\n.", " ", "  \n", "\t", "\r\n", "\r", "\n", "=", "=?utf-8?q?x?=", "é", "漢字", "😀", "&amp;"),
    *('"', "'", "&", "<b>", "{{ x }}", "\0", "\x85", "\u2028", "w" * 90, "Bcc: x@y.example", "%0d", "/", "?"),
]
CHARACTERS = st.characters(exclude_categories=["Cs"])
WILD = st.lists(st.one_of(st.sampled_from(PIECES), st.text(CHARACTERS, max_size=5)), max_size=8).map("".join)
LINE = WILD.map(lambda text: re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]", "", text))
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
VALUE = st.one_of(st.none(), WILD, st.integers(-(2**53), 2**53), st.booleans(), FLOAT)
HEADER_VALUE = st.one_of(st.none(), LINE, st.integers(-99, 99), st.booleans())
ROW = st.fixed_dictionaries({"a": VALUE, "b": VALUE, "subject_a": HEADER_VALUE, "subject_b": HEADER_VALUE})

HTML = (
    "<html>\n<p class=\"x\">Dear {{ a | default('<friend>') }},</p>\n.start {{ b }}{{ a | default(7) | upper }}\n"
    "{{ a | default('zero', true) }}"
    "From {{ b | e }} {{ b | safe }}.{{ a | default('') | urlencode }}\n{# note #}{{ '{{' }} "
    '<a href="{{ unsubscribe_url }}">{{ a | default("x") | trim | title | lower | capitalize }}</a>'
    + "wide " * 40
    + "{{ address }} {{ campaign }}\n</html>\n"
)
TEXT = (
    "Dear {{ a | default('friend') }}\r\nFrom {{ b }}\n\n.{{ a | d }}\n  \n{{ b | trim }} {{ token }} {{ message_id }}"
)
SUBJECT = "{{ subject_a | default('you') }}, news for {{ subject_b }}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("campaign")


def campaign_in(folder: Path) -> Campaign:
    name = "body"
    (folder / f"{name}.html").write_text(HTML)
    (folder / f"{name}.txt").write_text(TEXT, newline="")
    (folder / "file.bin").write_bytes(bytes(range(256)))
    return Campaign(
        campaign="spring",
        from_="Acme Garden <news@garden.example>",
        subject=SUBJECT,
        headers={"X-Who": "{{ subject_b }} {{ subject_a | default('-') | upper }}", "X-Fixed": "1"},
        content=Content(
            html=str(folder / f"{name}.html"),
            text=str(folder / f"{name}.txt"),
            attachments=(str(folder / "file.bin"),),
        ),
        unsubscribe=Unsubscribe(url="https://garden.example/u/{{ token }}?n={{ subject_a | default('') }}"),
    )


@pytest.fixture(scope="module", params=[False, True], ids=["slots", "jinja"])
def subject_under_test(folder: Path, request: pytest.FixtureRequest) -> tuple[Campaign, Program]:
    campaign = campaign_in(folder)
    columns = ["a", "b", "subject_a", "subject_b"]
    return campaign, compile_content(campaign, columns=columns, compiled=not request.param)


def render(program: Program, fields: dict[str, Any], recipient: str = "ann@example.com") -> RenderedMessage:
    return program.render(recipient, program.encode_row(fields), TOKEN, DATE)


def parse(message: RenderedMessage) -> EmailMessage:
    parsed = BytesParser(policy=policy.default).parsebytes(message.data)
    assert not [defect for part in parsed.walk() for defect in part.defects]
    return parsed


def with_crlf(text: str) -> str:
    lines = re.sub(r"\r\n|\r|\n", "\r\n", text)
    return lines if lines.endswith("\r\n") or not lines else lines + "\r\n"


@given(row=ROW)
def test_every_message_is_the_oracles_and_parses_back_to_its_texts(
    subject_under_test: tuple[Campaign, Program], row: dict[str, Any]
) -> None:
    campaign, program = subject_under_test
    try:
        oracle = Rendering(campaign, "ann@example.com", row, TOKEN)
    except OracleError:
        assert "is missing" in (program.problem(row) or "")
        with pytest.raises(MissingField):
            render(program, row)
        return
    assert program.problem(row) is None
    message = render(program, row)
    assert message.body == oracle.body()
    parsed = parse(message)
    assert parsed["Subject"] == oracle.subject
    assert parsed["X-Who"] == oracle.headers["X-Who"]
    texts = {part.get_content_subtype(): part.get_payload(decode=True) for part in parsed.walk()}
    assert texts["html"] == with_crlf(oracle.html or "").encode()
    assert texts["plain"] == with_crlf(oracle.plain or "").encode()
    assert texts["octet-stream"] == bytes(range(256))


@given(row=ROW)
def test_no_row_adds_a_header_or_a_long_or_bare_line(
    subject_under_test: tuple[Campaign, Program], row: dict[str, Any]
) -> None:
    _, program = subject_under_test
    if program.problem(row) is not None:
        return
    data = render(program, row).data
    header = data.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in header.split(b"\r\n") if not line.startswith(b" ")]
    assert names == [b"Date", b"From", b"To", b"Subject", b"Message-ID", b"List-Id", b"List-Unsubscribe",
                     b"List-Unsubscribe-Post", b"Feedback-ID", b"X-Who", b"X-Fixed", b"MIME-Version",
                     b"Content-Type"]  # fmt: skip
    assert data.isascii()
    assert re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", data) is None
    assert max(map(len, data.split(b"\r\n"))) <= 998
    assert not re.search(rb"^(\.|From )", data, re.MULTILINE)
    assert data.endswith(b"\r\n")


INJECTIONS = ["\r\n", "\n", "\r", "\0", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x7f", "\x1b", "\t"]


@pytest.mark.parametrize("injected", INJECTIONS)
@pytest.mark.parametrize("name", ["subject_a", "subject_b"])
def test_a_control_character_in_a_header_field_is_a_problem_and_render_refuses_it_too(
    subject_under_test: tuple[Campaign, Program], name: str, injected: str
) -> None:
    _, program = subject_under_test
    row = {"b": "x", "subject_a": "x", "subject_b": "y", name: f"x{injected}Bcc: victim@example.com"}
    assert re.search(r"line break|control character|URL", program.problem(row) or "")
    with pytest.raises(ContentError):
        render(program, row)


def test_the_problem_names_the_field_and_the_header_use(make_campaign: MakeCampaign) -> None:
    program = compile_content(make_campaign(subject="Hello {{ name }}"))
    assert program.problem({}) == "field name is missing"
    assert program.problem({"name": ""}) == "field name is missing"
    assert program.problem({"name": "a\nb"}) == "field name has a line break but is used in a header"
    assert program.problem({"name": "a\0b"}) == "field name has the control character U+0000 but is used in a header"
    assert program.problem({"name": "a b"}) is None


def test_a_filter_that_removes_the_line_break_makes_the_field_fit(make_campaign: MakeCampaign) -> None:
    program = compile_content(make_campaign(subject="Hello {{ name | trim }}"))
    assert program.problem({"name": "Ann\n"}) is None
    assert parse(render(program, {"name": "Ann\n"}))["Subject"] == "Hello Ann"


def test_fields_are_the_used_ones_sorted_without_the_built_in_names(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        text="{{ z }} {% if b %}{{ a }}{% endif %} {{ address }} {{ token }} {{ campaign }} {{ message_id }}",
        subject="{{ m }}",
        headers={"X-A": "{{ h }}"},
        unsubscribe=Unsubscribe(url="https://garden.example/{{ u }}"),
    )
    assert compile_content(campaign).fields == ("a", "b", "h", "m", "u", "z")


def test_rows_are_json_without_line_breaks_and_absent_values_are_null(make_campaign: MakeCampaign) -> None:
    program = compile_content(make_campaign(text="{{ a }} {{ b }} {{ c | d }} {{ d | d }}"))
    row = program.encode_row({"a": "x\ny", "b": 1, "c": "", "other": 2})
    assert row == b'["x\\ny",1,null,null]'
    assert program.render("a@b.example", orjson.loads(row), TOKEN, DATE) == program.render(
        "a@b.example", row, TOKEN, DATE
    )


@pytest.mark.parametrize("value", [{1}, object(), 2**70, "\ud800"])
def test_a_value_that_cannot_be_stored_is_a_problem_that_names_its_field(
    make_campaign: MakeCampaign, value: Any
) -> None:
    program = compile_content(make_campaign(text="{{ a }} {{ b }}"))
    assert (program.problem({"a": "x", "b": value}) or "").startswith("field b cannot be stored")
    with pytest.raises(ContentError):
        program.encode_row({"a": "x", "b": value})


def test_scalars_and_nested_data_are_printed_as_jinja_prints_them(make_campaign: MakeCampaign) -> None:
    text = "{{ n }} {{ t }} {{ f }}{% for line in order.lines %}\n{{ loop.index }} {{ line.name }}{% endfor %}"
    program = compile_content(make_campaign(text=text))
    row = {"n": 5, "t": True, "f": 1.5, "order": {"lines": [{"name": "seeds"}, {"name": "soil"}]}}
    assert program.problem(row) is None
    assert parse(render(program, row)).get_content() == "5 True 1.5\r\n1 seeds\r\n2 soil\r\n"


HOLES = [
    *("{{ order.gift }}", "{{ order['gift'] }}", "{{ order.gift.name }}", "{{ gone ~ 'x' }}", "{{ gone + 1 }}"),
    *("{% for x in gone %}{% endfor %}", "{{ none_in_list[0] }}", "{% for x in none_in_list %}{{ x }}{% endfor %}"),
    *("{{ gone | join }}", "{{ gone | length }}", "{{ gone | upper }}", "{{ gone | e }}", "{{ gone | int }}"),
]


@pytest.mark.parametrize("text", HOLES)
def test_a_hole_in_the_data_never_becomes_a_blank(make_campaign: MakeCampaign, text: str) -> None:
    program = compile_content(make_campaign(text=text))
    row = {"order": {"gift": None}, "none_in_list": [None]}
    assert program.problem(row) is not None
    with pytest.raises(ContentError):
        render(program, row)


def test_a_hole_is_false_and_has_a_default(make_campaign: MakeCampaign) -> None:
    text = "{% if gone %}x{% else %}y{% endif %}{{ order.gift.name | default('z') }}{{ 'w' if gone }}"
    assert parse(render(compile_content(make_campaign(text=text)), {"order": {}})).get_content() == "yz\r\n"


def test_a_message_over_the_limit_is_a_problem(make_campaign: MakeCampaign) -> None:
    program = compile_content(make_campaign(text="{{ a }}\n", max_message_size=3000))
    assert program.problem({"a": "x" * 100}) is None
    assert "max_message_size is 3000" in (program.problem({"a": "x" * 4000}) or "")


def test_a_general_template_stops_at_the_limit(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(text="{% for i in a %}{{ 'x' ~ i }}{% endfor %}", max_message_size=2000)
    program = compile_content(campaign, compiled=False)
    assert "more than 2000 characters" in (program.problem({"a": "y" * 5000}) or "")


def test_files_over_the_limit_refuse_the_campaign(make_campaign: MakeCampaign) -> None:
    with pytest.raises(CampaignError, match="max_message_size"):
        compile_content(make_campaign(attachments={"big.bin": b"x" * 5000}, max_message_size=5000))


def test_values_in_urls_are_percent_encoded_and_reach_the_body_escaped(make_campaign: MakeCampaign) -> None:
    url = "https://garden.example/u/{{ token }}/{{ name }}?a={{ name | urlencode }}&b=1"
    campaign = make_campaign(html="<a href='{{ unsubscribe_url }}'>", unsubscribe=Unsubscribe(url=url))
    message = parse(render(compile_content(campaign), {"name": "a/b?&<\u00e9"}))
    expected = f"https://garden.example/u/{TOKEN}/a%2Fb%3F%26%3C%C3%A9?a=a/b%3F%26%3C%C3%A9&b=1"
    assert message["List-Unsubscribe"] == f"<{expected}>"
    page = message.get_body(("html",))
    assert page is not None
    assert page.get_content() == f"<a href='{expected.replace('&', '&amp;')}'>\r\n"


def test_unsubscribe_headers_follow_rfc_8058(make_campaign: MakeCampaign) -> None:
    both = Unsubscribe(url="https://garden.example/u/{{ token }}", mailto="leave+{{ token }}@garden.example")
    message = parse(render(compile_content(make_campaign(unsubscribe=both)), {}))
    assert message["List-Unsubscribe"] == f"<https://garden.example/u/{TOKEN}>, <mailto:leave+{TOKEN}@garden.example>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    for target in (Unsubscribe(url="http://garden.example/u"), Unsubscribe(mailto="leave@garden.example")):
        message = parse(render(compile_content(make_campaign(unsubscribe=target)), {}))
        assert message["List-Unsubscribe-Post"] is None
    assert message["List-Unsubscribe"] == f"<mailto:leave@garden.example?subject=unsubscribe%20{TOKEN}>"
    target = Unsubscribe(mailto="leave@garden.example?subject=stop")
    message = parse(render(compile_content(make_campaign(unsubscribe=target)), {}))
    assert message["List-Unsubscribe"] == "<mailto:leave@garden.example?subject=stop>"
    assert parse(render(compile_content(make_campaign()), {}))["List-Unsubscribe"] is None


def test_an_unsubscribe_url_too_long_for_a_line_is_a_problem(make_campaign: MakeCampaign) -> None:
    target = Unsubscribe(url="https://garden.example/{{ a }}")
    program = compile_content(make_campaign(unsubscribe=target))
    assert program.problem({"a": "x" * 100}) is None
    assert "900" in (program.problem({"a": "漢" * 300}) or "")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "<spring.garden.example>"),
        ({"recipients": (RecipientSource(file="x.csv", list="newsletter"),)}, "<newsletter.garden.example>"),
        ({"list_id": "news.acme.example"}, "<news.acme.example>"),
        ({"list_id": "Acme News <news.acme.example>"}, "Acme News <news.acme.example>"),
        ({"kind": "transactional"}, None),
    ],
)
def test_list_id(make_campaign: MakeCampaign, settings: dict[str, Any], expected: str | None) -> None:
    assert parse(render(compile_content(make_campaign(**settings)), {}))["List-Id"] == expected


def test_standing_headers(make_campaign: MakeCampaign) -> None:
    program = compile_content(make_campaign(reply_to="care@garden.example", return_path="bounces@mail.garden.example"))
    message = render(program, {}, recipient="ann@example.com")
    parsed = parse(message)
    assert parsed["To"] == "ann@example.com"
    assert parsed["From"] == "Acme Garden <news@garden.example>"
    assert parsed["Reply-To"] == "care@garden.example"
    assert parsed["Date"] == DATE
    assert parsed["Message-ID"] == message.message_id == program.message_id(TOKEN) == f"<{TOKEN}@garden.example>"
    assert parsed["Feedback-ID"] == "spring:marketing:garden.example"
    assert program.envelope_sender(TOKEN) == f"bounces+{TOKEN}@mail.garden.example"


def test_a_campaigns_own_feedback_id_replaces_the_derived_one(make_campaign: MakeCampaign) -> None:
    message = parse(render(compile_content(make_campaign(headers={"Feedback-ID": "a:b:c:acme"})), {}))
    assert message.get_all("Feedback-ID") == ["a:b:c:acme"]


@pytest.mark.parametrize(
    ("recipient", "token", "date"),
    [("a@b.example\r\nBcc: x@y.example", TOKEN, DATE), ("a@b.example", "x>\r\n", DATE), ("a@b.example", TOKEN, "x\n")],
)
def test_render_refuses_controls_in_its_own_arguments(
    make_campaign: MakeCampaign, recipient: str, token: str, date: str
) -> None:
    program = compile_content(make_campaign())
    with pytest.raises(ContentError):
        program.render(recipient, b"[]", token, date)


def test_a_row_of_other_content_is_refused(make_campaign: MakeCampaign) -> None:
    with pytest.raises(ContentError, match="1 values"):
        compile_content(make_campaign()).render("a@b.example", b"[1]", TOKEN, DATE)


def test_the_same_arguments_give_the_same_bytes_on_every_thread(subject_under_test: tuple[Campaign, Program]) -> None:
    _, program = subject_under_test
    rows = [{"a": f"a{n}", "b": f"<{n}>", "subject_a": f"é{n}", "subject_b": n} for n in range(20)]
    expected = [render(program, row) for row in rows]
    results: list[list[RenderedMessage]] = []

    def work() -> None:
        results.append([render(program, row) for row in rows])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_preview_shows_what_the_reader_sees(make_campaign: MakeCampaign) -> None:
    program = compile_content(make_campaign(text="Hi {{ n }}\n", html="<p>{{ n }}</p>\n", subject="Für {{ n }}"))
    preview = program.preview("ann@example.com", program.encode_row({"n": "<Ann>"}))
    assert preview.subject == "Für <Ann>"
    assert preview.text == "Hi <Ann>\r\n"
    assert preview.html == "<p>&lt;Ann&gt;</p>\r\n"
    assert ("Subject", "Für <Ann>") in preview.headers
    assert preview.message.startswith(b"Date: ")
