"""The injection set through every field and header of a rich campaign: two parsers, a page parser, and the wire.

For every row that is not refused the header lines, the MIME tree and the tags of the page are those of a harmless row.
"""

import html.parser
import random
import re
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import fast_mail_parser
import pytest

from bulkmail.content.compiler import compile_content
from bulkmail.content.errors import ContentError
from bulkmail.content.program import Program
from bulkmail.model.campaign import Tracking, Unsubscribe
from bulkmail.native.stuffing import stuff
from tests.content.conftest import MakeCampaign
from tests.content.test_program import DATE, TOKEN

INJECTIONS = [
    *("\r\n", "\n", "\r", "\0", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\u560a\u560d", "\x7f", "\ud800", "\x1b"),
    *("\r\n.\r\n", "\n.\n", "\r.\r", "\r\n\r\n", "\n\nFrom ", "=?utf-8?q?=0D=0ABcc:_x?=", "%0d%0a", "\t"),
]
MARKUP = [
    *("<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "</textarea><svg/onload=alert(1)>", "--><b>"),
    *(
        "javascript:alert(1)",
        "JaVa\tscript:x",
        "data:text/html,<b>",
        "]]>",
        "</title><b>",
        "{{ 7 * 7 }}",
        "{# x",
        "<!--",
    ),
    *(
        "{% include '/etc/passwd' %}",
        '" style="x',
        "' onclick='x",
        "&lt;b&gt;",
        "`onload=x`",
        "Bcc: victim@example.com",
    ),
    *("Content-Type: text/html", f"--=_{TOKEN}_2--", "x" * 2000, "é" * 300, ";filename=x", "BEGIN:VEVENT", ""),
    "ATTENDEE:mailto:evil@example.com",
]
HTML = """<html><head><title>{{ a }}</title><style>p { color: {{ b }} }</style></head><body>
<!-- {{ a }} --><p title="{{ a }}" class='{{ b }}'>{{ a }}{% if b %} and {{ b | upper }}{% endif %}</p>
<a href="{{ c }}">{{ a | title }}</a> <a href="https://x.example/{{ c }}?q={{ a | urlencode }}">x</a>
{% for x in d %}<li data-x="{{ x }}">{{ loop.index }}{{ x ~ a }}</li>{% endfor %}<img src="{{ c }}" alt="{{ b }}">
<p style="width: {{ b }}">{{ a | default("<none>") | e }} {{ address }}</p>
<script type="application/ld+json">{"a": {{ a | tojson }}}</script></body></html>
"""
TEXT = "{{ a }}\n.{{ b }}\n{{ c }}{% for x in d %}\n{{ x }}{% endfor %}\nFrom {{ a }}\n"
CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//x//x//EN
METHOD:REQUEST
BEGIN:VEVENT
UID:{{ token }}@garden.example
DTSTAMP:20270301T000000Z
DTSTART:20270508T100000Z
SUMMARY:{{ a }}
LOCATION:{{ b | default("here") }}
ATTENDEE:mailto:{{ address }}
END:VEVENT
END:VCALENDAR
"""


class Tags(html.parser.HTMLParser):
    """Tags and names of attributes, and the schemes of links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs]))
        for name, value in attrs:
            if name in ("href", "src"):
                scheme = re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]*):", value or "")
                assert scheme is None or scheme[1].lower() in ("http", "https", "mailto"), value

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"/{tag}")


@pytest.fixture(params=[True, False], ids=["segments", "jinja"])
def program(request: pytest.FixtureRequest, make_campaign: MakeCampaign) -> Program:
    campaign = make_campaign(
        html=HTML,
        text=TEXT,
        files={"calendar": CALENDAR, "amp": "<html ⚡4email><body><b title='{{ a }}'>{{ b }}</b></body></html>"},
        given={"preheader": "{{ a }}"},
        inline={"logo.png": b"x"},
        attachments={"terms.txt": b"terms"},
        subject="{{ a }} for {{ b | default('you') }}",
        headers={"X-A": "{{ a | upper }}", "X-B": "{% if b %}{{ b }}{% endif %}-{{ c }}"},
        unsubscribe=Unsubscribe(url="https://garden.example/{{ b }}/u/{{ token }}", mailto="u@garden.example"),
        tracking=Tracking(url="https://go.garden.example", links=True, opens=True),
        reply_to="Care <care@garden.example>",
    )
    return compile_content(campaign, compiled=request.param)


def row(chance: random.Random) -> dict[str, Any]:
    def text() -> str:
        pieces = [chance.choice(["Ann", "Graz", "", "é", "漢字"]) for _ in range(2)]
        if chance.random() < 0.5:
            pieces.insert(chance.randrange(3), chance.choice(MARKUP))
        if chance.random() < 0.12:
            pieces.insert(chance.randrange(3), chance.choice(INJECTIONS))
        return "".join(pieces)

    colour = chance.choice(["red", "1px", "#fff"])
    return {
        "a": text() or "x",
        "b": text() or "x" if chance.random() < 0.3 else colour,
        "c": text() if chance.random() < 0.3 else "https://x.example/?a=b&c=d",
        "d": [text(), text()],
    }


def shape(part: EmailMessage) -> Any:
    if part.is_multipart():
        return part.get_content_type(), [shape(child) for child in part.iter_parts()]  # type: ignore[arg-type]
    return part.get_content_type(), part.get_filename()


def page_of(parsed: EmailMessage, kind: str) -> str:
    part = next(part for part in parsed.walk() if part.get_content_type() == kind)
    return str(part.get_payload(decode=True).decode())  # type: ignore[union-attr]


