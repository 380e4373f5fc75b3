"""Redirect links and pixels: what is rewritten, what never is, and that nothing but our own links opens."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.content.compiler import compile_content
from bulkmail.content.tracking import LinkSeal, open_link, open_pixel
from bulkmail.model.campaign import Tracking, Unsubscribe
from tests.content.conftest import MakeCampaign
from tests.content.test_program import TOKEN

SEAL = LinkSeal(b"0123456789abcdef")
BASE = "https://go.garden.example"
TRACKING = Tracking(url=BASE + "/", links=True, opens=True)


def hrefs(make_campaign: MakeCampaign, page: str, tracking: Tracking | None = TRACKING, **row: Any) -> list[str]:
    campaign = make_campaign(
        html=page,
        tracking=tracking,
        unsubscribe=Unsubscribe(url="https://garden.example/u/{{ token }}", mailto="u@garden.example"),
    )
    found = set()
    for compiled in (True, False):
        program = compile_content(campaign, seal=SEAL, compiled=compiled)
        assert program.problem(row) is None
        html = program.preview("a@b.example", program.encode_row(row), TOKEN).html or ""
        found.add(tuple(re.findall(r"""(?:href|src)=["']([^"']*)["']""", html)))
    assert len(found) == 1
    return list(found.pop())


def leads_to(link: str) -> str:
    assert link.startswith(BASE)
    click = open_link(link.removeprefix(BASE), [LinkSeal(b"another secret!!"), SEAL])
    assert click is not None
    assert click.token == TOKEN
    return click.target


@pytest.mark.parametrize(
    ("href", "row", "target"),
    [
        ("https://x.example/", {}, "https://x.example/"),
        ("http://x.example/a?b=c&amp;d=%20#e", {}, "http://x.example/a?b=c&d=%20#e"),
        (
            "https://x.example/{{ a }}?x=1&amp;y={{ b | urlencode }}",
            {"a": "p", "b": "q r"},
            "https://x.example/p?x=1&y=q%20r",
        ),
        ("{{ a }}", {"a": "https://x.example/z"}, "https://x.example/z"),
        ("{{ a | default('https://x.example/d') }}", {}, "https://x.example/d"),
    ],
)
def test_links_lead_through_a_redirect_that_knows_where(
    make_campaign: MakeCampaign, href: str, row: dict[str, Any], target: str
) -> None:
    links = hrefs(make_campaign, f"<p><a class='x' href=\"{href}\">x</a></p></body>", **row)
    assert leads_to(links[0]) == target
    assert links[1] == f"{BASE}/o/{TOKEN}.gif"
    assert open_pixel(links[1].removeprefix(BASE)) == TOKEN


@pytest.mark.parametrize(
    ("href", "row"),
    [
        ("{{ unsubscribe_url }}", {}),
        ("mailto:care@garden.example", {}),
        ("#top", {}),
        ("tel:+1", {}),
        ("{% if a %}https://x.example/{% endif %}", {"a": 1}),
        ("{{ a }}", {"a": "mailto:x@y.example"}),
        ("https://x.example/ü", {}),
        ("", {}),
    ],
)
def test_other_links_are_left_alone(make_campaign: MakeCampaign, href: str, row: dict[str, Any]) -> None:
    page = f'<a href="{href}">x</a>'
    links_only = Tracking(url=BASE, links=True)
    assert hrefs(make_campaign, page, links_only, **row) == hrefs(make_campaign, page, None, **row)


def test_nothing_is_tracked_unless_it_is_asked_for(make_campaign: MakeCampaign) -> None:
    page = '<a href="https://x.example/">x</a>'
    assert hrefs(make_campaign, page, None) == ["https://x.example/"]
    assert hrefs(make_campaign, page, Tracking(url=BASE)) == ["https://x.example/"]
    assert hrefs(make_campaign, page, Tracking(url=BASE, opens=True)) == ["https://x.example/", f"{BASE}/o/{TOKEN}.gif"]


def test_the_header_and_the_text_are_not_tracked(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        html='<a href="https://x.example/">Go</a>',
        tracking=TRACKING,
        unsubscribe=Unsubscribe(url="https://garden.example/u/{{ token }}"),
    )
    preview = compile_content(campaign, seal=SEAL).preview("a@b.example", b"[]", TOKEN)
    assert preview.text == "Go: https://x.example/\r\n"
    assert dict(preview.headers)["List-Unsubscribe"] == f"<https://garden.example/u/{TOKEN}>"


@pytest.mark.parametrize(
    "target",
    ["javascript:alert(1)", "data:text/html,x", "//evil.example", "\\\\evil.example", "https://x\r\nSet-Cookie: a=b",
     "https://x.example/ y", "ftp://x.example", "", "/a", "https://x.example/\u2028"],
)  # fmt: skip
def test_even_sealed_nothing_but_http_is_led_to(target: str) -> None:
    assert open_link(f"/c/{SEAL.sealed(target)}/{TOKEN}", [SEAL]) is None


@given(st.integers(0, 300), st.characters(codec="ascii"))
def test_a_changed_link_leads_nowhere(at: int, character: str) -> None:
    path = f"/c/{SEAL.sealed('https://x.example/path')}/{TOKEN}"
    end = path.index(f"/{TOKEN}")
    at = 3 + at % (end - 3)
    changed = path[:at] + character + path[at + 1 :]
    click = open_link(changed, [SEAL])
    assert click is None or click.target == "https://x.example/path"  # the unused bits of the last character
    assert click is None or at == end - 1 or changed == path


@pytest.mark.parametrize(
    "path", ["", "/", "/c", "/c/x", "/c/!!/t", "/c/a/b/c", "/x/a/b", "/c//t", f"/c/{9000 * 'a'}/t"]
)
def test_other_paths_are_no_links(path: str) -> None:
    assert open_link(path, [SEAL]) is None
    assert open_pixel(path) is None
