"""`why`, `status` and `report` over a state directory made here, without a send."""

import json
from pathlib import Path

import pytest

from bulkmail.cli.trail import events_about
from bulkmail.clock import rfc3339
from bulkmail.events.log import EventLog
from bulkmail.model.delivery import Disposition, Event, Reason, Stage
from bulkmail.store.chunks import NewChunk
from bulkmail.store.outcomes import Outcome
from bulkmail.store.runs import IntakeProgress, RunState
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppression, Suppressions

NOW = 1_800_000_000.0
PEOPLE = ["ann@x.example", "bob@x.example", "eve@x.example", "dan@x.example", "Fay@x.example", "gus@x.example"]


class Standing:
    """The clock at NOW."""

    def time(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / ".bulkmail"
    with Store.open(directory, clock=Standing(), segment_bytes=1 << 20) as store:
        run = store.create_run("letter", "c", "r", b"{}")
        progress = IntakeProgress(rows=9, rejected=1, duplicates=1, suppressed=1, watermark=9, events_offset=0)
        rows = [b"[]"] * len(PEOPLE)
        store.ingest(run.number, [NewChunk("x.example", None, PEOPLE, rows)], progress)
        store.set_state(run.number, RunState.SENDING)
        chunk = store.claim(run.number, "x.example", NOW)
        assert chunk is not None
        for index, outcome in enumerate(
            [
                Outcome(Disposition.DELIVERED, 2, stage=Stage.MESSAGE, code=250, time=NOW + 60),
                Outcome(Disposition.BOUNCED, 1, Reason.USER_UNKNOWN, Stage.RCPT, 550, NOW, 0.0, "550 5.1.1 no\x1b[31m"),
                Outcome(Disposition.DEFERRED, 3, Reason.GREYLISTED, Stage.RCPT, 451, NOW, 4e9, "451 later"),
                Outcome(Disposition.EXPIRED, 7, Reason.EXPIRED, Stage.RCPT, 452, NOW, 0.0, "452 full"),
                Outcome(Disposition.IN_DOUBT, 1, Reason.CONNECTION_LOST, Stage.MESSAGE, 0, NOW, 0.0, "lost"),
            ]
        ):
            chunk.outcomes.set(index, outcome)
        store.fold([chunk], release=[chunk.number])
        log = EventLog(store.events_path(run))

    def event(name: str, seconds: float, **values: object) -> Event:
        return Event(time=rfc3339(NOW + seconds), event=name, run="letter-1", **values)  # type: ignore[arg-type]

    at = {"site": "x-site", "host": "mx.x.example"}
    log.append(
        [
            event("rejected", 0, recipient="bad@", reason="list.csv:3: nothing after the @"),
            event("duplicate", 0, recipient="ANN@x.example", reason="list.csv:5: the address stands further up"),
            event("suppressed", 0, recipient="old@x.example", disposition="suppressed", reason="suppressed"),
            event(
                "attempt", 1, recipient="ann@x.example", attempt=1, disposition="deferred", code=451,
                reply="451 4.7.1 come back", stage="rcpt", reason="greylisted", tls="TLSv1.3", milliseconds=12.0, **at,
            ),
            event(
                "lane", 2, reply="421 4.7.0 too many; lane paused for 30 s", code=421, stage="connect",
                reason="rate_limited", **at,
            ),
            event(
                "attempt", 60, recipient="ann@x.example", attempt=2, disposition="delivered", code=250, reply="250 ok",
                stage="message", tls="TLSv1.3", bytes=1234, milliseconds=30.0, **at,
            ),
            event(
                "attempt", 1, recipient="bob@x.example", attempt=1, disposition="bounced", code=550,
                reply="550 5.1.1 no\x1b[31m", stage="rcpt", reason="user_unknown", **at,
            ),
            event("lane", 99, reply="421 much later; lane slowed", reason="rate_limited", **at),
        ]
    )  # fmt: skip
    log.close()
    with Suppressions.open(directory) as suppressions:
        for scope in ("all", "letter"):
            suppressions.add(
                Suppression(
                    scope=scope,
                    key="bob@x.example",
                    address="bob@x.example",
                    reason="user_unknown",
                    source="t",
                    time=NOW,
                )
            )
    return directory


def test_the_life_of_a_delivery_is_told_in_order(state, call) -> None:
    told = call("why", "ann@x.example").stdout
    steps = ["duplicate: list.csv:5", "try 1 at mx.x.example: deferred", "all waited: lane paused for 30 s at x-site",
             "try 2 at mx.x.example: delivered", "delivered: the receiver took it at try 2"]  # fmt: skip
    places = [told.index(step) for step in steps]
    assert places == sorted(places)
    assert "greylisting" in told and "451 4.7.1 come back (TLSv1.3, 12 ms)" in told
    assert "much later" not in told


def test_a_bounce_is_told_with_its_suppressions_and_nothing_steers_the_terminal(state, call) -> None:
    told = call("why", "BOB@x.example").stdout
    assert "bounced: the mailbox does not exist; it is not tried again" in told
    assert "suppressed for all mail" in told and "suppressed for the list letter" in told
    assert "suppress remove BOB@x.example" in told
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("eve@x.example", "open: tried 3 times; the next try is due in"),
        ("dan@x.example", "expired: given up after 7 tries; the last answer was: 452 full"),
        ("fay@x.example", "in doubt: the message was sent whole and no reply came"),
        ("gus@x.example", "open: not tried yet; it is due now, once `send` goes on"),
        ("bad@", "rejected: list.csv:3: nothing after the @"),
        ("old@x.example", "suppressed: on the suppression list; it was not tried"),
        ("nobody@x.example", "nobody@x.example is not in run letter-1"),
    ],
)
def test_every_way_to_stand_has_its_sentence(state, call, address, said) -> None:
    result = call("why", address)
    assert result.exit_code == 0
    assert said in result.stdout


