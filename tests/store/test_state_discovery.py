"""Where the state directory of a campaign, or of somebody in a folder, is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bulkmail.errors import StateError
from bulkmail.store.directory import (
    DirectoryLock,
    StateDirectory,
    make_directory,
    state_for_campaign,
    state_from_here,
)


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BULKMAIL_STATE", raising=False)


def test_a_first_run_is_remembered_beside_the_campaign_file_and_nothing_is_made_by_asking(tmp_path: Path) -> None:
    found = state_for_campaign(str(tmp_path / "letters" / "spring.yaml"), None)
    assert found.path == tmp_path / "letters" / ".bulkmail"
    assert not found.path.exists()
    assert not found.exists


def test_the_nearest_state_directory_above_the_campaign_file_is_used(tmp_path: Path) -> None:
    (tmp_path / ".bulkmail").mkdir()
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    assert state_for_campaign(str(folder / "x.yaml"), None).path == tmp_path / ".bulkmail"
    (tmp_path / "a" / ".bulkmail").mkdir()
    assert state_for_campaign(str(folder / "x.yaml"), None).path == tmp_path / "a" / ".bulkmail"


def test_the_current_folder_does_not_matter_for_a_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / ".bulkmail").mkdir(parents=True)
    (tmp_path / "letters").mkdir()
    monkeypatch.chdir(elsewhere)
    by_absolute = state_for_campaign(str(tmp_path / "letters" / "x.yaml"), None)
    by_relative = state_for_campaign("../letters/x.yaml", None)
    assert by_absolute == by_relative == StateDirectory(tmp_path / "letters" / ".bulkmail")


def test_a_folder_reached_through_a_link_has_the_same_state(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert state_for_campaign(str(tmp_path / "link" / "x.yaml"), None).path == tmp_path / "real" / ".bulkmail"


def test_an_explicit_directory_comes_before_the_variable_and_that_before_any_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".bulkmail").mkdir()
    monkeypatch.setenv("BULKMAIL_STATE", str(tmp_path / "variable"))
    file = str(tmp_path / "x.yaml")
    assert state_for_campaign(file, None).path == tmp_path / "variable"
    assert state_from_here(None, tmp_path).path == tmp_path / "variable"
    assert state_for_campaign(file, tmp_path / "explicit").path == tmp_path / "explicit"
    assert state_from_here(tmp_path / "explicit", tmp_path).path == tmp_path / "explicit"


def test_a_campaign_made_in_python_needs_an_explicit_directory(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="without a file"):
        state_for_campaign(None, None)
    assert state_for_campaign(None, tmp_path).path == tmp_path


def test_from_a_folder_the_search_goes_upwards_and_looks_into_campaigns(tmp_path: Path) -> None:
    inside = tmp_path / "src" / "deep"
    inside.mkdir(parents=True)
    (tmp_path / "campaigns" / ".bulkmail").mkdir(parents=True)
    assert state_from_here(None, inside).path == tmp_path / "campaigns" / ".bulkmail"
    (tmp_path / ".bulkmail").mkdir()
    assert state_from_here(None, inside).path == tmp_path / ".bulkmail"


def test_where_there_is_none_the_error_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="--state"):
        state_from_here(None, tmp_path)


def test_the_owner_is_the_process_with_the_lock_and_nobody_after_it(tmp_path: Path) -> None:
    make_directory(tmp_path)
    directory = StateDirectory(tmp_path)
    assert directory.owner() is None
    lock = DirectoryLock(tmp_path)
    assert directory.owner() == os.getpid()
    lock.release()
    assert directory.owner() is None


def test_a_pid_left_by_a_killed_process_owns_nothing_even_when_another_process_has_it_now(tmp_path: Path) -> None:
    make_directory(tmp_path)
    (tmp_path / "lock").write_text(f"{os.getpid()}\n")
    assert StateDirectory(tmp_path).owner() is None
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (tmp_path / "lock").write_bytes(gone.stdout)
    assert StateDirectory(tmp_path).owner() is None
