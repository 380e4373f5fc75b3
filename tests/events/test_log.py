import errno
import gc
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from bulkmail.errors import DiskFull, StateError
from bulkmail.events.log import EventLog, read_events
from bulkmail.model.delivery import Event

EVENTS = [
    Event(time="2027-03-01T08:15:00.123Z", event="attempt", run="spring-1", recipient="ü@x.example", attempt=1,
          reply="1\r\n2\x1b"),
    Event(time="2027-03-01T08:15:01.000Z", event="run", run="spring-1"),
]  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spring-1.ndjson"


@pytest.fixture
def log(path: Path) -> Iterator[EventLog]:
    with closing(EventLog(path)) as opened:
        yield opened


def test_events_come_back_in_order(path: Path, log: EventLog) -> None:
    log.append(EVENTS[:1])
    first = log.offset
    log.append(EVENTS[1:])
    log.append([])
    assert list(read_events(path)) == EVENTS
    assert list(read_events(path, first)) == EVENTS[1:]
    assert log.offset == path.stat().st_size


def test_each_event_is_one_line_with_every_key_in_the_order_of_the_contract(path: Path, log: EventLog) -> None:
    log.append(EVENTS)
    lines = path.read_bytes().splitlines()
    assert len(lines) == 2
    keys = list(orjson.loads(lines[1]))
    assert keys[:9] == ["time", "event", "run", "recipient", "attempt", "disposition", "code", "enhanced", "reply"]
    assert keys[9:14] == ["stage", "reason", "site", "host", "source"]
    assert keys[14:] == ["tls", "bytes", "milliseconds", "message_id"]
    assert orjson.loads(lines[0])["reply"] == "1\r\n2\x1b"
    assert b"\x1b" not in lines[0]
    assert orjson.loads(lines[1])["recipient"] is None


def test_a_line_leaves_nothing_behind_in_memory(log: EventLog) -> None:
    def iterators() -> int:
        gc.collect()
        return sum(type(one).__name__ in ("tuple_iterator", "list_iterator") for one in gc.get_objects())

    before = iterators()
    for _ in range(50):
        log.append(tuple(EVENTS))
    assert iterators() - before < 10


def test_every_torn_tail_is_left_out_and_cut_off(path: Path) -> None:
    with closing(EventLog(path)) as log:
        log.append(EVENTS[:1])
        first = log.offset
        log.append(EVENTS[1:])
    content = path.read_bytes()
    for cut in {*range(0, len(content), 17), first - 1, first, first + 1, len(content) - 1}:
        path.write_bytes(content[:cut])
        whole = EVENTS[:1] if cut >= first else []
        assert list(read_events(path)) == whole
        with closing(EventLog(path)) as log:
            assert log.offset == (first if whole else 0)
            log.append(EVENTS[1:])
        assert list(read_events(path)) == whole + EVENTS[1:]


def test_a_torn_line_longer_than_a_block_is_cut_off(path: Path) -> None:
    with closing(EventLog(path)) as log:
        log.append(EVENTS)
        end = log.offset
    with open(path, "ab") as file:
        file.write(b"x" * 200_000)
    with closing(EventLog(path)) as log:
        assert log.offset == end


def test_what_stands_behind_an_offset_can_be_forgotten(path: Path, log: EventLog) -> None:
    log.append(EVENTS[:1])
    first = log.offset
    log.append(EVENTS[1:])
    log.truncate(first)
    assert list(read_events(path)) == EVENTS[:1]
    log.append(EVENTS[1:])
    assert list(read_events(path)) == EVENTS


@pytest.mark.parametrize("offset", [-1, 5, 10**9])
def test_a_log_is_truncated_at_the_end_of_a_line_only(log: EventLog, offset: int) -> None:
    log.append(EVENTS)
    with pytest.raises(ValueError, match="not the end of a line"):
        log.truncate(offset)


def test_a_full_disk_leaves_whole_lines(path: Path, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append(EVENTS[:1])
    write, writes = os.pwrite, []

    def partly(descriptor: int, data: bytes, offset: int) -> int:
        if writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        writes.append(offset)
        return write(descriptor, data[:10], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", partly)
        with pytest.raises(DiskFull, match=r"spring-1\.ndjson: no room for events; free some space"):
            log.append(EVENTS[1:])
    assert list(read_events(path)) == EVENTS[:1]
    assert path.stat().st_size == log.offset
    log.append(EVENTS[1:])
    assert list(read_events(path)) == EVENTS


def test_an_error_of_sync_is_final(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    log.append(EVENTS)
    log.sync()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        with pytest.raises(StateError, match="Input/output error"):
            log.sync()
    for call in (log.sync, lambda: log.append(EVENTS), lambda: log.truncate(0)):
        with pytest.raises(StateError, match="could not be made durable before"):
            call()


def test_a_line_that_is_no_event_is_named_by_its_place(path: Path, log: EventLog) -> None:
    log.append(EVENTS[:1])
    with open(path, "ab") as file:
        file.write(b'{"time": 1}\n')
    with pytest.raises(StateError, match=rf"spring-1\.ndjson: byte {log.offset}: not an event"):
        list(read_events(path))


def test_a_log_that_is_not_there_is_an_error_with_its_path(path: Path) -> None:
    with pytest.raises(StateError, match=r"spring-1\.ndjson: No such file"):
        list(read_events(path))


def test_a_log_of_a_later_version_with_more_keys_can_be_read(path: Path) -> None:
    path.write_bytes(b'{"time": "t", "event": "run", "run": "r", "weather": "fine"}\n')
    assert list(read_events(path)) == [Event(time="t", event="run", run="r")]
