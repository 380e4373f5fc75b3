"""The files a campaign names."""

import os
from pathlib import Path

import pytest

TEXT = """\
campaign: x
from: a@x.example
subject: Hi
content:
  text: {text}
  inline:
    - {inline}
recipients:
  - file: {recipients}
"""


def campaign(
    text: str = "spring/body.txt", inline: str = "spring/logo.png", recipients: str = "spring/recipients.csv"
) -> str:
    return TEXT.format(text=text, inline=inline, recipients=recipients)


def test_files_that_are_there_are_taken(errors) -> None:
    assert errors(campaign()) == []


def test_a_missing_file_is_named_with_the_nearest_in_its_folder(errors) -> None:
    assert errors(campaign(text="spring/bdy.txt")) == [
        'c.yaml:5: content.text: "spring/bdy.txt" does not exist; did you mean "spring/body.txt"?'
    ]
    assert errors(campaign(inline="spring/Logo.PNG")) == [
        'c.yaml:7: content.inline[0]: "spring/Logo.PNG" does not exist; did you mean "spring/logo.png"?'
    ]


def test_a_missing_file_unlike_any_other_says_where_it_was_looked_for(errors, folder: Path) -> None:
    assert errors(campaign(text="spring/zzz")) == [
        f'c.yaml:5: content.text: "spring/zzz" does not exist; no file in {folder}/spring has a name like it'
    ]


def test_a_missing_folder_is_named(errors, folder: Path) -> None:
    assert errors(campaign(text="summer/body.txt")) == [
        f'c.yaml:5: content.text: "summer/body.txt" does not exist; there is no folder {folder}/summer'
    ]
    assert errors(campaign(text="spring/body.txt/x")) == [
        f'c.yaml:5: content.text: "spring/body.txt/x" does not exist; there is no folder {folder}/spring/body.txt'
    ]


def test_a_hint_is_written_as_the_path_was(errors, folder: Path) -> None:
    assert errors(campaign(text=f"{folder}/spring/bodi.txt")) == [
        f'c.yaml:5: content.text: "{folder}/spring/bodi.txt" does not exist; did you mean "{folder}/spring/body.txt"?'
    ]


def test_folders_pipes_and_names_of_nothing_are_no_files(errors) -> None:
    assert errors(campaign(text="spring")) == ['c.yaml:5: content.text: "spring" is a folder; a file is needed']
    assert errors(campaign(text="''")) == ['c.yaml:5: content.text: "" is no file name']
    assert errors(campaign(text='"a\\0b"')) == ['c.yaml:5: content.text: "a\\x00b" is no file name']
    os.mkfifo("spring/pipe")
    assert errors(campaign(text="spring/pipe")) == ['c.yaml:5: content.text: "spring/pipe" is no ordinary file']
    assert errors(campaign(text="x" * 300)) == [
        'c.yaml:5: content.text: "' + "x" * 300 + '" cannot be read: File name too long'
    ]


def test_a_file_that_may_not_be_read_says_so(errors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("body.txt"))
    assert errors(campaign()) == ['c.yaml:5: content.text: "spring/body.txt" cannot be read: permission denied']


def test_a_list_has_one_of_seven_endings(errors) -> None:
    Path("spring/recipients.txt").touch()
    assert errors(campaign(recipients="spring/recipients.txt")) == [
        'c.yaml:9: recipients[0].file: "spring/recipients.txt" ends in none of .csv, .csv.gz, .tsv, .tsv.gz, '
        ".jsonl, .jsonl.gz, .parquet"
    ]
    for ending in ("csv", "csv.gz", "jsonl", "jsonl.gz", "CSV"):
        Path(f"spring/l.{ending}").touch()
        assert errors(campaign(recipients=f"spring/l.{ending}")) == []


def test_roots_to_trust_that_are_none_are_found_with_the_file(errors, tmp_path: Path) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_text("no certificate")
    (found,) = errors(campaign() + f"tls: {{authorities: {roots}}}\n")
    assert "tls.authorities: " in found and 'roots.pem" cannot be used: ' in found
