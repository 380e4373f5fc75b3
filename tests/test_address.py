"""Addresses: what is one, what is not and why, and which two are the same mailbox."""

import time
import timeit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkmail.address import (
    Address,
    AddressError,
    Mailbox,
    comparison_key,
    parse_address,
    parse_domain,
    parse_mailbox,
    wire_address,
)


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("a@b.example", "a", "b.example"),
        ("Anna.Muster+tag@Garden.EXAMPLE", "Anna.Muster+tag", "garden.example"),
        ("!#$%&'*+-/=?^_`{|}~@x.example", "!#$%&'*+-/=?^_`{|}~", "x.example"),
        ('"a b"@x.example', '"a b"', "x.example"),
        ('"a@b"@x.example', '"a@b"', "x.example"),
        (r'"a\"b\\"@x.example', r'"a\"b\\"', "x.example"),
        ('""@x.example', '""', "x.example"),
        ("1@1.2.example", "1", "1.2.example"),
        ("a@x-y--z.example", "a", "x-y--z.example"),
        ("a@XN--MNCHEN-3YA.example", "a", "xn--mnchen-3ya.example"),
        ("a@münchen.example", "a", "xn--mnchen-3ya.example"),
        ("a@MÜNCHEN.example", "a", "xn--mnchen-3ya.example"),
        ("a@mu\u0308nchen.example", "a", "xn--mnchen-3ya.example"),
        ("a@J\u030c.example", "a", "xn--ska.example"),
        ("a@faß.example", "a", "xn--fa-hia.example"),
        ("a@例え.テスト", "a", "xn--r8jz45g.xn--zckzah"),
        ("用户@例え.テスト", "用户", "xn--r8jz45g.xn--zckzah"),
        ('"jürgen x"@x.example', '"jürgen x"', "x.example"),
        ("a" * 64 + "@x.example", "a" * 64, "x.example"),
        ("a@" + "b" * 63 + ".example", "a", "b" * 63 + ".example"),
    ],
)
def test_a_mailbox_is_taken_as_written_with_its_domain_folded(text: str, local: str, domain: str) -> None:
    assert parse_address(text) == Address(local, domain)


BROKEN = [
    ("", "the address is empty"),
    (" ", "no @"),
    ("anna.example", "no @"),
    ("@x.example", "nothing before the @"),
    ("anna@", "nothing after the @"),
    ("a@b@c.example", "more than one @"),
    ("a@b.example, c@d.example", "more than one @; a row has one address"),
    ("Anna <a@b.example>", "a name or angle brackets; the bare address is needed"),
    ("<a@b.example>", "a name or angle brackets; the bare address is needed"),
    ("mailto:a@b.example", 'starts with "mailto:"; the bare address is needed'),
    (" a@b.example", "space in the local part"),
    ("a b@b.example", "space in the local part"),
    ("a@b.example ", "space in the domain"),
    (".a@b.example", "the local part starts with a dot"),
    ("a.@b.example", "the local part ends with a dot"),
    ("a..b@b.example", "two dots in a row in the local part"),
    ("a,b@b.example", '"," in the local part'),
    ('a"b"@b.example', "quotation mark in the local part"),
    ("a@b", "the domain has no dot"),
    ("a@localhost", "the domain has no dot"),
    ("a@.b.example", "the domain starts with a dot"),
    ("a@b.example.", "the domain ends with a dot"),
    ("a@b..example", "two dots in a row in the domain"),
    ("a@-b.example", "a label of the domain starts or ends with a hyphen"),
    ("a@b-.example", "a label of the domain starts or ends with a hyphen"),
    ("a@b_c.example", '"_" in the domain'),
    ("a@b.example,", '"," in the domain'),
    ("a@[192.0.2.1]", "the domain is an address literal; a domain name is needed"),
    ("a@192.0.2.1", "the domain is a number; a domain name is needed"),
    ("a@b.3com", "the last label of the domain starts with a digit"),
    ("a" * 65 + "@x.example", "the local part is 65 octets long, where 64 are allowed"),
    ("ä" * 33 + "@x.example", "the local part is 66 octets long, where 64 are allowed"),
    ("a@" + "b" * 64 + ".example", "a label of the domain is longer than 63 octets"),
    ("a@" + "b." * 126 + "example", "the domain is longer than 255 octets"),
    ("a@" + "b." * 123 + "example", "too long: 255 octets, where 254 are allowed"),
    ("a@ü/.example", '"/" in the domain'),
    ("a@ü☃.example", '"☃" (U+2603) in the domain'),
    ("a@אa.example", '"אa" in the domain is no internationalised label (IDNA 2008)'),
    ("a@" + "ü" * 60 + ".example", '"' + "ü" * 60 + '" in the domain is no internationalised label (IDNA 2008)'),
    ("a" * 1000, "too long: 1000 characters, where 254 octets are allowed"),
    ("a\r\nb@x.example", "control character U+000D"),
    ("a\0@x.example", "control character U+0000"),
    ("a\x85@x.example", "control character U+0085"),
    ("a@x.example\n", "control character U+000A"),
    ("a\u2028@x.example", "invisible or invalid character U+2028"),
    ("\u200ba@x.example", "invisible or invalid character U+200B"),
    ("a@x\u00ad.example", "invisible or invalid character U+00AD"),
    ("a\ud800@x.example", "invisible or invalid character U+D800"),
    ("a\u00a0b@x.example", "odd space U+00A0"),
    ("a@x。example", '"。" (U+3002) in the domain'),
    ("a@ｘ.example", '"ｘ" (U+FF58) in the domain'),
    ("a@ban\u212a.example", '"\u212a" (U+212A) in the domain'),
    ("a@℀.example", '"℀" (U+2100) in the domain'),
    ("a＠x.example", "no @"),
    ('"a@x.example', "the quotation mark is not closed"),
    ('"a\\', "the quotation mark is not closed"),
    ('"a"b@x.example', "text after the quoted local part"),
    ('"a"', "no @"),
    ('"a"@b@x.example', "more than one @"),
    ('"\\ä"@x.example', "a backslash before a character beyond ASCII"),
]


