"""Values that are of the right type and still cannot be meant."""

import pytest

BASE = """\
campaign: x
from: a@x.example
subject: Hi
content: {text: spring/body.txt}
recipients: [{file: spring/recipients.csv}]
"""

LINE_BREAK = "a line break in a header; write it on one line, in quotes"
DNS_HINT = "is no IP address with or without a port; write 192.0.2.1:53 or [2001:db8::1]:53"
MAILBOX_HINT = 'write "Name <local@domain>" or local@domain'
TEMPLATE = "a template in an address; this one is the same for all recipients"

UNDER = [
    ("reply_to: care", [f'reply_to: "care": no @; {MAILBOX_HINT}']),
    (
        "reply_to: A <a@x.example>, B <b@x.example>",
        [
            'reply_to: "A <a@x.example>, B <b@x.example>": "<" in the name; one mailbox is wanted, with such a name in '
            f"quotes; {MAILBOX_HINT}"
        ],
    ),
    ("reply_to: 'r+{{token}}@x.example'", [f"reply_to: {TEMPLATE}"]),
    ("return_path: b@localhost", ['return_path: "b@localhost": the domain has no dot']),
    (
        "return_path: B <b@x.example>",
        ['return_path: "B <b@x.example>": a name or angle brackets; the bare address is needed'],
    ),
    ("return_path: " + "b" * 31 + "@x.example", []),
    (
        "return_path: " + "b" * 32 + "@x.example",
        ["return_path: the local part is longer than 31 octets, which leaves no room for the token"],
    ),
    (
        "return_path: bücher@x.example",
        ["return_path: the local part has quotes or characters beyond ASCII, which not every server takes"],
    ),
    ("list_id: news.x.example", []),
    ("list_id: News of X <news.x.example>", []),
    (
        "list_id: news",
        ['list_id: "news" is no list id (RFC 2919); write news.garden.example or Name <news.garden.example>'],
    ),
    (
        'list_id: "a\\nb <news.x.example>"',
        [
            'list_id: "a\\nb <news.x.example>" is no list id (RFC 2919); write news.garden.example or Name '
            "<news.garden.example>"
        ],
    ),
    ('headers: {X-A: "a\\r\\nBcc: b"}', [f"headers.X-A: {LINE_BREAK}"]),
    ('headers: {X-A: "a\\0"}', ["headers.X-A: control character U+0000"]),
    ('headers: {X-A: "a\\u2028b"}', ["headers.X-A: control character U+2028"]),
    ("headers: {X-A: Grüße}", []),
    ("headers: {X A: b}", ['headers["X A"]: "X A" is no header name']),
    ('headers: {"X:": b}', ['headers["X:"]: "X:" is no header name']),
    ('headers: {"X\\n": b}', ['headers["X\n"]: "X\\n" is no header name']),
    ("headers: {Ü: b}", ['headers["Ü"]: "Ü" is no header name']),
    ("headers: {FROM: b}", ["headers.FROM: FROM comes from the key from; leave it out here"]),
    (
        "headers: {List-Unsubscribe: b}",
        ["headers.List-Unsubscribe: List-Unsubscribe comes from the key unsubscribe; leave it out here"],
    ),
    ("headers: {Date: b}", ["headers.Date: Date is written for each message; leave it out"]),
    ("headers: {Bcc: b}", ["headers.Bcc: Bcc has no place in a campaign; leave it out"]),
    ("headers: {X-A: b, x-a: c}", ["headers.x-a: the same header as X-A; header names ignore case"]),
    ("unsubscribe: {}", ["unsubscribe: url or mailto is needed"]),
    ("unsubscribe: {url: http://x.example/u}", []),
    ("unsubscribe: {url: 'HTTPS://x.example/{{ token | upper }}'}", []),
    (
        "unsubscribe: {url: x.example/u}",
        ['unsubscribe.url: "x.example/u" does not begin with https:// and a host'],
    ),
    ("unsubscribe: {url: 'https:///u'}", ['unsubscribe.url: "https:///u" does not begin with https:// and a host']),
    (
        "unsubscribe: {url: 'https://x.example/{{ token }} '}",
        ['unsubscribe.url: "https://x.example/{{ token }} " has a space, < or >, which no URL has'],
    ),
    (
        'unsubscribe: {url: "https://x.example/\\r\\nX: y"}',
        ['unsubscribe.url: "https://x.example/\\r\\nX: y" has a space, < or >, which no URL has'],
    ),
    (
        "unsubscribe: {mailto: 'mailto:u@x.example'}",
        ['unsubscribe.mailto: "mailto:u@x.example": starts with "mailto:"; the bare address is needed'],
    ),
    ("unsubscribe: {mailto: 'u+{{token}}@x.example'}", [f"unsubscribe.mailto: {TEMPLATE}"]),
    ("dkim: [{domain: x, selector: s, key: k}]", ['dkim[0].domain: "x": the domain has no dot']),
    (
        "dkim: [{domain: x.example, selector: a b, key: k}]",
        ['dkim[0].selector: "a b" is no selector, which is a name in the DNS'],
    ),
    ("dkim: [{domain: x.example, selector: s1._x.y, key: k}]", []),
    (
        "dkim: [{domain: x.example, selector: s, key: k}, {domain: X.example, selector: S, key: k}]",
        ["dkim[1]: the same domain and selector as dkim[0]"],
    ),
    (
        "delivery: {route: relay}",
        ["delivery.route: the route relay needs the key relay beside it; add relay: {host: ...}"],
    ),
    ("delivery: {route: relay, relay: {host: localhost}}", []),
    ("delivery: {sources: [{address: 'fe80::1'}]}", []),
    (
        "delivery: {sources: [{address: 'fe80::1%eth0'}]}",
        [
            'delivery.sources[0].address: "fe80::1%eth0" has a zone: it is of one link alone, and reaches no mail '
            "exchanger; write a global address of this machine; `ip address` lists them"
        ],
    ),
    ("delivery: {route: relay, relay: [{host: a.example}, {host: b.example, weight: 2, priority: 1}]}", []),
    (
        "delivery: {relay: [{host: a.example}, {host: A.example}]}",
        ["delivery.relay[1]: the same relay as delivery.relay[0]; give one of them a larger weight"],
    ),
    (
        "delivery: {relay: [{host: a.example}, {host: 'b c'}]}",
        ['delivery.relay[1].host: "b c" is no host name; the port has a key of its own'],
    ),
    (
        "delivery: {relay: {host: a.example, username: u, password_env: P, token_command: t}}",
        ["delivery.relay.token_command: password_env is there too; one secret is enough"],
    ),
    (
        "delivery: {relay: {host: a.example, username: u, token_command: 't \"x'}}",
        ["delivery.relay.token_command: is empty, or a quote in it is not closed"],
    ),
    (
        "delivery: {relay: {host: a.example, username: u, password_env: P, auth: xoauth2}}",
        ["delivery.relay.auth: xoauth2 needs token_command"],
    ),
    (
        "delivery: {relay: {host: a.example, username: u, token_command: t, auth: plain}}",
        ["delivery.relay.auth: plain needs password_env or password_file"],
    ),
    ("delivery: {relay: {host: a.example, tls: none, username: u, password_env: P, auth: cram-md5}}", []),
    ("delivery: {relay: {host: a.example, auth: plain}}", ["delivery.relay.auth: auth needs a username"]),
    ("delivery: {routes: {example.org: {mx: true}, '*.example.org': {hosts: ['mx1:2525', '[::1]:25']}}}", []),
    (
        "delivery: {routes: {example.org: {}}}",
        [
            'delivery.routes["example.org"]: exactly one of relay, hosts and mx is needed, none is there; '
            "or leave the route out"
        ],
    ),
    (
        "delivery: {routes: {example.org: {mx: true, hosts: [a.example]}}}",
        [
            'delivery.routes["example.org"]: exactly one of relay, hosts and mx is needed, hosts and mx are there; '
            "or leave the route out"
        ],
    ),
    (
        "delivery: {routes: {example.org: {hosts: ['a.example:0']}}}",
        [
            'delivery.routes["example.org"].hosts[0]: "a.example:0" is no host with or without a port; '
            "write mx1.example.org, mx1.example.org:2525, 192.0.2.1:25 or [2001:db8::1]:25"
        ],
    ),
    (
        "delivery: {routes: {'*': {mx: true}}}",
        ['delivery.routes["*"]: "*": "*" in the domain; write example.org or "*.example.org"'],
    ),
    (
        "delivery: {routes: {Example.org: {mx: true}, example.ORG: {mx: true}}}",
        ['delivery.routes["example.ORG"]: the same as Example.org'],
    ),
    (
        "delivery: {routes: {example.org: {relay: {host: a.example, username: u}}}}",
        [
            'delivery.routes["example.org"].relay.username: a username needs password_env, the environment variable '
            "with the password"
        ],
    ),
    ("delivery: {relay: {host: '2001:db8::1'}}", []),
    (
        "delivery: {relay: {host: 'x.example:25'}}",
        ['delivery.relay.host: "x.example:25" is no host name; the port has a key of its own'],
    ),
    (
        "delivery: {route: relay, relay: {host: smtp.bücher.example}}",
        ['delivery.relay.host: "smtp.bücher.example" is no host name; in the DNS it is smtp.xn--bcher-kva.example'],
    ),
    (
        "delivery: {route: relay, relay: smtp.example.net}",
        [
            "delivery.relay: a mapping with the keys host, port, tls, username, password_env, certificate, ... is "
            'needed, found "smtp.example.net"'
        ],
    ),
    *(
        (f"webhooks: [{{url: '{url}', secret_env: HOOK}}]", [f'webhooks[0].url: "{url}" is no https URL'])
        for url in ("https://", "https://:8443/", "https://a.example:99999/", "https://a.example:x/", "https://[::1/")
    ),
    (
        "delivery: {relay: {host: x.example, username: a}}",
        [
            "delivery.relay.username: a username needs password_env, the environment variable with the password",
        ],
    ),
    (
        "delivery: {relay: {host: x.example, password_env: P}}",
        ["delivery.relay.password_env: password_env needs a username"],
    ),
    (
        "delivery: {relay: {host: x.example, username: a, password_env: 's3cr-t'}}",
        [
            "delivery.relay.password_env: is no name of an environment variable; never put a password here",
        ],
    ),
    (
        'delivery: {relay: {host: x.example, username: "a\\0b", password_env: P}}',
        ["delivery.relay.username: is empty or has a control character"],
    ),
    (
        "delivery: {relay: {host: x.example, username: a, password_env: P, tls: none}}",
        ["delivery.relay.tls: none would send the password in clear; use starttls or implicit"],
    ),
    ("delivery: {relay: {host: x.example, tls: none}}", []),
    ("delivery: {sources: [{address: 1.2.3}]}", ['delivery.sources[0].address: "1.2.3" is no IP address']),
    ("delivery: {sources: [{address: '2001:db8::1', ehlo: '[IPv6:2001:db8::1]'}, {ehlo: '[192.0.2.1]'}]}", []),
    (
        "delivery: {sources: [{ehlo: '[2001:db8::1]'}]}",
        [
            'delivery.sources[0].ehlo: "[2001:db8::1]": the domain is an address literal; a domain name is needed',
        ],
    ),
    ("delivery: {sources: [{ehlo: localhost}]}", ['delivery.sources[0].ehlo: "localhost": the domain has no dot']),
    (
        'delivery: {sources: [{ehlo: "x.example SIZE=1"}]}',
        ['delivery.sources[0].ehlo: "x.example SIZE=1": space in the domain'],
    ),
    (
        "delivery: {sources: [{address: 192.0.2.1}, {address: 192.0.2.1}]}",
        ["delivery.sources[1]: the same address as delivery.sources[0]"],
    ),
    ("dns: {servers: [127.0.0.1:5353, 192.0.2.1, '[::1]:53', '::1', '[::1]']}", []),
    ("dns: {servers: [localhost]}", [f'dns.servers[0]: "localhost" {DNS_HINT}']),
    ("dns: {servers: ['192.0.2.1:']}", [f'dns.servers[0]: "192.0.2.1:" {DNS_HINT}']),
    ("dns: {servers: ['192.0.2.1:99999']}", [f'dns.servers[0]: "192.0.2.1:99999" {DNS_HINT}']),
    ("dns: {servers: ['[::1]:0']}", [f'dns.servers[0]: "[::1]:0" {DNS_HINT}']),
    ("limits: {sites: {'*.x.example': {}, mx.x.example: {}}}", []),
    (
        "limits: {sites: {'*.a b': {}}}",
        [
            'limits.sites["*.a b"]: "*.a b" is no pattern of MX hosts; write "*.google.com" or a host name',
        ],
    ),
    (
        "limits: {sites: {'*': {}}}",
        ['limits.sites["*"]: "*" is no pattern of MX hosts; write "*.google.com" or a host name'],
    ),
    ("limits: {sites: {'*.x': {}, '*.X': {}}}", ['limits.sites["*.X"]: the same as *.x']),
    ("limits: {domains: {x: {}}}", ['limits.domains.x: "x": the domain has no dot']),
    (
        "limits: {domains: {münchen.example: {}, xn--mnchen-3ya.example: {}}}",
        ['limits.domains["xn--mnchen-3ya.example"]: the same as münchen.example'],
    ),
]


