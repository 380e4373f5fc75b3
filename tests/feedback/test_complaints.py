"""Complaints in the forms of the providers that send them."""

# ruff: noqa: E501 - fields as providers write them

import pytest

from bulkmail.feedback.report import Kind
from bulkmail.feedback.understand import understand
from bulkmail.policy.feedback import complains, judge_report
from tests.feedback.messages import TOKEN

ORIGINAL = f"Return-Path: <bounces+{TOKEN}@garden.example>\nMessage-ID: <{TOKEN}@garden.example>\nSubject: Spring\n"


def arf(fields: str, original: str, *, returned: str = "message/rfc822") -> bytes:
    return (
        "From: feedback@loop.example\nTo: abuse@garden.example\nSubject: FW: Spring\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="=_b"\n\n'
        "--=_b\nContent-Type: text/plain\n\nThis is an email abuse report.\n\n"
        f"--=_b\nContent-Type: message/feedback-report\n\n{fields}\n"
        f"--=_b\nContent-Type: {returned}\n\n{original}\nHello\n\n--=_b--\n"
    ).encode()


FORMS = {
    "yahoo": (
        arf(
            "Feedback-Type: abuse\nUser-Agent: Yahoo!-Mail-Feedback/2.0\nVersion: 0.1\n"
            "Original-Mail-From: bounces@garden.example\nOriginal-Rcpt-To: anna@yahoo.example\n"
            "Received-Date: Thu, 9 Dec 2027 10:00:00 PST\nReported-Domain: garden.example\n"
            "Authentication-Results: authentication result string is not available\n",
            ORIGINAL + "To: anna@yahoo.example\n",
        ),
        ["anna@yahoo.example"],
    ),
    "aol, redacted": (
        arf(
            "Feedback-Type: abuse\nUser-Agent: AOL SComp\nVersion: 0.1\nReceived-Date: Thu, 9 Dec 2027 10:00:00 -0500\n"
            "Source-IP: 192.0.2.9\nReported-Domain: mail1.garden.example\nRedacted-Address: redacted\nRedacted-Address: redacted@\n",
            ORIGINAL + "To: redacted@aol.example\n",
        ),
        [],
    ),
    "comcast": (
        arf(
            "Feedback-Type: abuse\nUser-Agent: ReturnPathFBL/1.0\nVersion: 1\nOriginal-Mail-From: <bounces@garden.example>\n"
            "Original-Rcpt-To: <anna@comcast.example>\nArrival-Date: 09 Dec 2027 10:00:00 UTC\nReporting-MTA: dns;fbl.example\n"
            "Source-IP: 192.0.2.9\nAbuse-Type: complaint\nSubscription-Link: https://fbl.example/x\n",
            ORIGINAL + "To: anna@comcast.example\n",
            returned="text/rfc822-headers",
        ),
        ["anna@comcast.example"],
    ),
    "rfc 6650, two recipients": (
        arf(
            "Feedback-Type: abuse\nUser-Agent: SomeLoop/1.0\nVersion: 1\nIncidents: 2\n"
            "Original-Rcpt-To: <anna@house.example>\nOriginal-Rcpt-To: <bert@house.example>\n",
            ORIGINAL,
        ),
        ["anna@house.example", "bert@house.example"],
    ),
    "removal": (
        arf(
            "Feedback-Type: abuse\nUser-Agent: x/1\nVersion: 0.1\nRemoval-Recipient: anna@house.example\n", ORIGINAL
        ),
        ["anna@house.example"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_complaint_of_a_provider_has_its_token_and_the_recipients_it_names(name: str) -> None:
    data, recipients = FORMS[name]
    found = understand(data)
    assert found.kind is Kind.COMPLAINT
    assert found.tokens == (TOKEN,)
    assert [one.address for one in found.recipients] == recipients
    assert complains(found)
    assert all(one.suppress for one in judge_report(found))


@pytest.mark.parametrize("kind", ["auth-failure", "not-spam", "virus", "fraud", "other"])
def test_what_no_person_complained_of_is_not_acted_on(kind: str) -> None:
    data = FORMS["yahoo"][0].replace(b"Type: abuse", b"Type: " + kind.encode())
    assert not complains(understand(data))


@pytest.mark.parametrize("kind", ["abuse", "opt-out", "opt-out-list", "miscategorized"])
def test_what_a_person_says_is_acted_on(kind: str) -> None:
    data = FORMS["yahoo"][0].replace(b"Type: abuse", b"Type: " + kind.encode())
    assert complains(understand(data))
