import json
import mailbox
import time
from pathlib import Path

import pytest

from bulkmail.cli.mailbox import messages as read_messages
from tests.cli.conftest import Call
from tests.engine.test_feedback import ADDRESSES, ANNA, BERT, Sent
from tests.feedback import messages


@pytest.fixture
def sent(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Sent(tmp_path / "state", now=time.time())  # the command goes by the machine's clock
    yield made
    made.store.close()


def test_an_mbox_a_maildir_a_folder_and_a_message_are_read_whole(tmp_path: Path) -> None:
    several = [messages.STANDARD, messages.QMAIL, messages.VACATION]
    box = mailbox.mbox(tmp_path / "box")
    maildir = mailbox.Maildir(tmp_path / "maildir")
    (tmp_path / "folder").mkdir()
    for number, data in enumerate(several):
        box.add(data)
        maildir.add(data)
        (tmp_path / "folder" / f"{number}.eml").write_bytes(data)
    box.close()
    for name in ("box", "maildir", "folder"):
        read = sorted(data.strip() for _, data in read_messages(str(tmp_path / name)))
        assert read == sorted(data.strip() for data in several), name
    assert [data for _, data in read_messages(str(tmp_path / "folder" / "0.eml"))] == [messages.STANDARD]


def test_an_envelope_line_in_a_text_parts_no_message(tmp_path: Path) -> None:
    (tmp_path / "box").write_bytes(
        b"From a\nSubject: x\n\nFrom me to you\n>From quoted\n\nFrom b Mon Jan  4 10:00:00 2027\nSubject: y\n\nz\n"
    )
    read = [data for _, data in read_messages(str(tmp_path / "box"))]
    assert read == [b"Subject: x\n\nFrom me to you\nFrom quoted\n\n", b"Subject: y\n\nz\n"]


def test_bounces_that_are_read_suppress_once_and_are_told(sent: Sent, call: Call, tmp_path: Path) -> None:
    file = tmp_path / "bounce.eml"
    file.write_bytes(sent.about("standard"))
    first = call("bounces", "read", file, "--state", sent.path)
    assert first.exit_code == 0
    assert f"bounce {ADDRESSES[ANNA]} (hard: user_unknown): gets no more mail" in first.stdout
    assert "1 messages: 1 repeated" in call("bounces", "read", file, "--state", sent.path).stdout
    assert sent.suppressed(ANNA)


def test_json_is_one_object_with_counts_and_results(sent: Sent, call: Call, tmp_path: Path) -> None:
    for number, data in enumerate((sent.about("complaint", BERT), messages.STANDARD, b"X: y\n" * 100_000)):
        (tmp_path / f"{number}.eml").write_bytes(data)
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"{number}.eml").rename(tmp_path / "in" / f"{number}.eml")
    told = json.loads(call("bounces", "read", tmp_path / "in", "--state", sent.path, "--json").stdout)
    assert (told["messages"], told["complaint"], told["bounce"], told["refused"]) == (3, 1, 1, 1)
    assert [each["effect"] for each in told["results"]] == ["suppressed", "none", "none"]
    assert "headers" in told["results"][2]["why"]


def test_a_file_that_is_not_there_is_the_users_error(sent: Sent, call: Call) -> None:
    result = call("bounces", "read", "nowhere.mbox", "--state", sent.path)
    assert result.exit_code == 2
    assert "nowhere.mbox" in result.stderr


def test_an_answer_is_explained_with_rule_reason_and_class(call: Call) -> None:
    told = call("bounces", "explain", "550 5.1.1 <x@y.example> User unknown").stdout
    for words in ("user-unknown", "it says 'user unknown'", "user_unknown", "hard", "gets no more mail"):
        assert words in told


@pytest.mark.parametrize("answer", ["250 ok", "354 go ahead"])
def test_what_is_no_refusal_cannot_be_explained(call: Call, answer: str) -> None:
    assert call("bounces", "explain", answer).exit_code == 2


def test_a_stage_that_is_none_is_refused_with_the_known_ones(call: Call) -> None:
    result = call("bounces", "explain", "550 no", "--stage", "tea")
    assert result.exit_code == 2
    assert "rcpt" in result.stderr
