"""Dovecot once for all tests here, its mailbox empty for each."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.test_feedback import Sent
from tests.mailbox.dovecot import Dovecot, missing, running
from tests.serve.conftest import certificate

__all__ = ["certificate"]


@pytest.fixture(scope="session")
def server(certificate) -> Iterator[Dovecot]:  # type: ignore[no-untyped-def]
    reason = missing()
    if reason:
        pytest.skip(reason)
    with running(certificate.certificate, certificate.key) as dovecot:
        yield dovecot


@pytest.fixture
def dovecot(server: Dovecot) -> Dovecot:
    for folder in server.folder.joinpath("mail").iterdir():
        if folder.name in ("new", "cur"):
            for file in folder.iterdir():
                file.unlink()
        elif folder.name.startswith(".") and folder.is_dir():
            shutil.rmtree(folder)
    return server


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BULKMAIL_STATE", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sent(tmp_path: Path) -> Iterator[Sent]:
    """A run of today, since commands go by the machine's clock."""
    made = Sent(tmp_path / "state", now=time.time())
    yield made
    made.store.close()
