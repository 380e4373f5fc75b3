"""A disk that is full for a while, and one that loses power."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bulkmail.engine import scheduler, syncs
from bulkmail.errors import DiskFull
from bulkmail.events.log import EventLog
from bulkmail.store.journal import Journal
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppressions
from tests.auditor.audit import objects
from tests.engine.exchanger import Guest
from tests.engine.scene import Internet, addresses, run, send

UNKNOWN = "r7@shop.example"


def full_for_a_while(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, times: int) -> Counter[str]:
    """The method refuses for want of room, from its first call with content on, so many times.

    From the first, for a busy machine may put everything into one.
    """
    calls: Counter[str] = Counter()
    original = getattr(owner, method)

    def sometimes(self: Any, content: Any, **options: Any) -> Any:
        content = content if isinstance(content, bytes) else list(content)
        calls[method] += bool(content)
        if content and calls[method] <= times:
            raise DiskFull("the disk is full")
        return original(self, content, **options)

    monkeypatch.setattr(owner, method, sometimes)
    return calls


@pytest.mark.parametrize(
    ("owner", "method"),
    [(EventLog, "append_lines"), (Store, "fold"), (Suppressions, "add_many")],
    ids=lambda value: str(value),
)
def test_a_disk_that_is_full_for_a_while_pauses_the_run_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    for module in (scheduler, syncs):
        monkeypatch.setattr(module, "FULL_SECONDS", 0.02)
    # A fold of its own for each chunk, so that there are some to refuse.
    monkeypatch.setattr(scheduler, "FOLD_TOGETHER", 1)
    calls = full_for_a_while(monkeypatch, owner, method, 3)
    domains = [f"d{number}.example" for number in range(6)]

    def behave(stage: str, guest: Guest, argument: str) -> str | None:
        return "550 5.1.1 no such user" if stage == "rcpt" and argument.startswith("r7@") else None

    async def scene() -> None:
        async with Internet() as internet:
            mx = await internet.exchanger("mx.shop.example", behave, *domains)
            rows = [address for domain in domains for address in addresses(60, domain)]
            campaign = internet.campaign(tmp_path, rows, limits={"default": {"messages": "1000/s"}})
            summary, events = await send(campaign, tmp_path / "state")
        assert calls[method] >= 4
        assert (summary.delivered, summary.bounced) == (354, 6)
        assert len(mx.accepted) == 354
        attempts = Counter(event.recipient for event in events if event.event == "attempt")
        assert attempts == Counter(rows)
        logged = [line["recipient"] for line in objects(tmp_path / "state/events/trial-1.ndjson") if line["recipient"]]
        assert Counter(logged) == Counter(rows)
        with Suppressions.open(tmp_path / "state") as suppressions:
            assert len(suppressions) == 6

    run(scene())


def test_the_journal_never_speaks_for_events_that_a_power_failure_could_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    append, sync, mark = EventLog.append_lines, EventLog.sync, Journal.mark

    def log_append(self: EventLog, lines: bytes) -> None:
        append(self, lines)
        done.append("append")

    def log_sync(self: EventLog) -> None:
        sync(self)
        done.append("sync")

    def journal_mark(self: Journal, run: int, events_offset: int, position: int) -> None:
        mark(self, run, events_offset, position)
        done.append("mark")

    monkeypatch.setattr(EventLog, "append_lines", log_append)
    monkeypatch.setattr(EventLog, "sync", log_sync)
    monkeypatch.setattr(Journal, "mark", journal_mark)

    async def scene() -> None:
        async with Internet() as internet:
            await internet.exchanger("mx.shop.example", lambda *_: None, "shop.example")
            campaign = internet.campaign(tmp_path, addresses(200), limits={"default": {"messages": "500/s"}})
            summary, _ = await send(campaign, tmp_path / "state")
        assert summary.delivered == 200

    run(scene())
    marks = [position for position, what in enumerate(done) if what == "mark"]
    assert len(marks) >= 2 and "append" in done
    assert all(done[position - 1] in ("sync", "mark") for position in marks)
