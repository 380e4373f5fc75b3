"""The auditor finds what it is for: each kind of lie, told once."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.auditor.audit import EIGHT, KEYS, Audit, audit

Files = dict[str, Any]


def event(kind: str, recipient: str | None, disposition: str | None = None, **more: Any) -> dict[str, Any]:
    line = {**dict.fromkeys(KEYS), "time": "2027-01-01T00:00:00.000Z", "event": kind, "run": "c-1", **more}
    return {**line, "recipient": recipient, "disposition": disposition}


def taken(recipient: str, message_id: str | None = None) -> dict[str, Any]:
    given = message_id or f"<{recipient}>"
    return {"event": "result", "stage": "message", "code": 250, "rcpt": recipient, "message_id": given, "text": "ok"}


def refused(recipient: str) -> dict[str, Any]:
    return {"event": "result", "stage": "rcpt", "code": 550, "rcpt": recipient, "message_id": None, "text": "5.1.1 no"}


@pytest.fixture
def files() -> Files:
    """An honest run: one delivered, one twice in the list, one unknown, one no address."""
    return {
        "rows": ["a@x.example", "A@x.example", "gone@x.example", "nonsense"],
        "log": [taken("a@x.example"), refused("gone@x.example")],
        "events": [
            event("rejected", "nonsense"),
            event("duplicate", "A@x.example"),
            event("attempt", "a@x.example", "delivered", attempt=1, message_id="<a@x.example>"),
            event("attempt", "gone@x.example", "bounced", attempt=1, reason="user_unknown", code=550),
        ],
        "summary": {**dict.fromkeys(EIGHT, 0), "recipients": 4}
        | {"rejected": 1, "duplicates": 1, "delivered": 1, "bounced": 1},
        "suppressed": ["gone@x.example"],
        "policy": "resend",
    }


@pytest.fixture
def examine(tmp_path: Path) -> Callable[[Files], Audit]:
    def write(name: str, lines: list[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    def table(name: str, header: list[str], rows: list[list[str]]) -> Path:
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return tmp_path / name

    def examined(files: Files) -> Audit:
        return audit(
            recipients=table("r.csv", ["email"], [[row] for row in files["rows"]]),
            log=write("log.ndjson", files["log"]),
            events=write("events.ndjson", files["events"]),
            summary=files["summary"],
            suppressions=table("s.csv", ["address", "reason"], [[a, "user_unknown"] for a in files["suppressed"]]),
            policy=files["policy"],
        )

    return examined


def lose_the_message(files: Files) -> None:
    del files["log"][0]


def forget_the_delivery(files: Files) -> None:
    del files["events"][2]


def send_twice(files: Files) -> None:
    files["log"].append(taken("a@x.example"))


def send_twice_after_a_doubt_against_the_policy(files: Files) -> None:
    files["log"].append(taken("a@x.example"))
    files["events"].insert(2, event("in_doubt", "a@x.example", "in_doubt", attempt=1))
    files["policy"] = "hold"


def miscount(files: Files) -> None:
    files["summary"]["delivered"] = 2


def drop_a_row(files: Files) -> None:
    files["rows"].append("b@x.example")


def forget_the_suppression(files: Files) -> None:
    files["suppressed"].clear()


def suppress_the_living(files: Files) -> None:
    files["suppressed"].append("a@x.example")


def mail_a_stranger(files: Files) -> None:
    files["log"].append(taken("stranger@x.example"))


def share_a_message_id(files: Files) -> None:
    files["log"][0]["message_id"] = "<other>"


def go_on_after_the_end(files: Files) -> None:
    files["events"].append(event("attempt", "gone@x.example", "deferred", attempt=2))


def bounce_without_cause(files: Files) -> None:
    del files["log"][1]


LIES = [
    lose_the_message,
    forget_the_delivery,
    send_twice,
    send_twice_after_a_doubt_against_the_policy,
    miscount,
    drop_a_row,
    forget_the_suppression,
    suppress_the_living,
    mail_a_stranger,
    share_a_message_id,
    go_on_after_the_end,
    bounce_without_cause,
]


def test_an_honest_run_passes(files: Files, examine: Callable[[Files], Audit]) -> None:
    assert examine(files).problems == []


def test_a_duplicate_that_was_in_doubt_before_is_counted_and_forgiven(
    files: Files, examine: Callable[[Files], Audit]
) -> None:
    send_twice_after_a_doubt_against_the_policy(files)
    files["policy"] = "resend"
    found = examine(files)
    assert found.problems == []
    assert found.duplicates == {"a@x.example": 2}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_lie_is_found(lie: Callable[[Files], None], files: Files, examine: Callable[[Files], Audit]) -> None:
    lie(files)
    assert examine(files).problems
