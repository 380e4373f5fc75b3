"""A run's life from another terminal: schedule, canary, pause, resume, cancel."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

SLOW = "limits: {default: {messages: 40/s, connections: 2}}\ndelivery:\n"


def slowly(folder, rows: int = 150) -> None:
    folder.edit("delivery:\n", SLOW)
    folder.edit("expire: 20s", "expire: 30s")
    folder.write_rows([f"reader{number}@own-house.example,Reader {number}" for number in range(rows)])


def events(folder) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    for path in sorted((folder.state / "events").glob("*.ndjson")):
        lines += [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return lines


def delivered(folder) -> list[object]:
    return [event["recipient"] for event in events(folder) if event["disposition"] == "delivered"]


def until(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def run_events(folder) -> list[object]:
    return [event["reason"] for event in events(folder) if event["event"] == "run"]


def summary(process) -> dict[str, object]:
    output, _ = process.communicate(timeout=60)
    found: dict[str, object] = json.loads(output)
    return found


def test_a_pause_holds_within_a_second_and_resume_goes_on_to_the_end_once_each(folder, spawn, call) -> None:
    slowly(folder)
    process = spawn("send", folder.file, "--json")
    until(lambda: len(delivered(folder)) > 5)
    began = time.monotonic()
    assert "is paused" in call("pause", folder.file, "--reason", "wrong price").stdout
    until(lambda: "paused" in run_events(folder))
    assert time.monotonic() - began < 1.5
    held = len(delivered(folder))
    assert call("status", "--json", "--state", folder.state).stdout.count('"paused"') == 1
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 0.8)  # a second's worth of messages, had they gone on
    assert len(delivered(folder)) - held <= 5 and process.poll() is None
    assert "goes on" in call("resume", folder.file).stdout
    result = summary(process)
    assert process.returncode == 0 and result["state"] == "finished"
    assert max(Counter(delivered(folder)).values()) == 1


def test_a_pause_outlives_the_process_and_a_send_that_may_not_wait_says_so(folder, spawn, call) -> None:
    slowly(folder, rows=60)
    process = spawn("send", folder.file, "--json")
    until(lambda: len(delivered(folder)) > 5)
    call("pause", folder.file)
    until(lambda: "paused" in run_events(folder))
    process.terminate()
    process.communicate(timeout=60)
    held = len(delivered(folder))
    again = spawn("send", folder.file, "--json", "--no-wait")
    assert summary(again)["state"] == "stopped" and again.returncode == 3
    assert len(delivered(folder)) == held
    assert "nobody is sending it" in call("resume", folder.file).stdout
    last = spawn("send", folder.file, "--json")
    assert summary(last)["state"] == "finished"
    assert max(Counter(delivered(folder)).values()) == 1


def test_cancel_ends_the_run_for_good_and_only_new_run_sends_again(folder, spawn, call) -> None:
    slowly(folder)
    process = spawn("send", folder.file, "--json")
    until(lambda: len(delivered(folder)) > 5)
    said = call("cancel", folder.file, "--yes").stdout
    assert "is cancelled" in said and "will get nothing" in said
    result = summary(process)
    assert process.returncode == 3 and result["state"] == "cancelled"
    assert result["delivered"] == len(delivered(folder)) and result["deferred"]
    again = spawn("send", folder.file)
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 2 and "was cancelled" in errors and "--new-run" in errors
    assert "is cancelled already" in call("cancel", folder.file, "--yes").stderr


def test_a_run_that_nobody_sends_can_be_cancelled(folder, spawn, call) -> None:
    folder.edit("delivery:\n", 'schedule: {at: "2099-01-01 09:00 Europe/Vienna"}\ndelivery:\n')
    process = spawn("send", folder.file, "--json", "--no-wait")
    result = summary(process)
    assert process.returncode == 3
    assert (result["delivered"], result["deferred"]) == (0, 30)
    assert "next try in" in call("status", "--state", folder.state).stdout
    assert "0 of 30 delivered, 30 will get nothing" in call("cancel", folder.file, "--yes").stdout


@pytest.mark.parametrize("verb", [("pause",), ("resume",), ("cancel", "--yes")])
def test_where_there_is_no_run_the_verbs_say_so(folder, call, verb) -> None:
    result = call(*verb, folder.file)
    assert result.exit_code == 2 and "no run of letter yet" in result.stderr


def test_a_schedule_that_has_come_is_no_hindrance_and_a_zone_that_is_none_rejects_its_row(folder, spawn) -> None:
    folder.edit("delivery:\n", 'schedule: {at: "2020-01-01 09:00", window: "00:00-24:00", timezone: zone}\ndelivery:\n')
    folder.recipients.write_text(
        "email,first_name,zone\na@own-house.example,A,Asia/Tokyo\nb@own-house.example,B,Nowhere/Land\n"
    )
    process = spawn("send", folder.file, "--json", "--no-wait")
    result = summary(process)
    assert (result["rejected"], result["recipients"]) == (1, 2)
    assert any("'Nowhere/Land' is no time zone" in str(event["reason"]) for event in events(folder))


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("{window: 9-17}", "schedule.window: '9-17' is no window"),
        ('{at: "soon"}', "schedule.at: 'soon' is no date and time"),
        ("{timezone: zone}", "at or window is needed"),
        ('{window: "09:00-17:00", timezone: zona}', "zona is no field of the recipients"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused(folder, call, schedule, said) -> None:
    folder.edit("delivery:\n", f"schedule: {schedule}\ndelivery:\n")
    assert said in call("send", folder.file, "--dry-run").stderr


def test_the_canary_goes_first_and_the_others_follow(folder, spawn) -> None:
    folder.edit("delivery:\n", "canary: {first: 20%, wait: 100ms, deferred: 100%, bounced: 100%}\ndelivery:\n")
    process = spawn("send", folder.file, "--json")
    assert summary(process)["state"] == "finished" and process.returncode == 0
    reasons = run_events(folder)
    assert "canary" in reasons and "paused" not in reasons
    where = [event["reason"] if event["event"] == "run" else event["event"] for event in events(folder)]
    assert 0 < where[: where.index("canary")].count("attempt") < 25


def test_a_canary_that_bounces_pauses_the_run_and_cancel_spares_the_others(folder, spawn, call) -> None:
    folder.edit("delivery:\n", "canary: {first: 20%, wait: 100ms, bounced: 5%}\ndelivery:\n")
    folder.write_rows([f"reader{number}@nowhere.invalid,Reader {number}" for number in range(60)])
    process = spawn("send", folder.file, "--json")
    until(lambda: "paused" in run_events(folder))
    assert "canary: " in next(str(event["reply"]) for event in events(folder) if event["reason"] == "paused")
    assert "is cancelled" in call("cancel", folder.file, "--yes").stdout
    result = summary(process)
    assert result["state"] == "cancelled" and 30 < int(str(result["deferred"])) < 60


def test_the_orders_of_a_run_that_is_over_are_gone(folder, spawn, call) -> None:
    process = spawn("send", folder.file, "--json")
    assert summary(process)["state"] == "finished"
    assert "is finished already" in call("pause", folder.file).stderr
    assert not list(Path(folder.state).glob("orders/*"))