@pytest.mark.parametrize(("text", "sentence"), BROKEN, ids=[repr(text)[:40] for text, _ in BROKEN])
def test_what_is_no_mailbox_gets_its_reason(text: str, sentence: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert str(caught.value) == sentence


CONFUSING = [
    '"evil@attacker.example x"@ours.example',
    '"a@attacker.example> x"@ours.example',
    "user%attacker.example@ours.example",
    "attacker.example!user@ours.example",
    '"user@attacker.example"@ours.example',
]


@pytest.mark.parametrize("text", CONFUSING)
def test_a_quoted_or_routed_local_part_never_becomes_the_domain(text: str) -> None:
    address = parse_address(text)
    assert address.domain == "ours.example"
    assert wire_address(address) == text


REFUSED = [
    "user@attacker.example(@ours.example",
    "user@ours.example(@attacker.example)",
    "(a(b(c)d)e)user@ours.example",
    "user(x)@ours.example",
    "user@(x)ours.example",
    "group: user@attacker.example;@ours.example",
    "group:user@attacker.example, x@ours.example;",
    "<@ours.example:user@attacker.example>",
    "@ours.example:user@attacker.example",
    "user\r\n .x@ours.example",
    "user\r\n @attacker.example@ours.example",
    "user@ours\r\n .attacker.example",
    'x"@attacker.example"@ours.example',
    "user@attacker.example\0@ours.example",
    "user@attacker.example,user@ours.example",
    "user@ours.example>\r\nRCPT TO:<x@attacker.example",
    "=?utf-8?q?user=40attacker.example=3e=00?=foo@",
    "alice@example.org)bob@attacker.example",
    "user@ours.example/.attacker.example",
    "user@ours.example\\.attacker.example",
    "user@ours.example#.attacker.example",
    "user@ours.example?.attacker.example",
    "user@ours.example／.attacker.example",
    "user@ours.example。attacker.example",
    "user@ours.example．attacker.example",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_parsers_disagree_about_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text)


@pytest.mark.parametrize("piece", ["(((", ",", ":;", "a(b)", '"', '\\"', "@", ".", "a.", "a@", "<", "é", "-", " "])
@pytest.mark.parametrize("parse", [parse_address, parse_domain, parse_mailbox])
@pytest.mark.parametrize("frame", ["{}", "a@{}", '"{}', "{}@x.example", "x <{}>", '"{}" <a@x.example>'])
def test_a_megabyte_of_garbage_is_refused_at_once(parse, piece: str, frame: str) -> None:
    text = frame.format(piece * (1_000_000 // len(piece)))
    started = time.process_time()
    with pytest.raises(AddressError):
        parse(text)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("piece", ["(((", ",", ":;", '\\"', "@", ".", "a.", "a-", "é", "a" * 63 + "."])
@pytest.mark.parametrize("frame", ["{}", "a@{}", '"{}"@x.example', "{}@x.example"])
def test_garbage_of_the_greatest_length_looked_at_is_quick(piece: str, frame: str) -> None:
    text = frame.format(piece * (310 // len(piece)))
    started = time.process_time()
    with pytest.raises(AddressError):
        parse_address(text)
    assert time.process_time() - started < 1


SAME = [
    ("a@x.example", "A@X.EXAMPLE"),
    ('"a"@x.example', "a@x.example"),
    (r'"\a\b"@x.example', "AB@x.example"),
    ('"a.b"@x.example', "a.b@x.example"),
    (r'"a\ b"@x.example', '"A b"@x.example'),
    ("a@münchen.example", "a@xn--mnchen-3ya.example"),
    ("a@MÜNCHEN.example", "a@XN--MNCHEN-3YA.example"),
    ("jürgen@x.example", "JU\u0308RGEN@x.example"),
    ('"jürgen"@x.example', "Jürgen@x.example"),
    ("\u212aim@x.example", "kim@x.example"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_mailbox_have_one_key(one: str, other: str) -> None:
    assert comparison_key(parse_address(one)) == comparison_key(parse_address(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a@x.example", "b@x.example"),
        ("a@x.example", "a@y.example"),
        ("a+b@x.example", "a@x.example"),
        ("a.b@x.example", "ab@x.example"),
        ('"a b"@x.example', '"ab"@x.example'),
        ('"a@x.example"@y.example', "a@x.example"),
        ('""@x.example', "x@x.example"),
        ('".a"@x.example', "a@x.example"),
    ],
)
def test_different_mailboxes_have_different_keys(one: str, other: str) -> None:
    assert comparison_key(parse_address(one)) != comparison_key(parse_address(other))


def test_the_key_of_a_quoted_local_part_is_quoted_only_where_it_must_be() -> None:
    assert comparison_key(parse_address('"A.B"@x.example')) == "a.b@x.example"
    assert comparison_key(parse_address(r'"a \"B\\"@x.example')) == r'"a \"b\\"@x.example'


def test_utf8_local_parts_are_told_apart_from_ascii_ones() -> None:
    assert parse_address("a@münchen.example").ascii_only
    assert not parse_address("jürgen@x.example").ascii_only


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("a@x.example", "", "a@x.example"),
        ("<a@x.example>", "", "a@x.example"),
        ("Acme Garden <news@garden.example>", "Acme Garden", "news@garden.example"),
        ('"Acme, Inc. \\"G\\"" <a@x.example>', 'Acme, Inc. "G"', "a@x.example"),
        ("Acme, Inc. <a@x.example>", "Acme, Inc.", "a@x.example"),
        ("Müller & Söhne <a@x.example>", "Müller & Söhne", "a@x.example"),
        (' "A" <a@x.example> ', "A", "a@x.example"),
        ('A <"b c"@x.example>', "A", '"b c"@x.example'),
    ],
)
def test_a_mailbox_has_a_name_and_an_address(text: str, name: str, address: str) -> None:
    assert parse_mailbox(text) == Mailbox(name, parse_address(address))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the address is empty"),
        ("Acme", "no @"),
        ("a@x.example>", '">" without "<"'),
        ("Acme <a@x.example> x", "space in the local part"),
        ("Acme <>", "the address is empty"),
        ("Acme <a@x>", "the domain has no dot"),
        ("a@x.example <b@y.example>", '"@" in the name; one mailbox is wanted, with such a name in quotes'),
        ("A <a@x.example>, B <b@y.example>", '"<" in the name; one mailbox is wanted, with such a name in quotes'),
        ('"A" x <b@y.example>', "text between the quoted name and the <"),
        ('"A <b@y.example>', "the quotation mark is not closed"),
        ("A\r\nBcc: x <b@y.example>", "control character U+000D"),
        ("A\u2028B <b@y.example>", "invisible or invalid character U+2028"),
    ],
)
def test_what_is_no_named_mailbox_gets_its_reason(text: str, sentence: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_mailbox(text)
    assert str(caught.value) == sentence


def test_a_domain_is_folded_like_that_of_an_address() -> None:
    assert parse_domain("Garden.EXAMPLE") == "garden.example"
    assert parse_domain("münchen.example") == "xn--mnchen-3ya.example"


@given(st.text(max_size=80))
@example('"\\"@x.example')
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert "@" not in address.domain
    assert address.domain.isascii() and address.domain == address.domain.lower()
    assert wire_address(address).isprintable()
    assert parse_address(wire_address(address)) == address
    key = comparison_key(address)
    assert comparison_key(parse_address(key)) == key


locals_ = st.text(st.sampled_from('abzA09.+-_"\\ @()<>,;:äß用'), min_size=1, max_size=12)
domains = st.text(st.sampled_from("abz09.-_@()[]/ üß"), min_size=1, max_size=12)


@given(locals_, domains)
def test_the_parts_are_those_around_the_last_at_sign(local: str, domain: str) -> None:
    """Whatever is accepted was split where no reading of the grammar could split otherwise."""
    text = f"{local}@{domain}.example"
    try:
        address = parse_address(text)
    except AddressError:
        return
    before, _, after = text.rpartition("@")
    assert address.local == before
    assert address.domain == parse_domain(after)
    if not before.startswith('"'):
        assert "@" not in before


def test_the_common_address_takes_about_a_microsecond() -> None:
    """Ten times the figure measured on an idle machine, so that only another order of cost fails."""

    def once() -> str:
        return comparison_key(parse_address("anna.muster@mail.garden.example"))

    assert min(timeit.repeat(once, number=2000, repeat=5)) / 2000 < 10e-6
