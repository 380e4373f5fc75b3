"""SPF as RFC 7208 has it, on records like those of the published test suites: results, limits, macros, syntax."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.authentication.spf import Answer, Question, SpfVerdict, evaluate
from bulkmail.authentication.spfterms import SpfSyntaxError, parse_record

Zone = dict[tuple[str, str], tuple[str, ...]]


def judge(zone: Zone, ip: str = "192.0.2.1", domain: str = "d.example", failing: frozenset[str] = frozenset()):
    asked: list[Question] = []
    evaluation = evaluate(ip, domain, sender=f"strong-bad@{domain}", helo="mx.example.org")
    answer: Answer | None = None
    while True:
        try:
            question = evaluation.send(answer)  # type: ignore[arg-type]
        except StopIteration as done:
            verdict: SpfVerdict = done.value
            return verdict, asked
        asked.append(question)
        if question.name in failing:
            answer = Answer(failed=True)
        else:
            answer = Answer(records=zone.get((question.kind, question.name), ()))


def result(record: str, ip: str = "192.0.2.1", **zone: tuple[str, ...]) -> str:
    records: Zone = {("TXT", "d.example"): (record,)}
    records.update(
        {(key.partition("_")[0], key.partition("_")[2].replace("__", ".")): value for key, value in zone.items()}
    )
    return judge(records, ip)[0].result.value


@pytest.mark.parametrize(
    ("record", "ip", "expected"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.2.1", "pass"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.3.1", "fail"),
        ("V=SPF1 IP4:192.0.2.1 -ALL", "192.0.2.1", "pass"),
        ("v=spf1 ip4:192.0.2.1", "::ffff:192.0.2.1", "pass"),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::1", "pass"),
        ("v=spf1 ip6:2001:db8::/32 ~all", "192.0.2.1", "softfail"),
        ("v=spf1", "192.0.2.1", "neutral"),
        ("v=spf1 ?all", "192.0.2.1", "neutral"),
        ("v=spf10 +all", "192.0.2.1", "none"),
        ("spf2.0/pra +all", "192.0.2.1", "none"),
        ("v=spf1 unknown=modifier -all", "192.0.2.1", "fail"),
        ("v=spf1 -ip4:192.0.2.1 +all", "192.0.2.1", "fail"),
        ("v=spf1 +all redirect=elsewhere.example", "192.0.2.1", "pass"),
    ],
)
def test_plain_terms(record: str, ip: str, expected: str) -> None:
    assert result(record, ip) == expected


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 ip4:1.2.3 -all",
        "v=spf1 ip4:1.2.3.4/33 -all",
        "v=spf1 ip4:1.2.3.4/032 -all",
        "v=spf1 ip4 -all",
        "v=spf1 ip6:1.2.3.4 -all",
        "v=spf1 ip4:192.0.2.1 moo",
        "v=spf1 all:x",
        "v=spf1 all/8",
        "v=spf1 include -all",
        "v=spf1 include:",
        "v=spf1 exists:",
        "v=spf1 a:nodot",
        "v=spf1 a:example.111",
        "v=spf1 a/33",
        "v=spf1 a//129",
        "v=spf1 mx: -all",
        "v=spf1 ptr/0 -all",
        "v=spf1 redirect=a.example redirect=b.example",
        "v=spf1 exp=a.example exp=b.example",
        "v=spf1 exists:%(ir).example",
        "v=spf1 exists:%{x}.example",
        "v=spf1 exists:%{d0}.example",
        "v=spf1 exists:%{t}.example",
        "v=spf1 -all moo.cow/far:out=yes",
        "v=spf1 \u00e4ll",
    ],
)
def test_a_mistake_anywhere_spoils_the_record(record: str) -> None:
    assert result(record) == "permerror"


def test_several_records_are_an_error_and_a_silent_dns_is_temporary() -> None:
    assert judge({("TXT", "d.example"): ("v=spf1 +all", "v=spf1 -all")})[0].result == "permerror"
    assert judge({}, failing=frozenset({"d.example"}))[0].result == "temperror"
    assert judge({}, domain="localhost")[0].result == "none"
    assert judge({}, domain="a..b")[0].result == "none"


def test_a_and_mx_compare_networks_of_the_right_family() -> None:
    zone: Zone = {
        ("TXT", "d.example"): ("v=spf1 a/24 mx//64 -all",),
        ("A", "d.example"): ("192.0.2.77",),
        ("MX", "d.example"): ("mx.d.example",),
        ("AAAA", "mx.d.example"): ("2001:db8::5",),
    }
    assert judge(zone, "192.0.2.1")[0].result == "pass"
    assert judge(zone, "192.0.3.1")[0].result == "fail"
    assert judge(zone, "2001:db8::ffff")[0].result == "pass"
    assert judge(zone, "2001:db8:0:1::ffff")[0].result == "fail"


@pytest.mark.parametrize(
    ("included", "expected"),
    [
        ("v=spf1 +all", "pass"),
        ("v=spf1 -all", "neutral"),
        ("v=spf1 ~all", "neutral"),
        ("v=spf1 moo", "permerror"),
        ("x", "permerror"),
    ],
)
def test_include_takes_only_a_pass_and_stumbles_over_errors(included: str, expected: str) -> None:
    assert result("v=spf1 include:i.example ?all", TXT_i__example=(included,)) == expected


def test_redirect_hands_over_and_needs_a_record() -> None:
    assert result("v=spf1 redirect=i.example", TXT_i__example=("v=spf1 -all",)) == "fail"
    assert result("v=spf1 redirect=i.example") == "permerror"


def test_ten_look_ups_are_allowed_and_eleven_are_not() -> None:
    zone: Zone = {("A", f"h{number}.example"): ("198.51.100.1",) for number in range(11)}
    ten = "v=spf1 " + " ".join(f"a:h{number}.example" for number in range(10)) + " ?all"
    zone["TXT", "d.example"] = (ten,)
    verdict, _ = judge(zone)
    assert (verdict.result, verdict.lookups) == ("neutral", 10)
    zone["TXT", "d.example"] = (ten.replace("?all", "a:h10.example ?all"),)
    assert judge(zone)[0].result == "permerror"


def test_a_record_that_includes_itself_ends() -> None:
    verdict, asked = judge({("TXT", "d.example"): ("v=spf1 include:d.example -all",)})
    assert verdict.result == "permerror" and len(asked) == 11


def test_the_third_look_up_without_an_answer_is_one_too_many() -> None:
    assert result("v=spf1 a:a.example a:b.example -all") == "fail"
    assert result("v=spf1 a:a.example a:b.example a:c.example -all") == "permerror"


def test_more_than_ten_exchangers_are_an_error() -> None:
    zone: Zone = {
        ("TXT", "d.example"): ("v=spf1 mx ?all",),
        ("MX", "d.example"): tuple(f"m{n}.example" for n in range(11)),
    }
    assert judge(zone)[0].result == "permerror"


def test_ptr_names_count_only_if_they_lead_back() -> None:
    zone: Zone = {("TXT", "d.example"): ("v=spf1 ptr -all",), ("PTR", "192.0.2.1"): ("mail.d.example",)}
    assert judge(zone)[0].result == "fail"
    zone["A", "mail.d.example"] = ("192.0.2.1",)
    assert judge(zone)[0].result == "pass"
    zone["PTR", "192.0.2.1"] = ("mail.not-d.example",)
    assert judge(zone)[0].result == "fail"


@pytest.mark.parametrize(
    ("text", "ip", "expected"),
    [
        # RFC 7208 §7.4, with the domain of this test.
        ("%{s}", "192.0.2.3", "strong-bad@email.example.com"),
        ("%{o}", "192.0.2.3", "email.example.com"),
        ("%{d4}", "192.0.2.3", "email.example.com"),
        ("%{d2}", "192.0.2.3", "example.com"),
        ("%{d1}", "192.0.2.3", "com"),
        ("%{dr}", "192.0.2.3", "com.example.email"),
        ("%{d2r}", "192.0.2.3", "example.email"),
        ("%{l}", "192.0.2.3", "strong-bad"),
        ("%{l-}", "192.0.2.3", "strong.bad"),
        ("%{lr-}", "192.0.2.3", "bad.strong"),
        ("%{l1r-}", "192.0.2.3", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "192.0.2.3", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "192.0.2.3", "bad.strong.lp._spf.example.com"),
        (
            "%{ir}.%{v}._spf.%{d2}",
            "2001:db8::cb01",
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
        ),
    ],
)
def test_macros_expand_as_in_the_standard(text: str, ip: str, expected: str) -> None:
    record = f"v=spf1 exists:{text}.end.example -all"
    _, asked = judge({("TXT", "email.example.com"): (record,)}, ip, "email.example.com")
    assert asked[1].name == f"{expected}.end.example"


@given(st.text(max_size=60))
def test_any_text_is_a_record_or_a_syntax_error(text: str) -> None:
    try:
        parse_record("v=spf1 " + text)
    except SpfSyntaxError:
        pass


@given(
    st.lists(
        st.sampled_from(["a", "mx", "include:d.example", "ptr", "exists:%{i}.d.example", "redirect=d.example", "-all"])
    )
)
def test_every_evaluation_ends_within_its_limits(terms: list[str]) -> None:
    zone: Zone = {
        ("TXT", "d.example"): ("v=spf1 " + " ".join(terms),),
        ("MX", "d.example"): ("d.example",),
        ("A", "d.example"): ("203.0.113.1",),
    }
    verdict, asked = judge(zone)
    assert verdict.lookups <= 11 and len(asked) <= 40
