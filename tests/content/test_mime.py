"""The MIME tree: its shape, inline images, attachments, and files that cannot be used."""

import os
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest

from bulkmail.content.compiler import compile_content
from bulkmail.content.mime import guess_type
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, Content
from tests.content.conftest import MakeCampaign

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
TOKEN = "aaaaaaiaaaaaeaadka43vy5kswdgaazb"


def message_of(campaign: Campaign) -> EmailMessage:
    message = compile_content(campaign).render("a@b.example", b"[]", TOKEN, "Mon, 01 Mar 2027 08:15:00 +0000")
    parsed = BytesParser(policy=policy.default).parsebytes(message.data)
    assert not [defect for part in parsed.walk() for defect in part.defects]
    return parsed


def shape(part: Any) -> Any:
    if part.is_multipart():
        return {part.get_content_subtype(): [shape(child) for child in part.iter_parts()]}
    return part.get_content_type()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"text": "x"}, "text/plain"),
        ({"html": "x"}, {"alternative": ["text/plain", "text/html"]}),
        ({"files": {"markdown": "x"}}, {"alternative": ["text/plain", "text/html"]}),
        ({"text": "x", "html": "y"}, {"alternative": ["text/plain", "text/html"]}),
        (
            {"html": "y", "inline": {"a.png": PNG}},
            {"alternative": ["text/plain", {"related": ["text/html", "image/png"]}]},
        ),
        (
            {"text": "x", "html": "y", "inline": {"a.png": PNG, "b.gif": PNG}, "attachments": {"c.pdf": b"%PDF"}},
            {
                "mixed": [
                    {"alternative": ["text/plain", {"related": ["text/html", "image/png", "image/gif"]}]},
                    "application/pdf",
                ]
            },
        ),
        ({"text": "x", "attachments": {"a.csv": b"a,b\n"}}, {"mixed": ["text/plain", "text/csv"]}),
    ],
)
def test_the_tree_has_only_the_levels_it_needs(make_campaign: MakeCampaign, settings: Any, expected: Any) -> None:
    message = message_of(make_campaign(**settings))
    assert shape(message) == expected
    assert message["MIME-Version"] == "1.0"
    for part in message.walk():
        encoding = part["Content-Transfer-Encoding"]
        if part.is_multipart():
            assert encoding is None
            assert TOKEN in part.get_boundary("")
        elif part.get_content_maintype() == "text" and not part.is_attachment():
            assert encoding == "quoted-printable"
            assert part.get_content_charset() == "utf-8"
        else:
            assert encoding == "base64"


def test_files_arrive_whole_under_their_names(make_campaign: MakeCampaign) -> None:
    files = {"plain.bin": bytes(range(256)) * 3, "empty.bin": b"", 'quo"te.pdf': b"x", "Übersicht März 2027.pdf": b"y",
             "漢" * 40 + ".pdf": b"z"}  # fmt: skip
    message = message_of(make_campaign(attachments=files))
    assert {part.get_filename(): part.get_payload(decode=True) for part in message.iter_attachments()} == files


def test_references_to_inline_images_become_content_ids(make_campaign: MakeCampaign) -> None:
    html = (
        '<img src="logo.png"><img src=\'img/logo.png\'><img src="cid:logo.png"><td background="logo.png">'
        "<td style=\"background: url('logo.png')\"><td style='background: url(logo.png)'>"
        '<img src="https://x.example/logo.png"><img src="other.png"><a href="logo.png">logo.png</a>'
    )
    message = message_of(make_campaign(html=html, inline={"logo.png": PNG}))
    _, related = message.iter_parts()
    page, image = related.iter_parts()
    cid = f"cid:{image['Content-ID'][1:-1]}"
    text = page.get_content()
    assert text.count(cid) == 6
    assert 'src="https://x.example/logo.png"' in text
    assert 'src="other.png"' in text
    assert '<a href="logo.png">logo.png</a>' in text
    assert image.get_content() == PNG
    assert image.get_content_disposition() == "inline"
    assert image["Content-ID"].endswith("@garden.example>")


def test_a_cid_without_its_file_is_refused_with_line_and_nearest_name(make_campaign: MakeCampaign) -> None:
    with pytest.raises(CampaignError, match=r"body.html:2: cid:lgo.png .*did you mean logo.png"):
        compile_content(make_campaign(html='<p>\n<img src="cid:lgo.png">', inline={"logo.png": PNG}))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "image/png"),
        ("a.webp", "image/webp"),
        ("a.tar.gz", "application/gzip"),
        ("a.eml", "application/octet-stream"),
        ("a", "application/octet-stream"),
        ("a.unheard-of", "application/octet-stream"),
    ],
)
def test_content_types(name: str, expected: str) -> None:
    assert guess_type(name) == expected


def test_a_missing_file_is_named_with_its_key(make_campaign: MakeCampaign) -> None:
    for key in ("html", "text"):
        with pytest.raises(CampaignError, match=rf"/nowhere/x: content.{key}: .*No such file"):
            compile_content(
                Campaign(campaign="a", from_="a@b.example", subject="s", content=Content(**{key: "/nowhere/x"}))
            )
    for key in ("inline", "attachments"):
        content = Content(html=make_campaign(html="x").content.html, **{key: (os.devnull + "/x",)})
        with pytest.raises(CampaignError, match=rf"content.{key}\[0\]: "):
            compile_content(Campaign(campaign="a", from_="a@b.example", subject="s", content=content))


def test_a_template_that_is_not_utf8_is_refused_with_its_line(make_campaign: MakeCampaign) -> None:
    with pytest.raises(CampaignError, match=r"body.txt:3: .*0xE9 is not UTF-8"):
        compile_content(make_campaign(text=b"a\nb\ncaf\xe9"))


def test_a_byte_order_mark_is_not_sent(make_campaign: MakeCampaign) -> None:
    assert message_of(make_campaign(text=b"\xef\xbb\xbfhello\n")).get_content() == "hello\r\n"


def test_content_that_makes_no_sense_is_refused(make_campaign: MakeCampaign) -> None:
    with pytest.raises(CampaignError, match="neither html nor text"):
        compile_content(Campaign(campaign="a", from_="a@b.example", subject="s", content=Content()))
    with pytest.raises(CampaignError, match="inline images need"):
        compile_content(make_campaign(text="x", inline={"a.png": PNG}))


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"from_": "nobody"}, "from"),
        ({"from_": "é@garden.example"}, "from"),
        ({"reply_to": "x y"}, "reply_to"),
        ({"return_path": "x"}, "return_path"),
        ({"list_id": "news"}, "list_id"),
        ({"list_id": "News <news.example"}, "list_id"),
        ({"list_id": "News\r\nX: <news.acme.example>"}, "list_id"),
    ],
)
def test_senders_and_ids_that_are_none_are_refused(make_campaign: MakeCampaign, settings: Any, where: str) -> None:
    with pytest.raises(CampaignError, match=f"^spring.yaml: {where}: "):
        compile_content(make_campaign(**settings))


@pytest.mark.parametrize(
    "url", ["ftp://x.example/", "{{ a }}", "https://x.example/ä", "https://x.example/a b", "https://x.example/<>"]
)
def test_unsubscribe_urls_that_are_none_are_refused(make_campaign: MakeCampaign, url: str) -> None:
    from bulkmail.model.campaign import Unsubscribe

    with pytest.raises(CampaignError, match=r"^spring.yaml: unsubscribe.url: "):
        compile_content(make_campaign(unsubscribe=Unsubscribe(url=url)))
