"""`bulkmail events push`, and a send with receivers, as a user sees them."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Receiver:
    """An HTTP server in a thread; `status` is its answer, `events` what it got with a 2yz."""

    def __init__(self) -> None:
        self.status = 200
        self.events: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.status < 300:
                    receiver.events.extend(json.loads(body)["events"])
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def hooked(folder, receiver, monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", "a secret of some length")
    hook = f"webhooks:\n  - {{url: {receiver.url!r}, secret_env: HOOK_SECRET, allow_private: true}}\n"
    folder.file.write_text(folder.file.read_text() + hook)
    return folder


def test_a_send_posts_every_event_of_its_log(hooked, receiver, call) -> None:
    assert call("send", "letter.yaml", "--json").exit_code == 0
    (log,) = (hooked.state / "events").glob("letter-*.ndjson")
    assert receiver.events == [json.loads(line) for line in log.read_text().splitlines()]
    assert "0 events in 0 requests" in call("events", "push", "letter.yaml").stdout


def test_what_a_dead_receiver_has_not_got_is_said_and_pushed_later(hooked, receiver, call) -> None:
    receiver.status = 503
    sent = call("send", "letter.yaml", "--json")
    assert sent.exit_code == 0
    assert "status 503" in sent.stderr
    assert "events push letter.yaml" in sent.stderr
    failed = call("events", "push", "letter.yaml")
    assert failed.exit_code == 3
    assert "has not got" in failed.stderr
    receiver.status = 200
    done = call("events", "push", "letter.yaml", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["webhooks"][0]["events"] == len(receiver.events) > 0


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("{url: ftp://x.example/, secret_env: HOOK_SECRET}", "is no https URL"),
        ("{url: http://x.example/, secret_env: HOOK_SECRET}", "in clear"),
        ("{url: https://x.example/}", "one of secret_env and secret_file"),
        ("{url: https://x.example/, secret_env: HOOK_SECRET, events: [atempt]}", "did you mean attempt"),
        ("{url: https://x.example/, secret_env: NOT_SET_ANYWHERE}", "NOT_SET_ANYWHERE is not set"),
        ("{url: https://x.example/, secret_env: SHORT}", "has less than 16 characters"),
    ],
)
def test_a_slip_in_a_webhook_is_said_before_anything_is_sent(folder, call, monkeypatch, hook, said) -> None:
    monkeypatch.setenv("HOOK_SECRET", "a secret of some length")
    monkeypatch.setenv("SHORT", "abc")
    folder.file.write_text(folder.file.read_text() + f"webhooks:\n  - {hook}\n")
    result = call("send", "letter.yaml")
    assert result.exit_code == 2
    assert said in result.stderr
    assert "abc" not in result.stderr


def test_pushing_without_webhooks_or_without_a_send_says_what_to_do(folder, hooked, call, tmp_path) -> None:
    assert "nothing has been sent" in call("events", "push", "letter.yaml").stderr
    hooked.file.write_text(hooked.file.read_text().partition("webhooks:")[0])
    assert "webhooks: there are none" in call("events", "push", "letter.yaml").stderr