@pytest.mark.parametrize(("text", "messages"), UNDER, ids=[text[:60] for text, _ in UNDER])
def test_a_value_that_cannot_be_meant_is_named(text: str, messages: list[str], errors) -> None:
    assert errors(BASE + text + "\n") == [f"c.yaml:6: {message}" for message in messages]


REPLACED = [
    ("from: a@x.example", "from: Acme", f'c.yaml:2: from: "Acme": no @; {MAILBOX_HINT}'),
    ("from: a@x.example", "from: 'Acme, Inc. <a@x.example>'", None),
    ("from: a@x.example", "from: '{{token}}@x.example'", f"c.yaml:2: from: {TEMPLATE}"),
    ("subject: Hi", "subject: ' '", "c.yaml:3: subject: is empty"),
    ("subject: Hi", "subject: |\n  a\n  b", f"c.yaml:3: subject: {LINE_BREAK}"),
    ("subject: Hi", 'subject: "a\\tb"', "c.yaml:3: subject: control character U+0009"),
    (
        "{text: spring/body.txt}",
        "{inline: [spring/logo.png]}",
        "c.yaml:4: content: html or text is needed; or mjml, or markdown",
    ),
]


@pytest.mark.parametrize(("part", "text", "message"), REPLACED, ids=[text for _, text, _ in REPLACED])
def test_a_needed_value_that_cannot_be_meant_is_named(part: str, text: str, message: str | None, errors) -> None:
    assert part in BASE
    assert errors(BASE.replace(part, text)) == ([message] if message else [])


def test_a_password_put_into_the_file_is_not_repeated_in_the_error(errors) -> None:
    text = BASE + "delivery: {relay: {host: x.example, username: a, password_env: 'hunter-2!'}}\n"
    assert "hunter" not in "".join(errors(text))
