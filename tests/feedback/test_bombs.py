"""Messages made to cost time or memory: each is read or refused within what an honest one of its size may take."""

import time
import tracemalloc
from collections.abc import Callable

import pytest

from bulkmail.feedback.mime import MESSAGE_LIMIT
from bulkmail.feedback.report import FeedbackError, Kind
from bulkmail.feedback.understand import understand
from bulkmail.policy.feedback import judge_report

SECONDS = 2.0  # of CPU; all take less than a tenth on an idle machine
MEMORY = 64 << 20
HEAD = b"From: MAILER-DAEMON@x.example\nSubject: failure notice\nMIME-Version: 1.0\n"
MIXED = b'Content-Type: multipart/mixed; boundary="%b"\n\n'
STATUS = b"Content-Type: message/delivery-status\n\n"
FIELDS = b"Final-Recipient: rfc822; a%d@b.example\nAction: failed\nStatus: 5.1.1\n\n"

BOMBS: dict[str, Callable[[], tuple[bytes, str]]] = {
    "100,000 parts": lambda: (HEAD + MIXED % b"b" + b"--b\n\nx\n" * 100_000 + b"--b--\n", "parts"),
    "100,000 empty parts": lambda: (HEAD + MIXED % b"b" + b"--b\n" * 100_000, "parts"),
    "a boundary of dashes": lambda: (HEAD + MIXED % b"-" + b"---\n" * 1_000_000, "parts"),
    "3,000 deep": lambda: (
        HEAD + MIXED % b"b0" + b"".join(b"--b%d\n" % n + MIXED % (b"b%d" % (n + 1)) for n in range(3000)),
        "deep",
    ),
    "one boundary for all depths": lambda: (HEAD + MIXED % b"b" + (b"--b\n" + MIXED % b"b") * 50_000, "parts"),
    "100,000 headers": lambda: (HEAD + b"".join(b"X-%d: y\n" % n for n in range(100_000)) + b"\nhi\n", "headers"),
    "a header of 9 MB": lambda: (HEAD + b"X-A: " + b"a" * 9_000_000 + b"\n\nhi\n", "headers"),
    "a header folded 4 million times": lambda: (HEAD + b"X-A: a" + b"\n " * 4_000_000 + b"\n\nhi\n", "headers"),
    "more than the limit": lambda: (HEAD + b"\n" + b"a" * MESSAGE_LIMIT, "larger"),
    "a giant encoded word": lambda: (HEAD + b"From: =?utf-8?b?" + b"QUJD" * 60_000 + b"?=\n\nhi\n", ""),
    "15,000 encoded words": lambda: (HEAD + b"Subject: " + b"=?utf-8?q?=41?= " * 15_000 + b"\n\nhi\n", ""),
    "600,000 addresses": lambda: (HEAD + b"\npermanent fatal errors\n" + b"<a@b.example>\n" * 600_000, ""),
    "one line of addresses": lambda: (HEAD + b"\nfailed to deliver: " + b"a@b.example " * 700_000, ""),
    "at signs": lambda: (HEAD + b"\n" + b"@" * 9_000_000, ""),
    "100,000 recipients": lambda: (HEAD + STATUS + b"".join(FIELDS % n for n in range(100_000)), ""),
    "200,000 recipients of a complaint": lambda: (
        HEAD
        + b"Content-Type: message/feedback-report\n\nFeedback-Type: abuse\n"
        + b"Original-Rcpt-To: a@b.example\n" * 200_000,
        "",
    ),
    "brackets of JSON": lambda: (HEAD + b'\n{"notificationType":"Bounce","x":' + b"[" * 4_000_000, ""),
    "opened tags": lambda: (HEAD + b"Content-Type: text/html\n\n" + b"<" * 9_000_000, ""),
    "scripts without end": lambda: (HEAD + b"Content-Type: text/html\n\n" + b"<script" * 1_000_000, ""),
    "base64 of 9 MB": lambda: (HEAD + b"Content-Transfer-Encoding: base64\n\n" + b"A" * 9_000_000, ""),
    "UTF-7": lambda: (HEAD + b"Content-Type: text/plain; charset=utf-7\n\n" + b"+AAA-" * 1_500_000, ""),
    "escape sequences of ISO-2022": lambda: (HEAD + b"\n" + b"\x1b$B" * 3_000_000, ""),
    "a codec that is no character set": lambda: (
        HEAD + b'Content-Type: text/plain; charset="idna"\n\n' + b"x" * 9_000_000,
        "",
    ),
    "quoted a thousand deep": lambda: (HEAD + b"\n" + (b">" * 1000 + b"\n") * 8_000, ""),
    "spaces": lambda: (HEAD + b"\nrcpt to:" + b" " * 9_000_000 + b"<a@b.example>", ""),
    "codes": lambda: (HEAD + b"\nfailed " + b"550 " * 2_000_000, ""),
    "zeros": lambda: (HEAD + b"\n" + b"\0" * 9_000_000, ""),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_read_or_refused_in_bounded_time_and_memory(name: str) -> None:
    data, refusal = BOMBS[name]()
    tracemalloc.start()
    begun = time.process_time()
    try:
        if refusal:
            with pytest.raises(FeedbackError, match=refusal):
                understand(data)
        else:
            found = understand(data)
            judge_report(found)
            assert len(found.recipients) <= 1000
            assert found.kind is not Kind.DELIVERED
        seconds = time.process_time() - begun
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds < SECONDS
    assert peak < MEMORY
