"""What came back, in `report`, `status` and `why`: by reason, site, list and day, and what is too much."""

import csv
import io
import json
from pathlib import Path

import pytest

from bulkmail.clock import rfc3339
from bulkmail.engine.returns import feedback_log
from bulkmail.events.log import EventLog
from bulkmail.model.delivery import Disposition, Event, Stage
from bulkmail.policy.thresholds import excess
from bulkmail.store.chunks import NewChunk
from bulkmail.store.outcomes import Outcome
from bulkmail.store.runs import IntakeProgress, RunState
from bulkmail.store.store import Store

NOW = 1_800_000_000.0
DAY = 86400.0
LISTS = {"news": [f"n{number}@gmail.example" for number in range(300)], "=offers": ["o0@y.example", "o1@y.example"]}


class Standing:
    def time(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Two lists delivered; two of one complained, one bounced later and one of the other unsubscribed, a day after."""
    directory = tmp_path / ".bulkmail"
    with Store.open(directory, clock=Standing(), segment_bytes=1 << 20) as store:
        run = store.create_run("letter", "c", "r", b"{}")
        progress = IntakeProgress(rows=302, rejected=0, duplicates=0, suppressed=0, watermark=302, events_offset=0)
        chunks = [
            NewChunk(names[0].partition("@")[2], name, names, [b"[]"] * len(names)) for name, names in LISTS.items()
        ]
        store.ingest(run.number, chunks, progress)
        store.set_state(run.number, RunState.SENDING)
        log = EventLog(store.events_path(run))
        for chunk in chunks:
            claimed = store.claim(run.number, chunk.destination, NOW)
            assert claimed is not None
            site = "google" if chunk.destination == "gmail.example" else "mx.y.example"
            for index, address in enumerate(chunk.addresses):
                claimed.outcomes.set(index, Outcome(Disposition.DELIVERED, 1, stage=Stage.MESSAGE, code=250, time=NOW))
                log.append([event("attempt", 0, address, disposition="delivered", site=site, host="mx")])
            store.fold([claimed], release=[claimed.number])
        log.close()
        back = EventLog(feedback_log(directory, run.id))
        back.append(
            [
                event("complaint", DAY, "n1@gmail.example", reason="complaint"),
                event("complaint", DAY, "n2@gmail.example", reason="complaint"),
                event("bounce", DAY, "n3@gmail.example", reason="user_unknown", reply="no such user", code=550),
                event("unsubscribe", DAY, "o1@y.example", reason="unsubscribed", reply="one click: all mail"),
            ]
        )
        back.close()
        store.set_state(run.number, RunState.FINISHED)
    return directory


def event(name: str, seconds: float, address: str, **values: object) -> Event:
    return Event(time=rfc3339(NOW + seconds), event=name, run="letter-1", recipient=address, **values)  # type: ignore[arg-type]


def test_a_report_counts_what_came_back_by_site_list_day_and_reason(state, call) -> None:
    told = json.loads(call("report", "--json").stdout)
    of_site = {site["site"]: (site["delivered"], site["bounced_later"], site["complaints"]) for site in told["sites"]}
    assert of_site == {"google": (300, 1, 2), "mx.y.example": (2, 0, 0)}
    assert [(one["name"], one["delivered"], one["complaints"], one["unsubscribes"]) for one in told["lists"]] == [
        ("news", 300, 2, 0),
        ("=offers", 2, 0, 1),
    ]
    assert [(one["name"], one["delivered"], one["complaints"]) for one in told["days"]] == [
        (rfc3339(NOW)[:10], 302, 0),
        (rfc3339(NOW + DAY)[:10], 0, 2),
    ]
    assert told["came_back"][0] == {"event": "complaint", "reason": "complaint", "count": 2}
    assert (told["complaint_rate"], told["bounce_rate"]) == (round(2 / 302, 6), round(1 / 302, 6))
    assert {(one["site"], one["of"], one["limit"]) for one in told["too_much"]} == {
        ("google", "complaints", True),
        ("*", "complaints", True),
    }


def test_a_report_says_in_words_what_is_too_much_and_where_that_is_said(state, call) -> None:
    said = call("report").stdout
    assert "came back: 1 bounces, 2 complaints, 1 unsubscribes" in said
    assert "complaints to google: 0.67 % is over the limit of 0.30 %" in said
    assert "support.google.com" in said


def test_the_table_is_harmless_in_a_spreadsheet(state, call, tmp_path) -> None:
    rows = list(csv.DictReader(io.StringIO(call("report", "--csv", "-").stdout)))
    assert {row["by"] for row in rows} == {"all", "site", "list", "day", "reason"}
    assert "'=offers" in [row["name"] for row in rows]
    (google,) = [row for row in rows if row["name"] == "google"]
    assert (google["complaints"], google["complaint_rate"]) == ("2", "0.006667")
    assert call("report", "--csv", str(tmp_path / "no" / "such.csv")).exit_code == 2


def test_status_and_why_tell_of_it(state, call) -> None:
    (run,) = json.loads(call("status", "--json").stdout)["runs"]
    assert (run["bounced_later"], run["complaints"], run["unsubscribes"]) == (1, 2, 1)
    assert "came back of" in call("status").stdout
    assert "complained: the recipient reported" in call("why", "n1@gmail.example").stdout
    assert "bounced later: the mailbox does not exist: no such user" in call("why", "n3@gmail.example").stdout
    assert "unsubscribed: one click: all mail" in call("why", "o1@y.example").stdout


def test_who_bounced_later_is_among_those_without_the_mail(state, call) -> None:
    rows = list(csv.DictReader(io.StringIO(call("report", "--undelivered", "-").stdout)))
    assert [(row["address"], row["disposition"], row["code"]) for row in rows] == [
        ("n3@gmail.example", "bounced_later", "550")
    ]


def test_little_mail_is_no_share() -> None:
    assert excess("google", "complaints", 5, 50) is None
    assert excess("google", "complaints", 1, 2000) is None
    near = excess("google", "complaints", 2, 1000)
    assert near is not None
    assert not near.limit
    other = excess("mx.school.example", "complaints", 3, 1000)
    assert other is not None
    assert (other.threshold, other.limit) == (0.001, False)
    assert excess("google", "bounces", 49, 1000) is None
