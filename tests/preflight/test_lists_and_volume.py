"""The judgement of lists, colours, links and the time a send takes."""

from collections import Counter

import pytest

from bulkmail.config.load import load_campaign
from bulkmail.model.recipient import Recipient
from bulkmail.preflight.colours import Sheet, colour_in, contrast
from bulkmail.preflight.hygiene import Hygiene
from bulkmail.preflight.links import is_local, same_house
from bulkmail.preflight.page import read_page
from bulkmail.preflight.receivers import judged
from bulkmail.preflight.volume import loads, span
from tests.preflight.faulty import make_key, sound_campaign


@pytest.mark.parametrize("domain", ["gmial.com", "gmail.co", "gmaill.com", "hotmial.com", "yaho.com", "outlok.com"])
def test_slips_of_the_keyboard_are_told_from_domains_that_there_are(domain) -> None:
    list_ = Hygiene()
    list_.take(Recipient(address=f"a@{domain}"), "a", domain)
    assert [finding.rule for finding in list_.findings()] == ["recipients.typo"]


@pytest.mark.parametrize("domain", ["gmail.com", "mail.com", "ymail.com", "gmx.at", "yahoo.de", "live.fr", "web.de"])
def test_real_domains_are_no_slips(domain) -> None:
    list_ = Hygiene()
    list_.take(Recipient(address=f"a@{domain}"), "a", domain)
    assert list(list_.findings()) == []


def test_a_trait_is_one_finding_with_its_count_and_first_rows() -> None:
    list_ = Hygiene({"throwaway.example"})
    for line in range(2, 12):
        row = Recipient(address=f"r{line}@throwaway.example", source="list.csv", line=line)
        list_.take(row, f"r{line}", "throwaway.example")
    (finding,) = list_.findings()
    assert finding.what.startswith("10 rows: list.csv:2 r2@throwaway.example") and finding.what.endswith(", ...")


def test_colours_are_read_and_their_contrast_is_that_of_wcag() -> None:
    assert colour_in("#FFF") == colour_in("white") == colour_in("rgb(255, 255, 255)") == (255, 255, 255)
    assert colour_in("url(x.png) no-repeat") is None and colour_in("transparent") is None
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21.0)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


def test_dark_rules_are_read_from_their_media_block_alone() -> None:
    sheet = Sheet()
    sheet.read(
        ".a, td.b { color: #111 } @media (max-width: 9px) { .a { color: red } }"
        "@media (prefers-color-scheme: dark) { .x .a { color: #eee !important } }"
    )
    assert sheet.light == {".a": {"color": "#111"}, ".b": {"color": "#111"}}
    assert sheet.dark == {".a": {"color": "#eee"}}


def test_a_page_is_read_as_it_is_seen() -> None:
    page = read_page(
        '<html lang="de"><body><p style="display:none">hidden</p><!--[if mso]><table><![endif]-->'
        '<a href="https://x.example/">Go <img src="cid:a" alt="there"></a><div id="top"><p>One<p>Two</div>'
    )
    assert page.text == "Go One Two" and page.language == "de" and page.anchors == {"top"}
    (link,) = page.links
    assert (link.target, link.words.split(), link.pictures) == ("https://x.example/", ["Go", "there"], 1)
    assert page.unclosed == []
    assert read_page("<div><b>x</div>").unclosed == ["<b>"]


def test_hosts_of_one_house_are_told_from_others_and_from_local_ones() -> None:
    assert same_house("www.garden.example", "garden.example") and same_house("a.garden.example", "b.garden.example")
    assert not same_house("garden.example", "garden.example.evil.example") and not same_house("a.co.uk", "b.co.uk")
    assert is_local("localhost") and is_local("10.0.0.1") and is_local("printer") and not is_local("garden.example")


def test_domains_of_one_provider_share_its_limits(tmp_path) -> None:
    file = sound_campaign(tmp_path, make_key())
    file.write_text(
        file.read_text() + "limits: {default: {messages: 10/s}, domains: {slow.example: {messages: 1/m}}}\n"
    )
    campaign = load_campaign(file)
    domains = Counter({"gmail.com": 600, "googlemail.com": 400, "slow.example": 3, "brook.example": 50})
    by_site = {load.site: load for load in loads(campaign, domains, {})}
    assert by_site["google"].messages == 1000 and by_site["google"].seconds == pytest.approx(100.0)
    assert by_site["slow.example"].seconds == pytest.approx(180.0)
    assert by_site["brook.example"].seconds == pytest.approx(5.0)
    hosts = {"brook.example": ((10, "aspmx.l.google.com"),)}
    assert {load.site: load.messages for load in loads(campaign, domains, hosts)}["google"] == 1050


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 s"), (90, "90 s"), (600, "10 min"), (7200, "2 h"), (9e5, "10 d")]
)
def test_times_are_said_in_words(seconds, said) -> None:
    assert span(seconds) == said


def test_what_receivers_ask_is_met_not_met_or_not_seen() -> None:
    met = {one.says: one.met for one in judged({"dkim.missing"}, kind="marketing", looked_up=False)}
    assert met["DKIM signature"] is False and met["SPF"] is None and met["visible unsubscribe link"] is True
    transactional = {one.says for one in judged(set(), kind="transactional", looked_up=True)}
    assert "one-click unsubscribe (RFC 8058)" not in transactional
