"""Header values: folding, encoded words, file name parameters, and the names a campaign may set."""

import re
from email import policy
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.content.compiler import compile_content
from bulkmail.content.errors import ContentError
from bulkmail.content.headers import encoded_words, mailbox, name_problem, parameter, unstructured
from bulkmail.errors import CampaignError
from tests.content.conftest import MakeCampaign

CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029")
WORDS = st.sampled_from(
    ["a", "word", "=?utf-8?q?x?=", "é", "漢字漢字漢字漢字", "😀😀", "x" * 80, "?=", "_", "=", ",", "  "]
)
TEXT = st.lists(st.one_of(WORDS, st.text(CHARACTERS, max_size=8)), max_size=20).map(" ".join)
NAME = st.sampled_from(["Subject", "X-A", "X-" + "Long-" * 9])


def parsed(name: str, value: str) -> Any:
    block = f"{name}: {value}\r\n\r\n".encode("ascii")
    return BytesHeaderParser(policy=policy.default).parsebytes(block)[name]


@given(NAME, TEXT)
def test_a_value_parses_back_and_its_lines_are_within_the_limits(name: str, text: str) -> None:
    value = unstructured(name, text)
    lines = f"{name}: {value}".split("\r\n")
    for number, line in enumerate(lines):
        assert len(line) <= 998
        if "=?" in line:
            assert len(line) <= 76
        assert number == 0 or (line.startswith(" ") and line.strip())
    assert parsed(name, value) == text.strip(" ")


@given(TEXT)
def test_encoded_words_are_short_and_decode_each_by_itself(text: str) -> None:
    words = list(encoded_words(text))
    assert all(len(word) <= 75 for word in words)
    assert "".join(str(make_header(decode_header(word))) for word in words) == text


def test_ascii_text_is_folded_at_78_and_a_long_word_left_whole() -> None:
    value = unstructured("Subject", "word " * 40)
    assert max(map(len, f"Subject: {value}".split("\r\n"))) <= 78
    assert value.replace("\r\n", "") == ("word " * 40).strip()
    assert unstructured("X-Data", "x" * 500) == "x" * 500
    assert "=?utf-8?" in unstructured("X-Data", "x" * 1500)


def test_short_ascii_is_taken_as_it_is() -> None:
    assert unstructured("Subject", "Hello, world") == "Hello, world"


def test_mostly_ascii_stays_readable_and_the_rest_is_base64() -> None:
    assert unstructured("Subject", "Grüße aus Graz") == "=?utf-8?q?Gr=C3=BC=C3=9Fe_aus_Graz?="
    assert unstructured("Subject", "漢字") == "=?utf-8?b?5ryi5a2X?="


@pytest.mark.parametrize("character", ["\r\n", "\n", "\r", "\0", "\t", "\x0b", "\x7f", "\x85", "\u2028", "\u2029"])
def test_controls_are_refused_whatever_stands_around_them(character: str) -> None:
    for text in (f"a{character}Bcc: b", f"é{character}", character, f"{'x ' * 60}{character}"):
        with pytest.raises(ContentError, match="Subject has"):
            unstructured("Subject", text)
        with pytest.raises(ContentError):
            mailbox("From", text, "a@b.example")


@given(st.text(CHARACTERS, max_size=60).map(lambda text: " ".join(text.split())))
def test_a_display_name_parses_back(name: str) -> None:
    value = mailbox("From", name, "news@garden.example")
    assert max(map(len, f"From: {value}".split("\r\n"))) <= 100
    header = parsed("From", value)
    assert header.addresses[0].addr_spec == "news@garden.example"
    words = re.findall(r"=\?utf-8\?[qb]\?[^?]*\?=", value)
    if len(words) > 1:  # between two words in a phrase the standard library keeps the blank (against RFC 2047 §6.2)
        assert "".join(str(make_header(decode_header(word))) for word in words) == name
    else:
        assert header.addresses[0].display_name == name


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=90))
def test_a_file_name_parameter_is_safe_and_parses_back(name: str) -> None:
    value = f"attachment{parameter('filename', name)}"
    assert value.isascii()
    assert re.search(r"\r(?!\n )|(?<!\r)\n|\x00", value) is None
    assert max(map(len, value.split("\r\n"))) <= 78
    assert decoded_parameter(value) == name


def decoded_parameter(value: str) -> str:
    """The value of one parameter (RFC 2045 §5.1, RFC 2231 §3-4), read by other code than the standard library's."""
    quoted = re.fullmatch(r'attachment;\r\n filename="((?:[^"\\]|\\.)*)"', value)
    if quoted:
        return re.sub(r"\\(.)", r"\1", quoted[1])
    sections = re.findall(r";\r\n filename(?:\*(\d+))?\*=([^;\r]+)", value)
    assert [number for number, _ in sections] in ([""], [str(number) for number in range(len(sections))])
    charset, _, text = "".join(section for _, section in sections).split("'", 2)
    assert charset == "utf-8"
    return unquote(text, errors="strict")


@pytest.mark.parametrize(
    "name",
    ["Date", "from", "TO", "Cc", "Bcc", "Subject", "Message-ID", "MIME-Version", "Content-Type", "Content-Anything",
     "Return-Path", "Received", "DKIM-Signature", "List-Unsubscribe", "List-Id", "Sender", "Reply-To", "ARC-Seal",
     "Resent-To", "Authentication-Results", "X A", "X:A", "Über", "", "X\r\nBcc", "X" * 52],
)  # fmt: skip
def test_structural_and_malformed_names_are_refused(make_campaign: MakeCampaign, name: str) -> None:
    assert name_problem(name) is not None
    with pytest.raises(CampaignError, match=r"spring\.yaml: headers"):
        compile_content(make_campaign(headers={name: "x"}))


def test_other_names_are_allowed_once(make_campaign: MakeCampaign) -> None:
    assert name_problem("X-Campaign") is None
    assert name_problem("Auto-Submitted") is None
    with pytest.raises(CampaignError, match="twice"):
        compile_content(make_campaign(headers={"X-A": "1", "x-a": "2"}))


def test_a_line_break_in_a_header_template_is_refused_but_not_at_its_end(make_campaign: MakeCampaign) -> None:
    compile_content(make_campaign(subject="Hello\n"))
    with pytest.raises(CampaignError, match=r"spring.yaml: subject: .*line break"):
        compile_content(make_campaign(subject="Hello\nBcc: x@y.example"))
    with pytest.raises(CampaignError, match=r"headers.X-A: .*line break"):
        compile_content(make_campaign(headers={"X-A": "{{ a }}\nb"}))


@pytest.mark.parametrize(
    ("name", "value", "good"),
    [
        ("List-Help", "<https://garden.example/help>", True),
        ("List-Owner", "<mailto:care@garden.example>, <https://garden.example/{{ token }}>", True),
        ("List-Post", "NO", True),
        ("List-Archive", "https://garden.example/", False),
        ("list-help", "<help>", False),
        ("List-Subscribe", "<https://garden.example/a b>", False),
        ("X-List", "anything", True),
    ],
)
def test_list_headers_are_uris_in_brackets(make_campaign: MakeCampaign, name: str, value: str, good: bool) -> None:
    campaign = make_campaign(headers={name: value})
    if good:
        assert compile_content(campaign).problem({}) is None
    else:
        with pytest.raises(CampaignError, match="is a URI in angle brackets"):
            compile_content(campaign)
