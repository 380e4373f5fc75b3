"""On a terminal of 80 columns, lines are cut between words and tables are whole; elsewhere a finding is one line."""

import stat

import pytest
from rich.text import Text

from bulkmail.cli import check, status
from bulkmail.cli.output import PlainConsole, print_paragraph
from bulkmail.preflight.receivers import ASKED_OF, Met


@pytest.fixture(params=[80, 160])
def columns(request, monkeypatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


def test_a_long_line_is_cut_between_words_on_a_terminal_alone(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    words = Text("error: " + " ".join(["word"] * 20) + " /a/path/that/is/longer/than/the/terminal/is/wide")
    console = PlainConsole(stderr=False)
    print_paragraph(console, words)
    assert capsys.readouterr().out == f"{words}\n"
    monkeypatch.setattr(PlainConsole, "is_terminal", True)
    print_paragraph(console, words, hang=7)
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("error: word") and all(line.startswith(" " * 7) for line in others)
    assert all(len(line) <= 40 for line in (first, *others))
    assert "".join([first, *others]).replace(" ", "") == str(words).replace(" ", "")


def test_the_table_of_receivers_fits(capsys, columns: int) -> None:
    met = [Met(says="no misleading subject, sender or hidden content", of=tuple(ASKED_OF), met=None)]
    check._print_receivers(PlainConsole(stderr=False), met)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= columns for line in lines)
    assert " ".join("\n".join(lines[2:]).replace("not seen", "").split()) == met[0].says


def test_the_state_of_runs_fits(folder, call, spawn, columns: int) -> None:
    spawn("send", folder.file, "--json").communicate(timeout=60)
    lines = call("status", folder.file).stdout.splitlines()[2:]
    assert len(lines) == 2 and all(len(line) <= columns for line in lines)
    assert ("expired" in lines[0]) == (columns >= status.WIDE_COLUMNS)
    assert "…" not in lines[1]


def test_a_report_says_why_a_row_was_rejected_before_it_says_where(folder, call, spawn, columns: int) -> None:
    folder.write_rows(["ann@own-house.example,Ann", "nobody,X"])
    spawn("send", folder.file, "--json").communicate(timeout=60)
    lines = call("report", folder.file).stdout.splitlines()
    head = next(number for number, line in enumerate(lines) if "rejected row" in line)
    assert lines[head + 1].split()[:3] == ["nobody", "no", "@"]
    assert all(len(line) <= columns for line in lines[head : head + 2])


def test_a_trial_before_the_first_send_leaves_the_state_directory_to_its_owner_alone(folder, call) -> None:
    assert call("test", folder.file, "--to", "me@own-house.example").exit_code == 0
    assert stat.S_IMODE(folder.state.stat().st_mode) == 0o700


def test_a_folder_in_place_of_a_campaign_is_answered_with_the_one_in_it(folder, call) -> None:
    result = call("check", folder.path)
    assert result.exit_code == 2
    assert "is a folder" in result.output and f"write {folder.file}" in result.output


def test_a_page_in_place_of_a_campaign_is_not_told_to_mend_its_yaml(folder, call) -> None:
    (folder.path / "body.html").write_text("<html>\n<body>\n  <p>Dear: reader</p>\n")
    result = call("send", folder.path / "body.html")
    assert result.exit_code == 2
    assert "campaign files are YAML" in result.stderr


def test_help_begins_with_what_a_newcomer_does_first(call) -> None:
    told = call("--help").stdout
    verbs = ["init", "check", "preview", "test", "send", "report", "suppress", "doctor"]
    places = [told.index(f"│ {verb} ") for verb in verbs]
    assert places == sorted(places)