def anatomy(data: bytes) -> Any:
    """What no value may change."""
    assert data.isascii()
    assert re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", stuff(data)) is None
    assert max(map(len, data.split(b"\r\n"))) <= 998
    names = [
        line.partition(b":")[0] for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n") if line[:1] not in b" \t"
    ]
    parsed = BytesParser(policy=policy.default).parsebytes(data)
    assert not [defect for part in parsed.walk() for defect in part.defects]
    page, amp = Tags(page_of(parsed, "text/html")).found, Tags(page_of(parsed, "text/x-amp-html")).found
    calendar = page_of(parsed, "text/calendar").split("\r\n")
    assert max(len(line.encode()) for line in calendar) <= 75
    ics = [re.split("[:;]", line)[0] for line in calendar if not line.startswith(" ")]
    return names, shape(parsed), page, amp, ics  # type: ignore[arg-type]


def test_no_row_changes_anything_but_its_own_words(program: Program) -> None:
    harmless = {"a": "Ann", "b": "red", "c": "https://x.example/", "d": ["x", "y"]}
    expected = anatomy(program.render("ann@example.com", program.encode_row(harmless), TOKEN, DATE).data)
    chance = random.Random(7)
    good = 0
    for number in range(3_000):
        fields = row(chance)
        problem = program.problem(fields)
        try:
            data = program.render("ann@example.com", program.encode_row(fields), TOKEN, DATE).data
        except ContentError:
            assert problem is not None, fields
            continue
        assert problem is None
        good += 1
        if good % 4 == 0 or number < 200:
            assert anatomy(data) == expected, fields
        else:
            assert re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", data) is None
            assert data.count(b"\r\n--=_") == data.count(b"\r\n--=_" + TOKEN.encode())
    assert 600 < good < 2_900


def test_two_parsers_read_the_same_from_every_message(program: Program) -> None:
    chance = random.Random(8)
    compared = 0
    while compared < 60:
        fields = row(chance)
        if program.problem(fields) is not None:
            continue
        compared += 1
        data = program.render("ann@example.com", program.encode_row(fields), TOKEN, DATE).data
        one, two = BytesParser(policy=policy.default).parsebytes(data), fast_mail_parser.parse_email(data)
        assert two.subject == str(one["Subject"])
        for name in ("X-A", "X-B", "From", "To", "Message-ID", "List-Id", "Feedback-ID", "Reply-To", "Date"):
            assert two.headers[name] == [str(one[name])], name
        assert squeezed(two.headers["List-Unsubscribe"][0]) == squeezed(str(one["List-Unsubscribe"]))
        bodies = {kind: page_of(one, kind) for kind in ("text/plain", "text/html")}  # type: ignore[arg-type]
        assert two.text_plain[0] == bodies["text/plain"]
        assert two.text_html[0] == bodies["text/html"]
        files = {part.filename: part.content for part in two.attachments if part.filename}
        assert files == {"terms.txt": b"terms", "logo.png": b"x"}


def test_addresses_and_file_names_are_the_same_to_two_parsers(make_campaign: MakeCampaign) -> None:
    names = [
        "plain.pdf",
        "Übersicht März 2027.pdf",
        'quo"te;x=y.pdf',
        "漢" * 40 + ".pdf",
        "a'b%20c.pdf",
        "long " * 20 + ".pdf",
    ]
    for sender in ("Acme, Garden", "Müller & Söhne", 'A "B" C', "漢字 " * 12, "x" * 70, "a=?utf-8?q?b?="):
        quoted = sender.replace('"', '\\"')
        campaign = make_campaign(
            text="x", attachments=dict.fromkeys(names, b"x"), from_=f'"{quoted}" <news@garden.example>', subject=sender
        )
        data = compile_content(campaign).render("ann+x@example.com", b"[]", TOKEN, DATE).data
        one, two = BytesParser(policy=policy.default).parsebytes(data), fast_mail_parser.parse_email(data)
        assert [part.get_filename() for part in one.iter_attachments()] == names  # type: ignore[attr-defined]
        assert [part.filename for part in two.attachments] == names
        assert two.subject == str(one["Subject"]) == sender.strip()
        address = one["From"].addresses[0]
        assert (address.display_name.replace(" ", ""), address.addr_spec) == (
            sender.strip().replace(" ", ""),
            "news@garden.example",
        )
        assert "news@garden.example" in two.headers["From"][0]


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_a_calendar_is_an_invitation_between_the_other_bodies(program: Program) -> None:
    fields = {"a": "Tea; cake, \\ " + "é" * 60, "b": "red", "c": "#", "d": []}
    message = program.render("ann@example.com", program.encode_row(fields), TOKEN, DATE)
    parsed = BytesParser(policy=policy.default).parsebytes(message.data)
    (part,) = [part for part in parsed.walk() if part.get_content_type() == "text/calendar"]
    assert part.get_param("method") == "REQUEST"
    unfolded = page_of(parsed, "text/calendar").replace("\r\n ", "")  # type: ignore[arg-type]
    assert "SUMMARY:Tea\\; cake\\, \\\\ " + "é" * 60 in unfolded
    alternative = next(part for part in parsed.walk() if part.get_content_type() == "multipart/alternative")
    kinds = [part.get_content_type() for part in alternative.iter_parts()]
    assert kinds == ["text/plain", "text/x-amp-html", "multipart/related", "text/calendar"]
