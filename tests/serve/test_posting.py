"""`bulkmail serve` posts events: what earlier sends left over, and what it takes in itself."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_events import Receiver
from tests.engine.test_feedback import ADDRESSES, ANNA, Sent

ROOT = Path(__file__).parents[2]
CAMPAIGN = """\
campaign: spring
kind: transactional
from: Acme Garden <news@garden.example>
return_path: bounces@mail.garden.example
subject: Spring
content: {{text: body.txt}}
recipients: [{{file: rows.csv}}]
delivery: {{route: sandbox}}
{hooks}
"""


class Posting:
    """A process that serves a campaign with these receivers."""

    def __init__(self, sent: Sent, folder: Path, *urls: str) -> None:
        hooks = "\n".join(f"  - {{url: '{url}', secret_env: HOOK_SECRET, allow_private: true}}" for url in urls)
        (folder / "spring.yaml").write_text(CAMPAIGN.format(hooks=f"webhooks:\n{hooks}" if hooks else ""))
        (folder / "body.txt").write_text("Seeds.\n")
        (folder / "rows.csv").write_text(f"email\n{ADDRESSES[ANNA]}\n")
        command = ["serve", str(folder / "spring.yaml"), "--state", str(sent.path), "--smtp", "off"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bulkmail", *command, "--http", "127.0.0.1:0"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "HOOK_SECRET": "a secret of some length"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening: HTTP"), (line, self.process.communicate())
        self.port = int(line.split(":")[-1].split(";")[0])

    def post(self, token: str) -> float:
        """Seconds until the answer."""
        began = time.monotonic()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/u/{token}", data=b"List-Unsubscribe=One-Click", method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        return time.monotonic() - began

    def end(self, number: signal.Signals) -> tuple[str, str]:
        self.process.send_signal(number)
        return self.process.communicate(timeout=20)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Sent]:
    made = Sent(tmp_path / "state", now=time.time())
    yield made
    made.store.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_what_a_send_left_over_and_what_comes_in_is_posted_until_the_end(
    live: Sent, receiver: Receiver, tmp_path: Path
) -> None:
    log = live.path / "events" / f"{live.run.id}.ndjson"
    log.write_text('{"time":"2027-01-01T00:00:00.000Z","event":"run","run":"spring-1"}\n')
    posting = Posting(live, tmp_path, receiver.url)
    posting.post(live.link(ANNA))
    out, err = posting.end(signal.SIGTERM)
    assert "stopped" in out
    assert "has not got" not in err
    assert [each["event"] for each in receiver.events] == ["run", "unsubscribe"]
    assert receiver.events[1]["recipient"] == ADDRESSES[ANNA]


def test_a_campaign_without_webhooks_is_served_and_ended_as_well(live: Sent, tmp_path: Path) -> None:
    posting = Posting(live, tmp_path)
    posting.post(live.link(ANNA))
    out, err = posting.end(signal.SIGTERM)
    assert "stopped" in out
    assert "Traceback" not in err


def test_a_receiver_that_never_answers_slows_no_answer_and_no_other_receiver(
    live: Sent, receiver: Receiver, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        posting = Posting(live, tmp_path, f"http://127.0.0.1:{hanging.getsockname()[1]}/", receiver.url)
        posting.post(live.link(ANNA))
        hanging.settimeout(10)
        connection, _ = hanging.accept()
        with connection:
            assert posting.post(live.link(ANNA)) < 2
            while not receiver.events:
                assert posting.process.poll() is None
                time.sleep(0.01)
            posting.end(signal.SIGKILL)
    assert live.suppressed(ANNA)
