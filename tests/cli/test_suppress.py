"""`bulkmail suppress`: entries added, looked up, moved between files and taken off."""

import csv
import io

import pytest

from bulkmail.store.suppressions import Suppressions


@pytest.fixture
def state(tmp_path):
    (tmp_path / ".bulkmail").mkdir()
    return tmp_path / ".bulkmail"


def test_an_address_is_suppressed_in_every_spelling_until_it_is_removed(state, call) -> None:
    assert "no, it is not suppressed" in call("suppress", "check", "ann@x.example").stdout
    assert call("suppress", "add", "Ann@X.example", "--reason", "asked by phone").exit_code == 0
    yes = call("suppress", "check", "ann@x.EXAMPLE")
    assert yes.exit_code == 0
    assert "yes, suppressed for all mail since" in yes.stdout and "asked by phone" in yes.stdout
    assert "was suppressed already" in call("suppress", "add", "ann@x.example").stdout
    assert "removed" in call("suppress", "remove", "ann@x.example").stdout
    assert "no, it is not suppressed" in call("suppress", "check", "ann@x.example").stdout
    assert "was not suppressed" in call("suppress", "remove", "ann@x.example").stdout


def test_a_list_has_entries_of_its_own(state, call) -> None:
    call("suppress", "add", "ann@x.example", "--list", "letter")
    assert "no" in call("suppress", "check", "ann@x.example").stdout
    assert (
        "yes, suppressed for the list letter" in call("suppress", "check", "ann@x.example", "--list", "letter").stdout
    )
    assert "no" in call("suppress", "check", "ann@x.example", "--list", "offers").stdout
    assert "was not suppressed" in call("suppress", "remove", "ann@x.example").stdout
    assert "removed for the list letter" in call("suppress", "remove", "ann@x.example", "--list", "letter").stdout


@pytest.mark.parametrize("verb", ["add", "remove", "check"])
def test_one_wrong_address_or_list_changes_nothing(state, call, verb) -> None:
    for arguments in (["good@x.example", "bad"], ["good@x.example", "--list", "no list"]):
        result = call("suppress", verb, *arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: ")
    with Suppressions.open(state) as suppressions:
        assert list(suppressions.export()) == []


def test_export_and_import_carry_everything_over(state, call, tmp_path) -> None:
    call("suppress", "add", "ann@x.example", "--reason", "=cmd()")
    call("suppress", "add", "+plus@x.example", "--list", "letter")
    exported = call("suppress", "export").stdout
    rows = list(csv.DictReader(io.StringIO(exported)))
    assert exported.splitlines()[0] == "address,scope,reason,source,time"
    assert [(row["address"], row["scope"], row["reason"]) for row in rows] == [
        ("ann@x.example", "all", "'=cmd()"),
        ("+plus@x.example", "letter", "manual"),
    ]
    assert [
        row["address"] for row in csv.DictReader(io.StringIO(call("suppress", "export", "--list", "letter").stdout))
    ] == ["+plus@x.example"]
    (tmp_path / "all.csv").write_text(exported)
    result = call("suppress", "import", "all.csv", "--state", tmp_path / "new")
    assert "2 addresses, 2 new" in result.stdout
    with Suppressions.open(state) as old, Suppressions.open(tmp_path / "new") as new:
        before, after = list(old.export()), list(new.export())
    assert [(entry.key, entry.scope, entry.reason, entry.source) for entry in before] == [
        (entry.key, entry.scope, entry.reason, entry.source) for entry in after
    ]
    assert all(abs(one.time - two.time) < 0.001 for one, two in zip(before, after, strict=True))
    assert "2 addresses, 0 new" in call("suppress", "import", "all.csv", "--state", tmp_path / "new").stdout


def test_a_plain_list_of_addresses_is_imported_for_one_list_with_a_reason(state, call, tmp_path) -> None:
    (tmp_path / "left.csv").write_text("\ufeffEmail\nann@x.example\n\nbob@x.example\n", encoding="utf-8")
    assert "2 addresses, 2 new" in call("suppress", "import", "left.csv", "--list", "letter", "--reason", "left").stdout
    with Suppressions.open(state) as suppressions:
        entries = list(suppressions.export())
    assert [(entry.address, entry.scope, entry.reason, entry.source) for entry in entries] == [
        ("ann@x.example", "letter", "left", "left.csv"),
        ("bob@x.example", "letter", "left", "left.csv"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name\nAnn\n", "the columns are name"),
        (b"", "no column address"),
        (b"address\nann@x.example\nbad\n", "bad.csv:3: bad: no @"),
        (b"address,time\nann@x.example,yesterday\n", "bad.csv:2: ann@x.example: yesterday is no time"),
        (b"address,scope\nann@x.example,no list\n", "no name of a list"),
        (b"address\n\xff@x.example\n", "UTF-8"),
        (b'address\n"ann@x.example', "CSV"),
    ],
)
def test_a_file_with_an_error_adds_nothing(state, call, tmp_path, content, said) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    result = call("suppress", "import", "bad.csv")
    assert result.exit_code == 2
    assert said in result.stderr
    with Suppressions.open(state) as suppressions:
        assert list(suppressions.export()) == []


def test_an_error_far_down_a_long_file_adds_nothing_either(state, call, tmp_path) -> None:
    rows = "".join(f"r{number}@x.example\n" for number in range(10_050))
    (tmp_path / "long.csv").write_text(f"address\n{rows}bad\n")
    assert "long.csv:10052: bad" in call("suppress", "import", "long.csv").stderr
    with Suppressions.open(state) as suppressions:
        assert len(suppressions) == 0


def test_looking_makes_no_directory_but_adding_to_a_named_one_does(tmp_path, call) -> None:
    assert call("suppress", "check", "a@x.example", "--state", tmp_path / "new").exit_code == 2
    assert not (tmp_path / "new").exists()
    assert call("suppress", "add", "a@x.example", "--state", tmp_path / "new").exit_code == 0
    assert "yes" in call("suppress", "check", "a@x.example", "--state", tmp_path / "new").stdout


@pytest.mark.parametrize(
    "text",
    [
        "Email Address;Reason\nann@house.example;asked to stop\n",
        "e-mail address\treason\nann@house.example\tasked to stop\n",
        "\ufeffEmail,Reason\nann@house.example,asked to stop\n",
    ],
)
def test_a_list_as_spreadsheets_write_it_is_imported(state, call, tmp_path, text) -> None:
    (tmp_path / "theirs.csv").write_text(text, encoding="utf-8")
    assert "1 new" in call("suppress", "import", "theirs.csv").stdout
    shown = call("suppress", "export").stdout
    assert "ann@house.example,all,asked to stop," in shown
