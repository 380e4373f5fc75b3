"""What a campaign may ask of SMTP's extensions."""

import pytest

from tests.config.test_checks import BASE

UNDER = [
    ("delivery: {dsn: {notify: [failure, delay], ret: hdrs, envid: true, orcpt: false}}", []),
    ("delivery: {dsn: {notify: [never]}}", []),
    (
        "delivery: {dsn: {notify: [never, delay]}}",
        ["delivery.dsn.notify: never stands alone (RFC 3461 §4.1); leave out never or the rest"],
    ),
    (
        "delivery: {dsn: {notify: []}}",
        ["delivery.dsn.notify: is empty; write [failure], or [never] for no notification"],
    ),
    ("delivery: {dsn: {notify: [delay, delay]}}", ["delivery.dsn.notify: names something twice"]),
    ("delivery: {requiretls: true}", []),
    (
        "delivery: {requiretls: true, tls: none}",
        ["delivery.requiretls: needs TLS, and delivery.tls is none; leave delivery.tls out"],
    ),
    (
        "delivery: {requiretls: true, route: relay, relay: {host: r.example, tls: none}}",
        ["delivery.requiretls: needs TLS, and delivery.relay.tls is none; use starttls or implicit"],
    ),
    (
        "delivery: {requiretls: true, dsn: {ret: full}}",
        ["delivery.dsn.ret: full, and REQUIRETLS lets nobody return a message (RFC 8689 §5); write hdrs"],
    ),
    ("limits: {sites: {mx.x.example: {window: 8}}}", []),
]


@pytest.mark.parametrize("text, messages", UNDER, ids=[text for text, _ in UNDER])
def test_an_extension_is_asked_for_in_a_way_that_can_be_meant(errors, text: str, messages: list[str]) -> None:
    found = [message.partition(": ")[2] for message in errors(BASE + text + "\n")]
    assert found == messages
