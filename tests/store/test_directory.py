import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bulkmail.errors import StateError, StateInUse
from bulkmail.store.directory import DirectoryLock
from bulkmail.store.store import Store

HOLD = """
import sys
from pathlib import Path
from bulkmail.store.directory import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_owner_is_refused_by_the_first_ones_pid_until_that_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(StateInUse, match=rf"in use by process {owner.pid}; wait for it") as refused:
            DirectoryLock(tmp_path)
        assert refused.value.pid == owner.pid
        owner.kill()
    DirectoryLock(tmp_path).release()


def test_the_same_process_is_no_exception(tmp_path: Path, store: Store, clock) -> None:
    with pytest.raises(StateInUse) as refused:
        Store.open(tmp_path / "state", clock=clock)
    assert refused.value.pid == os.getpid()


def test_a_pid_left_in_the_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("12345678901234\n")
    lock = DirectoryLock(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()
    assert (tmp_path / "lock").read_text() == ""


def test_an_owner_whose_pid_cannot_be_read_is_another_process(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    (tmp_path / "lock").write_text("")
    with pytest.raises(StateInUse, match="in use by another process") as refused:
        DirectoryLock(tmp_path)
    assert refused.value.pid is None
    lock.release()


def test_the_directory_has_the_files_of_its_contract_and_is_private(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "state"
    assert {"lock", "queue.db", "journal", "events"} <= {entry.name for entry in path.iterdir()}
    assert (path / "lock").read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o077 == 0
    assert store._database.value("PRAGMA journal_mode") == "wal"
    assert store._database.value("PRAGMA synchronous") == 2
    assert store._database.value("PRAGMA page_size") == 8192


def test_a_file_is_no_directory(tmp_path: Path, clock) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError, match=r"cannot be made a state directory.*--state"):
        Store.open(tmp_path / "state", clock=clock)


@pytest.fixture
def database(tmp_path: Path, clock) -> Path:
    with Store.open(tmp_path / "state", clock=clock, segment_bytes=4096):
        pass
    return tmp_path / "state" / "queue.db"


@pytest.mark.parametrize("opened", [Store.open_readonly, lambda path: Store.open(path, clock=None)])
def test_a_newer_version_is_refused(database: Path, opened) -> None:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StateError, match=r"schema 99, this one knows 2\); upgrade bulkmail"):
        opened(database.parent)


def test_a_database_of_someone_else_is_refused(tmp_path: Path, clock) -> None:
    connection = sqlite3.connect(tmp_path / "queue.db")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StateError, match="not a queue of bulkmail"):
        Store.open(tmp_path, clock=clock)


def test_a_damaged_database_is_an_error_with_its_path(database: Path, clock) -> None:
    database.write_bytes(b"not a database" * 1000)
    with pytest.raises(StateError, match=r"queue\.db: file is not a database"):
        Store.open(database.parent, clock=clock)
    DirectoryLock(database.parent).release()


def test_a_directory_that_is_removed_or_replaced_is_noticed(tmp_path: Path, clock) -> None:
    store = Store.open(tmp_path / "state", clock=clock)
    store.check_in_place()
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="was removed while in use"):
        store.check_in_place()
    with pytest.raises(StateError, match="was removed while in use"):
        store.close()
    with Store.open(tmp_path / "state", clock=clock):
        pass