def test_a_campaign_narrows_the_answer_by_file_or_by_name(state, call, folder) -> None:
    assert "in run letter-1" in call("why", "ann@x.example", folder.file).stdout
    assert "in run letter-1" in call("why", "ann@x.example", "letter").stdout
    assert "has no runs" in call("why", "ann@x.example", "other").stdout


def test_status_counts_every_row_once(state, call) -> None:
    answer = json.loads(call("status", "--json").stdout)
    assert answer["sending_process"] is None
    run = answer["runs"][0]
    outcomes = ("rejected", "duplicates", "suppressed", "delivered", "deferred", "bounced", "expired", "in_doubt")
    assert [run[name] for name in outcomes] == [1, 1, 1, 1, 2, 1, 1, 1]
    assert sum(run[name] for name in outcomes) == run["recipients"] == 9
    assert run["next_due"] is not None
    assert run["state"] == json.loads(call("report", "--json").stdout)["state"] == "stopped"
    shown = call("status").stdout
    assert "nobody is sending" in shown and "letter-1  stopped" in shown


def test_report_finds_a_run_by_id_or_says_which_there_are(state, call) -> None:
    assert "run letter-1" in call("report", "--run", "letter-1").stdout
    result = call("report", "--run", "letter-9")
    assert result.exit_code == 2
    assert "the latest are letter-1" in result.stderr
    report = call("report").stdout
    assert "x-site" in report and "user_unknown" in report and "list.csv:3" in report
    assert "\x1b" not in report


def test_events_are_found_across_blocks_and_a_torn_line_is_left_out(tmp_path, monkeypatch) -> None:
    log = EventLog(tmp_path / "log")
    people = [f"p{number}@x.example" for number in range(200)]
    log.append([Event(time="t", event="attempt", run="r", recipient=person) for person in people])
    log.close()
    with open(tmp_path / "log", "ab") as file:
        file.write(b'{"time":"t","event":"attempt","run":"r","recipient":"p7@x.example","att')
    for block in (1, 7, 100, 1000, 1 << 20):
        monkeypatch.setattr("bulkmail.cli.trail.BLOCK_BYTES", block)
        assert [event.recipient for event in events_about(tmp_path / "log", "P7@x.example")] == ["p7@x.example"]
    assert events_about(tmp_path / "absent", "p7@x.example") == []
