"""`kill -9` right after any 200 or 250: the effect is there, for whoever looks next, without the listener."""

import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkmail.engine.returns import feedback_log
from bulkmail.store.suppressions import Suppressions
from tests.engine.test_feedback import ADDRESSES, ANNA, BERT, Sent
from tests.serve.conftest import BOUNCES

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("BULKMAIL_KILLS", "4"))
SETTINGS = f"bounces: [{BOUNCES}]\nsender: Acme Garden\n"


class Serving:
    """`bulkmail serve` in a process of its own, on free ports."""

    def __init__(self, sent: Sent, folder: Path) -> None:
        (folder / "serve.yaml").write_text(SETTINGS)
        command = ["serve", "--config", str(folder / "serve.yaml"), "--state", str(sent.path)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bulkmail", *command, "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("listening: SMTP on 127.0.0.1:"), line
        self.smtp, self.http = (int(part.split(":")[-1].split(";")[0]) for part in line.split(": ", 1)[1].split(", "))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def post(self, token: str) -> int:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}/u/{token}", data=b"List-Unsubscribe=One-Click", method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Sent]:
    """A run of today, since a process of its own goes by the machine's clock."""
    made = Sent(tmp_path / "state", now=time.time())
    yield made
    made.store.close()


def test_what_was_answered_is_there_after_kill_9(live: Sent, tmp_path: Path) -> None:
    bounce = live.about("standard").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    for number in range(KILLS):
        with Suppressions.open(live.path) as suppressions:
            for index in (ANNA, BERT):
                suppressions.remove(ADDRESSES[index])
        serving = Serving(live, tmp_path)
        try:
            if number % 2:
                client = smtplib.SMTP("127.0.0.1", serving.smtp, timeout=10)
                client.sendmail("", [f"bounces+{live.token(ANNA)}@mail.garden.example"], bounce)
            else:
                assert serving.post(live.link(BERT)) == 200
        finally:
            serving.kill()
        if number % 2:
            client.close()
        assert live.suppressed(ANNA if number % 2 else BERT), number
        assert feedback_log(live.path, live.run.id).exists()


def test_a_running_send_sees_it_at_its_next_look_and_nobody_owns_the_directory(live: Sent, tmp_path: Path) -> None:
    with Suppressions.open(live.path) as of_the_send:
        of_the_send.load()
        serving = Serving(live, tmp_path)
        try:
            serving.post(live.link(ANNA))
            assert not of_the_send.contains(ADDRESSES[ANNA])
            assert of_the_send.refresh() and of_the_send.contains(ADDRESSES[ANNA])
        finally:
            serving.process.terminate()
            out, _ = serving.process.communicate(timeout=20)
    assert serving.process.returncode == 0 and "all that was answered is recorded" in out


def test_a_stop_finishes_what_was_begun_and_lets_the_silent_go(live: Sent, tmp_path: Path) -> None:
    serving = Serving(live, tmp_path)
    silent = [socket.create_connection(("127.0.0.1", port)) for port in (serving.smtp, serving.http) for _ in range(3)]
    assert serving.post(live.link(ANNA)) == 200
    began = time.monotonic()
    serving.process.terminate()
    serving.process.communicate(timeout=20)
    assert serving.process.returncode == 0 and time.monotonic() - began < 10
    for connection in silent:
        connection.close()
