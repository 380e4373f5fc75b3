"""One-click unsubscribe and the page: a POST that says what it wants acts, durably, and nothing else does anything."""

import random
import re
import socket
import time

import pytest

from bulkmail.serve.page import TEXTS, language_of
from bulkmail.store.suppressions import ALL, Suppression, Suppressions
from tests.engine.test_feedback import ADDRESSES, ANNA, BERT, NOW, UNSENT, Sent
from tests.serve.conftest import Listening

ONE_CLICK = "List-Unsubscribe=One-Click"


def suppressed_for(sent: Sent, index: int, scope: str) -> bool:
    with Suppressions.open(sent.path) as suppressions:
        return suppressions.entry(ADDRESSES[index], scope) is not None


def test_one_click_suppresses_before_it_is_answered_in_both_encodings(listening: Listening, sent: Sent) -> None:
    answer = listening.post(f"/u/{sent.link(ANNA)}", ONE_CLICK)
    assert answer.status == 200 and sent.suppressed(ANNA)
    form = b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert listening.request("POST", f"/u/{sent.link(BERT)}", form, headers).status == 200
    assert sent.suppressed(BERT)
    assert [(event["event"], event["recipient"]) for event in sent.events()] == [
        ("unsubscribe", ADDRESSES[ANNA]), ("unsubscribe", ADDRESSES[BERT]),
    ]  # fmt: skip


def test_one_click_again_changes_nothing_more(listening: Listening, sent: Sent) -> None:
    for _ in range(3):
        assert listening.post(f"/u/{sent.link(ANNA).upper()}", ONE_CLICK).status == 200
    assert len(sent.events()) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_a_scanner_does_changes_nothing(listening: Listening, sent: Sent, method: str) -> None:
    for _ in range(3):
        assert listening.request(method, f"/u/{sent.link(ANNA)}?{ONE_CLICK}&do=stop").status in (200, 204)
    assert not sent.suppressed(ANNA) and sent.events() == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/x-www-form-urlencoded"),
        (b"x=y", "application/x-www-form-urlencoded"),
        (b"List-Unsubscribe=No", "application/x-www-form-urlencoded"),
        (b"do=stop-chosen&list=secret", "application/x-www-form-urlencoded"),
        (ONE_CLICK.encode(), "text/plain"),
        (ONE_CLICK.encode(), "multipart/form-data"),
        (b"{}", "application/json"),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 250, "multipart/form-data; boundary=b"),
        (b"\xff\xfe=%ff", "application/x-www-form-urlencoded"),
        (b"x=" + b"y" * 20_000, "application/x-www-form-urlencoded"),
    ],
)
def test_a_post_that_says_nothing_we_know_changes_nothing(
    listening: Listening, sent: Sent, body: bytes, kind: str
) -> None:
    answer = listening.request("POST", f"/u/{sent.link(ANNA)}", body, {"Content-Type": kind})
    assert answer.status == 400
    assert "<html" in answer.text  # type: ignore[attr-defined]
    assert not sent.suppressed(ANNA)


def test_known_and_unknown_are_answered_alike_and_no_address_is_shown(listening: Listening, sent: Sent) -> None:
    unknown = "a" * 32
    for path in (f"/u/{unknown}", "/u/x", f"/u/{sent.token(ANNA)}"):
        for method, body in (("GET", None), ("POST", ONE_CLICK), ("POST", "do=stop"), ("POST", "do=again")):
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
            theirs = listening.request(method, path, body, headers)
            ours = listening.request(method, f"/u/{sent.link(ANNA)}", body, headers)
            assert (theirs.status, theirs.text) == (ours.status, ours.text)  # type: ignore[attr-defined]
            names = [name for name, _ in ours.getheaders()]
            assert names == [name for name, _ in theirs.getheaders()] and "set-cookie" not in names
            assert "house.example" not in ours.text  # type: ignore[attr-defined]


def test_the_page_brings_nothing_from_elsewhere_and_may_not(listening: Listening, sent: Sent) -> None:
    answer = listening.request("GET", f"/u/{sent.link(ANNA)}")
    page: str = answer.text  # type: ignore[attr-defined]
    assert "default-src 'none'" in (answer.getheader("content-security-policy") or "")
    assert answer.getheader("referrer-policy") == "no-referrer"
    assert not re.search(r"https?://|src=|<script|url\(|@import", page)
    assert page.count("<h1>") == 1 and '<html lang="en">' in page
    assert page.count("<input") == page.count("<label>")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.5", "de"), ("fr;q=0.2, es;q=0.8", "es"), ("xx,pt-BR;q=0.3", "pt"), ("", "en"),
        ("zz", "en"), ("de;q=0,it", "it"), ("de;q=x", "en"), ("*", "en"), ("PL", "pl"), ("nl" * 1000, "en"),
    ],
)  # fmt: skip
def test_the_page_speaks_the_readers_language(accepted: str, language: str) -> None:
    assert language_of("", accepted) == language
    assert language_of("fr-CA", accepted) == "fr"


