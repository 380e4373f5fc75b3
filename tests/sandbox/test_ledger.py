"""The log and the Maildir."""

import errno
import json
import os
from pathlib import Path

import pytest

from bulkmail.sandbox.ledger import Closed, Ledger
from tests.sandbox.conftest import HeldClock


def closed(number: int) -> Closed:
    return Closed(
        time="t", connection=number, host="h", peer="p", reason="quit", seconds=0, commands=0, messages=0, bytes=0,
        unfinished=False,
    )  # fmt: skip


def test_lines_wait_for_a_flush_and_come_in_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, keep="log", clock=HeldClock())
    ledger.note(closed(1))
    ledger.note(closed(2), urgent=True)
    assert ledger.urgent
    assert ledger.log_path.read_bytes() == b""
    ledger.flush()
    assert not ledger.urgent
    ledger.note(closed(3))
    ledger.close()
    lines = [json.loads(line) for line in ledger.log_path.read_text().splitlines()]
    assert [line["connection"] for line in lines] == [1, 2, 3]
    assert next(iter(lines[0])) == "event"
    assert not ledger.maildir.exists()


def test_a_second_ledger_appends(tmp_path: Path) -> None:
    for number in range(2):
        ledger = Ledger(tmp_path, keep="maildir", clock=HeldClock())
        ledger.note(closed(number))
        ledger.close()
    assert len(ledger.log_path.read_text().splitlines()) == 2


def test_a_message_lies_verbatim_behind_its_trace_lines(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, keep="maildir", clock=HeldClock())
    names = [
        ledger.store(b"\0\xff\r\n", sender="a@b.test", recipients=["x@y.test", "z@y.test"], host="mx.y.test")
        for _ in range(2)
    ]
    ledger.close()
    assert len(set(names)) == 2
    assert (ledger.maildir / "new" / names[0]).read_bytes() == (
        b"Return-Path: <a@b.test>\r\nDelivered-To: x@y.test\r\nDelivered-To: z@y.test\r\nX-Sandbox-Host: mx.y.test\r\n"
        b"\0\xff\r\n"
    )
    assert not list((ledger.maildir / "tmp").iterdir())


def test_a_full_disk_leaves_no_half_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path, keep="maildir", clock=HeldClock())

    def full(file: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            ledger.store(b"x", sender="", recipients=["x@y.test"], host="h")
    assert not [*ledger.maildir.rglob("*.sandbox")]
    ledger.close()


def test_nothing_is_kept_where_nothing_is_asked_for(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "none", keep="none", clock=HeldClock())
    ledger.note(closed(1), urgent=True)
    assert ledger.store(b"x", sender="", recipients=["x@y.test"], host="h") is None
    ledger.close()
    assert not (tmp_path / "none").exists()
