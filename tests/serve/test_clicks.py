"""Tracked links and the pixel over the listener: counted once, led only where we have signed."""

import urllib.request

import pytest

from bulkmail.content.tracking import LinkSeal
from tests.engine.test_feedback import ADDRESSES, ANNA, Sent
from tests.serve.conftest import Listening

TARGET = "https://x.example/path?a=b&c=d"


def sealed(sent: Sent, target: str = TARGET) -> str:
    return LinkSeal(sent.store.token_keys[-1].secret).sealed(target)


def test_a_link_leads_to_its_target_and_counts_its_reader_once(listening: Listening, sent: Sent) -> None:
    for _ in range(3):
        answer = listening.request("GET", f"/c/{sealed(sent)}/{sent.link(ANNA)}")
        assert (answer.status, answer.getheader("location")) == (302, TARGET)
    (event,) = sent.events()
    assert (event["event"], event["recipient"], event["reason"]) == ("click", ADDRESSES[ANNA], TARGET)
    assert not sent.suppressed(ANNA)


def test_what_only_looks_counts_nothing(listening: Listening, sent: Sent) -> None:
    assert listening.request("HEAD", f"/c/{sealed(sent)}/{sent.link(ANNA)}").status == 302
    assert listening.request("HEAD", f"/o/{sent.link(ANNA)}.gif").status == 200
    assert sent.events() == []


def test_a_link_with_another_token_leads_on_and_counts_nobody(listening: Listening, sent: Sent) -> None:
    for token in ("a" * 32, sent.token(ANNA), "x"):
        assert listening.request("GET", f"/c/{sealed(sent)}/{token}").status == 302
    assert sent.events() == []


@pytest.mark.parametrize("target", ["javascript:alert(1)", "//evil.example", "https://x.example/\r\nSet-Cookie: a=b"])
def test_nothing_that_is_no_link_is_led_to(listening: Listening, sent: Sent, target: str) -> None:
    assert listening.request("GET", f"/c/{sealed(sent, target)}/{sent.link(ANNA)}").status == 404


def test_a_target_that_we_have_not_sealed_is_not_found(listening: Listening, sent: Sent) -> None:
    foreign = LinkSeal(b"0123456789abcdef").sealed("https://evil.example/")
    answer = listening.request("GET", f"/c/{foreign}/{sent.link(ANNA)}")
    assert (answer.status, answer.getheader("location")) == (404, None)


def test_the_picture_is_counted_once_and_is_the_same_for_everybody(listening: Listening, sent: Sent) -> None:
    for token in (sent.link(ANNA), sent.link(ANNA), "a" * 32):
        answer = listening.request("HEAD", f"/o/{token}.gif")
        assert (answer.status, answer.getheader("content-type")) == (200, "image/gif")
    for _ in range(2):
        with urllib.request.urlopen(
            f"http://127.0.0.1:{listening.http_port}/o/{sent.link(ANNA)}.gif", timeout=10
        ) as got:
            assert got.read().startswith(b"GIF89a")
    assert [(event["event"], event["recipient"]) for event in sent.events()] == [("open", ADDRESSES[ANNA])]