def test_every_language_says_everything(listening: Listening, sent: Sent) -> None:
    for language, words in TEXTS.items():
        assert words.keys() == TEXTS["en"].keys() and all(words.values())
        answer = listening.request("GET", f"/u/{sent.link(ANNA)}", headers={"Accept-Language": language})
        assert f'<html lang="{language}">' in answer.text  # type: ignore[attr-defined]
        assert words["this_list"] in answer.text  # type: ignore[attr-defined]
    german = listening.request("GET", f"/u/{sent.link(ANNA)}?lang=de")
    assert "Monatlicher Rundbrief" in german.text  # type: ignore[attr-defined]


def test_lists_can_be_chosen_and_taken_up_again(listening: Listening, sent: Sent) -> None:
    path = f"/u/{sent.link(ANNA)}"
    done = listening.post(path, "do=stop-chosen&list=events&list=newsletter&list=secret")
    assert done.status == 200
    assert [suppressed_for(sent, ANNA, scope) for scope in ("events", "newsletter", "secret", ALL)] == [
        True, True, False, False,
    ]  # fmt: skip
    again = "&".join(f"{name}={value}" for name, value in re.findall(r'name="(\w+)" value="(\w+)"', done.text))  # type: ignore[attr-defined]
    assert "Subscribed again" in listening.post(path, again).text  # type: ignore[attr-defined]
    assert not suppressed_for(sent, ANNA, "events") and not suppressed_for(sent, ANNA, "newsletter")
    assert listening.post(path, "do=stop-chosen&all=1").status == 200
    assert suppressed_for(sent, ANNA, ALL)


def test_whoever_bounced_or_complained_is_not_subscribed_again(listening: Listening, sent: Sent) -> None:
    with Suppressions.open(sent.path) as suppressions:
        suppressions.add(
            Suppression(key=ADDRESSES[ANNA], address=ADDRESSES[ANNA], reason="complaint", source="x", time=NOW)
        )
    listening.post(f"/u/{sent.link(ANNA)}", "do=again")
    assert sent.suppressed(ANNA)


def test_who_was_not_sent_anything_yet_may_unsubscribe_too(listening: Listening, sent: Sent) -> None:
    listening.post(f"/u/{sent.link(UNSENT)}", ONE_CLICK)
    assert sent.suppressed(UNSENT)


def test_an_old_token_counts_no_more(listening: Listening, sent: Sent) -> None:
    sent.clock.now += 410 * 86400
    assert listening.post(f"/u/{sent.link(ANNA)}", ONE_CLICK).status == 200
    assert not sent.suppressed(ANNA)


def test_guessed_tokens_unsubscribe_nobody(listening: Listening, sent: Sent) -> None:
    chance, token = random.Random(5), sent.link(ANNA)
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    for _ in range(100):
        at = chance.randrange(32)
        for forged in (
            token[:at] + chance.choice(alphabet.replace(token[at], "")) + token[at + 1 :],
            token[:at] or "a",
        ):
            assert listening.post(f"/u/{forged}", ONE_CLICK).status == 200
    assert sent.events() == []


def test_health_says_that_effects_can_be_recorded(listening: Listening) -> None:
    answer = listening.request("GET", "/health")
    assert (answer.status, answer.text) == (200, '{"state":"ok","waiting":0}')  # type: ignore[attr-defined]


def test_other_paths_and_methods_are_not_there(listening: Listening, sent: Sent) -> None:
    assert listening.request("GET", "/").status == 404
    assert listening.request("GET", "/favicon.ico").status == 404
    assert listening.request("DELETE", f"/u/{sent.link(ANNA)}").status == 405


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /u/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /u/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"GET /u/x HTTP/1.1\r\nHost: x\r\nX: a\r\n b\x00\r\n\r\n",
        b"GET /u/x HTTP/1.1\r\nX: " + b"y" * 20_000,
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_a_request_of_two_minds_is_refused(listening: Listening, request_bytes: bytes) -> None:
    connection = listening.socket(listening.http_port)
    connection.sendall(request_bytes)
    assert b" 400 " in connection.recv(4096).partition(b"\r\n")[0]
    connection.close()


def test_whoever_says_nothing_or_half_a_thing_is_sent_away(cramped: Listening) -> None:
    for port in (cramped.http_port, cramped.smtp_port):
        silent, half = cramped.socket(port), cramped.socket(port)
        half.sendall(b"POST /u/x HTTP/1.1\r\nHo")
        began = time.monotonic()
        for connection in (silent, half):
            while connection.recv(4096):
                pass
            connection.close()
        assert time.monotonic() - began < 5


def test_silent_connections_push_out_each_other_and_nobody_who_speaks(cramped: Listening, sent: Sent) -> None:
    silent: list[socket.socket] = []
    for _ in range(30):
        silent.append(cramped.socket(cramped.http_port))
        if len(silent) % 10 == 0:
            assert cramped.post(f"/u/{sent.link(ANNA)}", ONE_CLICK).status == 200
    for connection in silent:
        connection.close()
