"""`init` makes a campaign that is sound and can be sent; `test` sends samples apart from runs."""

import json
from email import message_from_bytes, policy
from pathlib import Path

import pytest


def mails(state: Path) -> list:
    files = sorted((state / "sandbox" / "maildir").rglob("new/*"), key=lambda path: path.stat().st_mtime_ns)
    return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in files]


@pytest.mark.parametrize("kind", ["marketing", "transactional"])
def test_a_new_campaign_passes_check_without_a_warning_and_sends_at_once(tmp_path, call, spawn, kind) -> None:
    result = call("init", "autumn", "--kind", kind)
    assert result.exit_code == 0 and "autumn/campaign.yaml" in result.stdout
    checked = json.loads(call("check", "autumn/campaign.yaml", "--json", "--strict").stdout)
    assert checked["ok"], checked["findings"]
    process = spawn("send", "autumn/campaign.yaml", "--json")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert json.loads(output)["recipients"] == 3 and json.loads(output)["campaign"] == "autumn"


def test_init_leaves_alone_what_is_there_and_wants_a_usable_name(tmp_path, call) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "is there already" in call("init", "mine").stderr
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine" and len(list((tmp_path / "mine").iterdir())) == 1
    assert "cannot name a campaign" in call("init", "two words").stderr
    assert not (tmp_path / "two words").exists()


def test_test_sends_the_chosen_rows_to_the_given_address_and_makes_no_run(folder, call) -> None:
    result = call("test", folder.file, "--to", "me@own-house.example", "--rows", "1,5", "--prefix", "[test]")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("delivered") == 2 and "recipients.csv:6" in result.stdout
    received = mails(folder.state / "tests")
    assert [mail["Subject"] for mail in received] == ["[test] Hello Reader 0", "[test] Hello Reader 4"]
    assert {mail["To"] for mail in received} == {"me@own-house.example"}
    assert "no run of letter" in call("pause", folder.file).stderr


def test_a_row_is_named_by_its_address_and_a_second_test_is_sent_again(folder, call) -> None:
    arguments = (
        "test",
        folder.file,
        "--to",
        "me@own-house.example",
        "--address",
        "reader7@own-house.example",
        "--json",
    )
    for _ in range(2):
        answer = json.loads(call(*arguments).stdout)
        assert answer["ok"] and answer["samples"][0]["disposition"] == "delivered"
    assert [mail["Subject"] for mail in mails(folder.state / "tests")] == ["Hello Reader 7"] * 2


def test_a_schedule_holds_no_test_back(folder, call) -> None:
    folder.edit("delivery:\n", 'schedule: {at: "2099-01-01 09:00"}\ncanary: {first: 1%}\ndelivery:\n')
    assert call("test", folder.file, "--to", "me@own-house.example").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "nobody"], "no @"),
        (["--to", "me@own-house.example", "--rows", "99"], "there is no row 99"),
        (["--to", "me@own-house.example", "--rows", "one"], "such as 1,5"),
        (["--to", "me@own-house.example", "--rows", ",".join(map(str, range(1, 25)))], "are no test"),
    ],
)
def test_what_cannot_be_sent_is_said(folder, call, arguments, said) -> None:
    result = call("test", folder.file, *arguments)
    assert result.exit_code == 2 and said in result.stderr


def test_a_test_that_is_refused_says_by_whom(folder, call) -> None:
    result = call("test", folder.file, "--to", "me@nowhere.invalid")
    assert result.exit_code == 3 and "bounced" in result.stdout
