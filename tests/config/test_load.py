"""Campaign files as people write them, and what they are told when they slip: the sentences are the product."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkmail.config.load import load_campaign
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, DomainLimits, EgressSource, Relay, SiteLimits

BASE = """\
campaign: x
from: a@x.example
subject: Hi
content: {text: spring/body.txt}
recipients: [{file: spring/recipients.csv}]
"""


def test_the_whole_file_becomes_a_campaign(load, full: str, folder: Path) -> None:
    campaign = load(full)
    assert isinstance(campaign, Campaign)
    assert campaign.file == str(folder / "c.yaml")
    assert campaign.from_ == "Acme Garden <news@garden.example>"
    assert campaign.headers == {"X-Campaign": "spring"}
    assert campaign.content.html == str(folder / "spring/body.html")
    assert campaign.content.inline == (str(folder / "spring/logo.png"),)
    assert campaign.recipients[0].file == str(folder / "spring/recipients.csv")
    assert campaign.recipients[0].list == "newsletter"
    assert campaign.dkim[0].key == str(folder / "keys/garden.pem")
    delivery = campaign.delivery
    assert delivery.retry == (300.0, 1800.0, 7200.0, 14400.0)
    assert delivery.expire == 172800.0
    assert delivery.relay == (Relay(host="smtp.example.net", username="acme", password_env="SMTP_PASSWORD"),)
    assert delivery.sources == (EgressSource(address="192.0.2.10", ehlo="mail1.garden.example"),)
    limits = campaign.limits
    assert limits.default == SiteLimits(connections=10, messages_per_connection=100, messages=100.0, connects=20.0)
    assert limits.sites == {"*.google.com": SiteLimits(connections=5)}
    assert limits.domains == {"yahoo.com": DomainLimits(messages=20.0), "xn--mnchen-3ya.example": DomainLimits()}
    assert campaign.max_message_size == 2 * 1024 * 1024


def test_what_is_left_out_has_the_defaults_of_the_model(load) -> None:
    campaign = load(BASE)
    assert campaign.delivery.retry == (300.0, 1800.0, 7200.0, 14400.0)
    assert campaign.dns.timeout == 10.0
    assert campaign.unsubscribe is None


def test_a_section_whose_lines_are_commented_out_counts_as_left_out(load) -> None:
    campaign = load(BASE + "headers:\n#  X-A: b\ndkim:\nunsubscribe:\ndelivery:\n  retry:\n")
    assert campaign.headers == {} and campaign.dkim == () and campaign.unsubscribe is None
    assert campaign.delivery.retry == (300.0, 1800.0, 7200.0, 14400.0)


def test_paths_are_taken_from_the_folder_of_the_file_whatever_the_current_one(load, folder, monkeypatch) -> None:
    load(BASE)
    monkeypatch.chdir("/")
    campaign = load_campaign(folder / "c.yaml")
    assert campaign.content.text == str(folder / "spring/body.txt")


def test_a_campaign_called_by_a_link_has_its_paths_beside_the_file_itself(load, full, folder, tmp_path) -> None:
    load(full)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link.yaml").symlink_to(folder / "c.yaml")
    assert load_campaign(elsewhere / "link.yaml").content.html == str(folder / "spring/body.html")


def test_anchors_and_merge_keys_save_repetition(load) -> None:
    campaign = load(
        BASE + "limits:\n  default: &d {connections: 5, messages: 9/s}\n  sites:\n"
        "    a.example: {<<: *d, messages: 1/s}\n    b.example: *d\n    c.example: {<<: [{connections: 7}, *d]}\n"
    )
    sites = campaign.limits.sites
    assert sites["a.example"] == SiteLimits(connections=5, messages=1.0)
    assert sites["b.example"] == SiteLimits(connections=5, messages=9.0)
    assert sites["c.example"] == SiteLimits(connections=7, messages=9.0)


def test_recipients_may_be_left_out_by_those_who_bring_their_own(errors, folder: Path) -> None:
    text = BASE.partition("recipients")[0]
    assert errors(text) == ["c.yaml:1: recipients: no recipients; add - {file: recipients.csv}"]
    assert load_campaign("c.yaml", recipients_required=False).recipients == ()


def test_a_byte_order_mark_is_no_part_of_the_first_key(load) -> None:
    assert load(b"\xef\xbb\xbf" + BASE.encode()).campaign == "x"


def test_in_the_sandbox_a_dkim_key_may_still_be_missing(errors) -> None:
    dkim = BASE + "dkim:\n  - {domain: x.example, selector: s, key: keys/x.pem}\n"
    assert errors(dkim) == []
    assert errors(dkim + "delivery: {route: mx}\n") == [
        'c.yaml:7: dkim[0].key: "keys/x.pem" does not exist; there is no folder {}'.format(Path("keys").absolute())
    ]


@dataclass
class Case:
    """Text put under the base campaign, or in place of a part of it, and the messages wanted."""

    text: str
    messages: list[str]
    instead_of: str = ""


KNOWN = (
    "known here: campaign, kind, from, reply_to, return_path, list_id, subject, headers, content, recipients, "
    "unsubscribe, languages, split, send_at, schedule, canary, sender_address, tracking, dkim, "
    "delivery, dns, tls, limits, feedback, webhooks, max_message_size, sandbox"
)

UNDER = [
    Case("deliver: {}", ['6: deliver: unknown key; did you mean "delivery"?']),
    Case("delivery:\n  retyr: [5m]", ['7: delivery.retyr: unknown key; did you mean "retry"?']),
    Case("delivery: {in-doubt: hold}", ['6: delivery.in-doubt: unknown key; did you mean "in_doubt"?']),
    Case("retry: [5m]", ["6: retry: unknown key; it belongs in delivery"]),
    Case("password_env: X", ["6: password_env: unknown key; it belongs in delivery.relay"]),
    Case("dns: {x: 1}", ["6: dns.x: unknown key; known here: servers, timeout, validating"]),
    Case(
        "on: 1\n7: 2",
        [
            f"6: on: unknown key; {KNOWN}",
            f'7: ["7"]: unknown key; {KNOWN}',
        ],
    ),
    Case("subject: again", ["6: subject: the key is there twice, first in line 3"]),
    Case("headers:\n  X-A: a\n  X-A: b", ["8: headers.X-A: the key is there twice, first in line 7"]),
    Case("? [a]\n: b", ["6: a key must be a word, found a list"]),
    Case(
        "kind: market",
        ['6: kind: one of marketing, transactional is needed, found "market"; did you mean "marketing"?'],
    ),
    Case(
        "delivery: {tls: no}",
        [
            "6: delivery.tls: one of none, opportunistic, required, verified is needed, "
            'found the truth value no; did you mean "none"?'
        ],
    ),
    Case("delivery: {route: [mx]}", ["6: delivery.route: one of mx, relay, sandbox is needed, found a list"]),
    Case(
        "delivery: [a]",
        [
            "6: delivery: a mapping with the keys route, port, allow_private_mx, relay, routes, tls, "
            "... is needed, found a list"
        ],
    ),
    Case(
        "delivery: {port: 99999}",
        ["6: delivery.port: a whole number from 1 to 65535 is needed, found the number 99999"],
    ),
    Case(
        "delivery: {port: '25'}",
        ['6: delivery.port: a whole number from 1 to 65535 is needed, found "25"; leave out the quotes'],
    ),
    Case("delivery: {port: 025}", ["6: delivery.port: a whole number from 1 to 65535 is needed, found the number 025"]),
    Case(
        "delivery: {port: 1:30}", ["6: delivery.port: a whole number from 1 to 65535 is needed, found the number 1:30"]
    ),
    Case("delivery: {window: 0}", ["6: delivery.window: a whole number from 1 to 64 is needed, found the number 0"]),
    Case(
        "delivery: {window: yes}",
        ["6: delivery.window: a whole number from 1 to 64 is needed, found the truth value yes"],
    ),
    Case("delivery: {window: }", ["6: delivery.window: a whole number from 1 to 64 is needed, found nothing"]),
    Case("sandbox: {seed: 1.5}", ["6: sandbox.seed: a whole number is needed, found the number 1.5"]),
    Case(
        "delivery: {allow_private_mx: maybe}", ['6: delivery.allow_private_mx: true or false is needed, found "maybe"']
    ),
    Case(
        "delivery: {allow_private_mx: !!bool x}",
        ["6: delivery.allow_private_mx: true or false is needed, found the truth value x"],
    ),
    Case("delivery: {retry: 5m}", ['6: delivery.retry: a list is needed, found "5m"; put it in [ ]']),
    Case("delivery: {retry: []}", ["6: delivery.retry: is empty; leave it out for 5m, 30m, 2h, 4h"]),
    Case(
        "delivery:\n  retry:\n    - 5m\n    - soon\n    - 1:30\n    - 0s\n    - 5w\n    - 5M\n    - [1]",
        [
            '9: delivery.retry[1]: a span of time such as 90s, 15m, 2h or 1d is needed, found "soon"',
            '10: delivery.retry[2]: a span of time such as 90s, 15m, 2h or 1d is needed, found "1:30"',
            '11: delivery.retry[3]: must be more than zero, found "0s"',
            '12: delivery.retry[4]: unknown unit "w" (known: ms, s, m, min, h, d), found "5w"',
            '13: delivery.retry[5]: unknown unit "M" (write m), found "5M"',
            "14: delivery.retry[6]: a quantity is needed, found a list",
        ],
    ),
    Case(
        "delivery: {expire: }",
        ["6: delivery.expire: a span of time such as 90s, 15m, 2h or 1d is needed, found nothing"],
    ),
    Case(
        "limits: {default: {messages: 5}, domains: {a.example: }}",
        ['6: limits.domains["a.example"]: a mapping with the keys messages is needed, found nothing'],
    ),
    Case(
        "limits: {default: {connects: 0/s, conections: 1}}",
        [
            '6: limits.default.connects: must be more than zero, found "0/s"',
            '6: limits.default.conections: unknown key; did you mean "connections"?',
        ],
    ),
    Case(
        'limits: {sites: {"*.google.com": {connection: 5}}}',
        ['6: limits.sites["*.google.com"].connection: unknown key; did you mean "connections"?'],
    ),
    Case(
        "max_message_size: 2M",
        ['6: max_message_size: unknown unit "M" (known: B, KB, MB, GB, KiB, MiB, GiB), found "2M"'],
    ),
    Case(
        "dkim: [{domain: x.example}]",
        ['6: dkim[0]: the key "selector" is missing', '6: dkim[0]: the key "key" is missing'],
    ),
    Case("limits: {default: {<<: 7}}", ["6: limits.default: << takes a mapping or a list of mappings"]),
    Case(
        "headers: {X-A: 1, x-b: yes, X-C: 2027-01-01, X-D: 1:30, X-E: null, X-F: [a], X-G: {{ a }}}",
        [
            '6: headers.X-A: text is needed, found the number 1; put it in quotes: "1"',
            '6: headers.x-b: text is needed, found the truth value yes; put it in quotes: "yes"',
            '6: headers.X-C: text is needed, found the date 2027-01-01; put it in quotes: "2027-01-01"',
            '6: headers.X-D: text is needed, found the number 1:30; put it in quotes: "1:30"',
            "6: headers.X-E: text is needed, found nothing",
            "6: headers.X-F: text is needed, found a list",
            '6: headers.X-G: a value starts with "{{"; put the value in quotes',
        ],
    ),
]

REPLACED = [
    Case(
        "campaign: 2027",
        ['1: campaign: text is needed, found the number 2027; put it in quotes: "2027"'],
        "campaign: x",
    ),
    Case(
        "campaign: a b",
        ['1: campaign: "a b" has something other than letters, digits, - and _, or more than 64 of them'],
        "campaign: x",
    ),
    Case(
        'campaign: "a\\n"',
        ['1: campaign: "a\\n" has something other than letters, digits, - and _, or more than 64 of them'],
        "campaign: x",
    ),
    Case("form: a@x.example", ['2: form: unknown key; did you mean "from"?'], "from: a@x.example"),
    Case("", ['1: the key "from" is missing'], "from: a@x.example"),
    Case(
        "subject: Yes",
        ['3: subject: text is needed, found the truth value Yes; put it in quotes: "Yes"'],
        "subject: Hi",
    ),
    Case("subject:", ["3: subject: text is needed, found nothing"], "subject: Hi"),
    Case("subject: {{ first_name }}", ['3: subject: a value starts with "{{"; put the value in quotes'], "subject: Hi"),
    Case("subject: {a: b}", ["3: subject: text is needed, found a mapping"], "subject: Hi"),
    Case(
        "recipients: {file: x.csv}",
        ['5: recipients: a list is needed, found a mapping; begin it with "- "'],
        "recipients: [{file: spring/recipients.csv}]",
    ),
    Case(
        "recipients: spring/recipients.csv",
        ['5: recipients: a mapping with the keys file, sql, address, list is needed, found "spring/recipients.csv"'],
        "recipients: [{file: spring/recipients.csv}]",
    ),
    Case(
        "recipients:\n  - file:x.csv",
        ['6: recipients[0]: a mapping with the keys file, sql, address, list is needed, found "file:x.csv"'],
        "recipients: [{file: spring/recipients.csv}]",
    ),
    Case(
        "content:",
        ["4: content: a mapping with the keys html, mjml, markdown, text, amp, calendar, ... is needed, found nothing"],
        "content: {text: spring/body.txt}",
    ),
]


def cases(table: list[Case]) -> list:
    return [pytest.param(case, id=case.text[:50]) for case in table]


@pytest.mark.parametrize("case", cases(UNDER))
def test_a_slip_in_a_key_or_value_is_named_with_its_place(case: Case, errors) -> None:
    assert errors(BASE + case.text + "\n") == [f"c.yaml:{message}" for message in case.messages]


@pytest.mark.parametrize("case", cases(REPLACED))
def test_a_slip_in_a_needed_key_is_named_with_its_place(case: Case, errors) -> None:
    assert case.instead_of in BASE
    assert errors(BASE.replace(case.instead_of, case.text)) == [f"c.yaml:{message}" for message in case.messages]


def test_the_error_carries_file_line_path_and_hint_apart(load) -> None:
    with pytest.raises(CampaignError) as caught:
        load(BASE + "delivery:\n  retyr: [5m]\n  tsl: none\n")
    error = caught.value
    assert (error.file, error.line, error.path) == ("c.yaml", 7, "delivery.retyr")
    assert (error.message, error.hint) == ("unknown key", 'did you mean "retry"?')
    assert [other.path for other in error.also] == ["delivery.tsl"]


def test_errors_are_given_in_the_order_of_the_file_and_not_without_end(errors) -> None:
    messages = errors("zzz: 1\n" + BASE + "".join(f"zzz{i}: 1\n" for i in range(200)))
    lines = [int(message.split(":")[1]) for message in messages]
    assert lines == sorted(lines) and lines[0] == 1
    assert len(messages) == 50


def test_a_billion_laughs_cost_nothing(errors) -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    bomb = "x0: &a [lol, lol]\n" + "".join(
        f"x{i}: &{names[i]} [{', '.join([f'*{names[i - 1]}'] * 10)}]\n" for i in range(1, 26)
    )
    assert len(errors(BASE + bomb)) == 26
    merges = "limits:\n  sites:\n    a: &a {connections: 1}\n" + "".join(
        f"    {names[i]}: &{names[i]} {{<<: [{', '.join([f'*{names[i - 1]}'] * 10)}]}}\n" for i in range(1, 26)
    )
    assert "too many merged keys" in errors(BASE + merges)[0]


def test_an_alias_to_what_is_around_it_ends(errors) -> None:
    assert errors(BASE + "limits: &l\n  sites: *l\n") != []
    assert "too many merged keys" in errors(BASE + "limits: &l {<<: *l}\n")[0]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_a_campaign_is_a_campaign_error_or_none(data, full: str, errors) -> None:
    """No damage gets past as another exception, and every message names the file."""
    text = full
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        text = (
            text[:start]
            + data.draw(st.text(st.sampled_from("ab:- \n\t{}[]\"'&*!|>%@#,0159~<\\é\0")))
            + text[start + length :]
        )
    for message in errors(text):
        assert message.startswith("c.yaml")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_are_a_campaign_error(errors, data: bytes) -> None:
    assert errors(data)[0].startswith("c.yaml")
