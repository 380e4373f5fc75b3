"""What is wrong with the input is said with its place and a way out, and exits with 2; never a traceback."""

import os
from pathlib import Path

import pytest


def cut_off_yaml(folder) -> None:
    folder.file.write_text("campaign: [unclosed\n")


def unknown_key(folder) -> None:
    folder.edit("subject:", "subjekt:")


def two_errors(folder) -> None:
    folder.edit("kind: transactional", "kind: spam")
    folder.edit("retry: [1s]", "retry: [soon]")


def template_error(folder) -> None:
    (folder.path / "body.html").write_text("fine\n{{ first_name \n")


def undefined_field_in_the_subject(folder) -> None:
    folder.edit("{{ first_name }}", "{{ first_nam }}")


def template_error_in_a_header(folder) -> None:
    folder.edit("content:", 'headers:\n  X-Plain: a\n  X-Name: "{{ first_name"\ncontent:')


def no_password(folder) -> None:
    relay = "relay: {host: localhost, username: acme, password_env: NO_SUCH_VARIABLE}"
    folder.edit("route: sandbox", f"route: relay\n  {relay}")


def undefined_field(folder) -> None:
    (folder.path / "body.txt").write_text("one\nHello {{ first_nam }}\n")


def bad_key(folder) -> None:
    key = folder.path / "key.pem"
    key.write_text("not a key\n")
    key.chmod(0o600)
    folder.edit("delivery:\n", "dkim: [{domain: garden.example, selector: s1, key: key.pem}]\ndelivery:\n")


def open_key(folder) -> None:
    bad_key(folder)
    (folder.path / "key.pem").chmod(0o644)


def no_address_column(folder) -> None:
    folder.recipients.write_text("first_name,city\nAnn,Rome\n")


def empty_list(folder) -> None:
    folder.recipients.write_text("")


def header_in_latin1(folder) -> None:
    folder.recipients.write_bytes("email,größe\na@b.example,1\n".encode("latin-1"))


def rows_in_latin1(folder) -> None:
    folder.recipients.write_bytes("email,first_name\na@b.example,Ann\nz@b.example,Zoë\n".encode("latin-1"))


def no_list(folder) -> None:
    folder.recipients.unlink()


def file_for_state(folder) -> None:
    folder.state.write_text("a file")


def foreign_state(folder) -> None:
    folder.state.mkdir()
    (folder.state / "queue.db").write_bytes(b"not a database" * 100)


CASES = [
    (cut_off_yaml, ["letter.yaml:"]),
    (unknown_key, ["letter.yaml:4", "subjekt", 'did you mean "subject"?']),
    (two_errors, ["letter.yaml:2: kind", "letter.yaml:10: delivery.retry[0]", "2 errors"]),
    (template_error, ["body.html:2"]),
    (undefined_field, ["body.txt:2", "first_nam", "first_name"]),
    (undefined_field_in_the_subject, ["letter.yaml:4: subject", "first_nam", "first_name"]),
    (template_error_in_a_header, ["letter.yaml:7: headers.X-Name"]),
    (no_password, ["letter.yaml:10: delivery.relay.password_env", "NO_SUCH_VARIABLE"]),
    (bad_key, ["key.pem", "PEM"]),
    (open_key, ["key.pem", "chmod"]),
    (no_address_column, ["recipients.csv:1", "first_name", "city"]),
    (empty_list, ["recipients.csv"]),
    (header_in_latin1, ["recipients.csv:1", "UTF-8"]),
    (rows_in_latin1, ["recipients.csv:3", "0xEB", "UTF-8"]),
    (no_list, ["letter.yaml:7: recipients[0].file", "recipients.csv"]),
    (file_for_state, [".bulkmail", "--state"]),
    (foreign_state, ["queue.db"]),
]


@pytest.mark.parametrize(("spoil", "expected"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_send_says_where_and_what_and_exits_with_2(folder, call, spoil, expected) -> None:
    spoil(folder)
    result = call("send", folder.file, "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    for part in expected:
        assert part in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("verb", ["send", "check", "preview", "status", "report"])
def test_a_campaign_file_that_is_not_there_is_said_by_every_verb(tmp_path, call, verb) -> None:
    result = call(verb, tmp_path / "absent.yaml")
    assert result.exit_code == 2
    assert "absent.yaml" in result.stdout + result.stderr


@pytest.mark.parametrize("arguments", [["status"], ["report"], ["why", "a@b.example"], ["suppress", "export"]])
def test_without_any_state_the_reading_verbs_say_what_to_name_and_make_nothing(tmp_path, call, arguments) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert "--state" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_defect_is_one_sentence_and_the_traceback_comes_on_demand(folder, call, monkeypatch) -> None:
    def defect(*arguments: object) -> None:
        raise ZeroDivisionError("all\x1b[31m wrong")

    monkeypatch.setattr("bulkmail.cli.check.tally", defect)
    result = call("check", folder.file)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == r"internal error: ZeroDivisionError: all\x1b[31m wrong"
    assert "Traceback" not in result.stderr
    monkeypatch.setenv("BULKMAIL_DEBUG", "1")
    assert "Traceback" in call("check", folder.file).stderr


def test_a_pipe_that_is_closed_early_is_no_error(folder, spawn) -> None:
    folder.write_rows([f"no-at-{number},x" for number in range(5000)])
    process = spawn("check", "--schema")
    process.stdout.close()
    process.stdout = None
    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == ""


def test_an_unwritable_csv_is_the_users_error(folder, call, spawn) -> None:
    spawn("send", folder.file, "--json").communicate(timeout=60)
    result = call("report", folder.file, "--undelivered", Path("no") / "such" / "folder.csv")
    assert result.exit_code == 2
    assert "folder.csv" in result.stderr and os.strerror(2) in result.stderr
