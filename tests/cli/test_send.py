"""`bulkmail send` as a process: what it prints, writes and answers."""

import csv
import io
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

KEYS = [
    "campaign", "run", "state", "recipients", "rejected", "duplicates", "suppressed", "delivered", "deferred",
    "bounced", "expired", "in_doubt", "seconds", "messages_per_second",
]  # fmt: skip
OUTCOMES = KEYS[4:12]


def finished(process, code: int) -> tuple[str, str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    return out, err


def summary_of(out: str) -> dict[str, object]:
    assert out.count("\n") == 1 and out.endswith("\n")
    return json.loads(out)


def wait_for(condition, seconds: float = 30.0) -> None:
    """Until another process has got that far."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def delivered_events(state: Path) -> list[dict[str, object]]:
    return [
        event
        for path in state.glob("events/*.ndjson")
        for line in path.read_bytes().splitlines()
        if (event := json.loads(line))["disposition"] == "delivered"
    ]


def slow_down(folder) -> None:
    folder.edit("delivery:\n", "limits: {default: {messages: 10/s, connections: 1}}\ndelivery:\n")


def test_json_is_one_line_with_the_summary_in_order_and_every_row_counted_once(folder, spawn) -> None:
    folder.write_rows(
        [*(f"reader{n}@own-house.example,Reader {n}" for n in range(30)), "nobody,X", "READER1@Own-House.Example,Y"]
    )
    out, err = finished(spawn("send", folder.file, "--json"), 0)
    summary = summary_of(out)
    assert list(summary) == KEYS
    assert (summary["campaign"], summary["run"], summary["state"]) == ("letter", "letter-1", "finished")
    assert (summary["recipients"], summary["rejected"], summary["duplicates"]) == (32, 1, 1)
    assert sum(summary[key] for key in OUTCOMES) == 32
    assert summary["delivered"] >= 20
    assert "Traceback" not in err


def test_a_finished_run_is_said_to_be_finished_and_nothing_is_sent_again(folder, spawn) -> None:
    first = summary_of(finished(spawn("send", folder.file, "--json"), 0)[0])
    mail = set((folder.state / "sandbox").rglob("*"))
    again, err = finished(spawn("send", folder.file, "--json"), 0)
    summary = summary_of(again)
    assert {key: summary[key] for key in KEYS[:12]} == {key: first[key] for key in KEYS[:12]}
    assert "finished" in err
    out, _ = finished(spawn("send", folder.file), 0)
    assert "run letter-1 was finished" in out and "nothing was sent" in out and "--new-run" in out
    assert set((folder.state / "sandbox").rglob("*")) == mail


def test_a_new_run_sends_once_more_except_to_those_who_bounced(folder, spawn) -> None:
    first = summary_of(finished(spawn("send", folder.file, "--json"), 0)[0])
    second = summary_of(finished(spawn("send", folder.file, "--json", "--new-run"), 0)[0])
    assert (second["run"], second["delivered"]) == ("letter-2", first["delivered"])
    assert second["suppressed"] <= first["bounced"]


def test_the_human_summary_has_counts_reasons_and_commands_that_work(folder, spawn) -> None:
    out, err = finished(spawn("send", folder.file), 0)
    assert "run letter-1 finished: every recipient is final" in out
    assert "user_unknown" in out
    why = next(line for line in out.splitlines() if " why " in line).split("  ")[1]
    address = why.split()[-1]
    told, _ = finished(spawn("why", address), 0)
    assert "bounced" in told and "does not exist" in told
    example = next(line for line in out.splitlines() if line.strip().startswith("less ")).split()[1]
    assert b"Subject: Hello Reader" in Path(example).read_bytes()
    assert "\x1b" not in out + err


def test_a_dry_run_writes_nothing_and_shows_the_first_message_as_it_goes_over_the_wire(folder, spawn) -> None:
    folder.write_rows(["broken,A", "reader1@own-house.example,Reader 1", "reader1@own-house.example,B"])
    before = folder.files()
    process = spawn("send", folder.file, "--dry-run")
    out, _ = finished(process, 0)
    assert folder.files() == before
    assert "1 would get the message" in out
    assert "recipients.csv:2: broken: no @" in out
    message = out.partition("byte for byte:\n\n")[2]
    assert message.startswith("MAIL FROM:<news+")
    assert "\nRCPT TO:<reader1@own-house.example>\nDATA\n" in message
    assert "\nHello Reader 1\n" in message
    assert message.endswith("\n.\n")
    summary = summary_of(finished(spawn("send", folder.file, "--dry-run", "--json"), 0)[0])
    assert list(summary) == KEYS
    assert (summary["state"], summary["recipients"], summary["rejected"], summary["duplicates"]) == ("dry_run", 3, 1, 1)
    assert folder.files() == before


def test_a_dry_run_counts_as_the_send_after_it_does(folder, spawn, call) -> None:
    call("suppress", "add", "READER5@own-house.example", "--state", folder.state)
    call("suppress", "add", "reader6@own-house.example", "--list", "letter", "--state", folder.state)
    call("suppress", "add", "reader7@own-house.example", "--list", "another", "--state", folder.state)
    rows = [f"reader{n}@own-house.example,Reader {n}" for n in range(8)]
    folder.write_rows(
        [*rows, "x,A", "a@b@c.example,A", "reader3@own-house.example,", "Reader1@OWN-house.example,C", "e@x.example,"]
    )
    dry = summary_of(finished(spawn("send", folder.file, "--dry-run", "--json"), 0)[0])
    real = summary_of(finished(spawn("send", folder.file, "--json"), 0)[0])
    for key in ("recipients", "rejected", "duplicates", "suppressed"):
        assert dry[key] == real[key]
    assert real["suppressed"] == 2


def test_a_run_over_an_empty_list_does_not_keep_the_mail_from_rows_added_later(folder, spawn) -> None:
    folder.write_rows([])
    out, _ = finished(spawn("send", folder.file, "--json"), 0)
    assert summary_of(out)["recipients"] == 0
    folder.write_rows(["reader1@own-house.example,Reader"])
    out, _ = finished(spawn("send", folder.file, "--json"), 0)
    assert summary_of(out)["recipients"] == 1


def test_limit_takes_only_the_first_rows(folder, spawn) -> None:
    summary = summary_of(finished(spawn("send", folder.file, "--json", "--limit", 4), 0)[0])
    assert summary["recipients"] == 4


def test_a_send_after_one_with_a_limit_goes_on_with_the_other_rows_in_the_same_run(folder, spawn) -> None:
    folder.write_rows(
        ["nobody,X", *(f"reader{n}@own-house.example,R" for n in range(20)), "reader1@own-house.example,R"]
    )
    first = summary_of(finished(spawn("send", folder.file, "--json", "--limit", "5"), 0)[0])
    assert (first["recipients"], first["rejected"], first["state"]) == (5, 1, "finished")
    more = summary_of(finished(spawn("send", folder.file, "--json", "--limit", "8"), 0)[0])
    assert (more["run"], more["recipients"]) == (first["run"], 8)
    out, err = finished(spawn("send", folder.file, "--json", "--limit", "3"), 0)
    assert "finished already" in err
    every = summary_of(finished(spawn("send", folder.file, "--json"), 0)[0])
    assert (every["run"], every["recipients"], every["rejected"], every["duplicates"]) == (first["run"], 22, 1, 1)
    reached = [event["recipient"] for event in delivered_events(folder.state)]
    assert len(reached) == len(set(reached)) == every["delivered"] >= 15
    out, _ = finished(spawn("report", folder.file, "--undelivered", "-"), 0)
    assert out.count("rejected") >= 1
    assert "finished already" in finished(spawn("send", folder.file, "--json"), 0)[1]


def test_a_list_that_changed_after_a_send_with_a_limit_is_refused(folder, spawn) -> None:
    finished(spawn("send", folder.file, "--json", "--limit", "2"), 0)
    folder.write_rows(["another@own-house.example,A"])
    out, err = finished(spawn("send", folder.file, "--json"), 2)
    assert out == ""
    assert "first 2 rows" in err and "recipients[0].file" in err and "--new-run" in err


def test_an_interrupt_stops_in_order_and_the_same_command_goes_on_without_sending_anybody_twice(folder, spawn) -> None:
    slow_down(folder)
    process = spawn("send", folder.file, "--json")
    wait_for(lambda: len(delivered_events(folder.state)) >= 2)
    process.send_signal(signal.SIGINT)
    out, err = finished(process, 3)
    stopped = summary_of(out)
    assert stopped["state"] == "stopped" and stopped["deferred"] > 0
    assert sum(stopped[key] for key in OUTCOMES) == 30
    assert "stopping" in err
    folder.edit("messages: 10/s", "messages: 1000/s")
    out, err = finished(spawn("send", folder.file, "--json"), 0)
    summary = summary_of(out)
    assert (summary["run"], summary["state"], summary["recipients"]) == (stopped["run"], "finished", 30)
    assert "going on with run letter-1" in err
    reached = [event["recipient"] for event in delivered_events(folder.state)]
    assert len(reached) == len(set(reached)) == summary["delivered"]
    assert len(list((folder.state / "sandbox" / "maildir" / "new").iterdir())) == summary["delivered"]


def test_a_second_interrupt_ends_at_once_and_loses_nothing(folder, spawn) -> None:
    slow_down(folder)
    process = spawn("send", folder.file, "--json")
    wait_for(lambda: len(delivered_events(folder.state)) >= 2)
    os.kill(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 3
    folder.edit("messages: 10/s", "messages: 1000/s")
    summary = summary_of(finished(spawn("send", folder.file, "--json"), 0)[0])
    assert summary["recipients"] == sum(summary[key] for key in OUTCOMES) == 30


def test_while_one_sends_another_is_refused_with_its_pid_and_the_reading_verbs_work(folder, spawn) -> None:
    slow_down(folder)
    # However long five other processes take to start and to end, it is not through.
    folder.edit("messages: 10/s", "messages: 1/m")
    process = spawn("send", folder.file, "--json")
    wait_for(lambda: len(delivered_events(folder.state)) >= 1)
    out, err = finished(spawn("send", folder.file, "--json"), 2)
    assert out == ""
    assert str(process.pid) in err and "in use" in err
    status = json.loads(finished(spawn("status", folder.file, "--json"), 0)[0])
    assert status["sending_process"] == process.pid
    assert status["runs"][0]["state"] == "sending" and status["runs"][0]["recipients"] == 30
    assert f"process {process.pid} is sending" in finished(spawn("report", folder.file), 0)[0]
    finished(spawn("suppress", "add", "reader29@own-house.example", "--reason", "asked by phone"), 0)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    finished(process, 3)
    folder.edit("messages: 1/m", "messages: 1000/s")
    summary = summary_of(finished(spawn("send", folder.file, "--json"), 0)[0])
    assert summary["suppressed"] == 1
    out, _ = finished(spawn("why", "reader29@own-house.example"), 0)
    assert "asked by phone" in out
    assert status["runs"][0]["deferred"] > 0


def test_a_changed_campaign_is_refused_with_what_changed_and_new_run_starts_anew(folder, spawn) -> None:
    slow_down(folder)
    process = spawn("send", folder.file)
    wait_for(lambda: len(delivered_events(folder.state)) >= 1)
    process.send_signal(signal.SIGINT)
    finished(process, 3)
    folder.edit("Hello {{ first_name }}", "Good day {{ first_name }}")
    (folder.path / "body.txt").write_text("Changed {{ first_name }}\n")
    folder.edit("messages: 10/s", "messages: 1000/s")
    out, err = finished(spawn("send", folder.file, "--json"), 2)
    assert out == ""
    assert "content.text" in err and "subject" in err and "--new-run" in err and "limits" not in err
    summary = summary_of(finished(spawn("send", folder.file, "--json", "--new-run"), 0)[0])
    assert summary["run"] == "letter-2"
    assert "cancelled" in finished(spawn("status", folder.file), 0)[0]


def test_no_wait_stops_with_what_is_not_due_yet(folder, spawn) -> None:
    folder.edit("retry: [1s]", "retry: [1h]")
    folder.write_rows(
        [f"x{n}@servfail{n}.example,A" for n in range(3)] + [f"y{n}@meadow-{n}.example,A" for n in range(200)]
    )
    out, _ = finished(spawn("send", folder.file, "--json", "--no-wait"), 3)
    summary = summary_of(out)
    assert summary["state"] == "stopped" and summary["deferred"] > 0


def test_readers_that_go_away_do_not_end_the_send(folder, spawn) -> None:
    slow_down(folder)
    process = spawn("send", folder.file)
    wait_for(lambda: len(delivered_events(folder.state)) >= 1)
    process.send_signal(signal.SIGINT)
    finished(process, 3)
    folder.edit("messages: 10/s", "messages: 1000/s")
    process = spawn("send", folder.file)
    process.stdout.close()
    process.stderr.close()
    process.stdout = process.stderr = None
    assert process.wait(timeout=60) == 0
    assert len(delivered_events(folder.state)) >= 20


def test_a_stopped_send_says_so_by_its_exit_code_even_to_nobody(folder, spawn) -> None:
    folder.edit("retry: [1s]", "retry: [1h]")
    folder.write_rows([f"y{n}@meadow-{n}.example,A" for n in range(200)])
    process = spawn("send", folder.file, "--no-wait")
    process.stdout.close()
    process.stdout = None
    assert process.wait(timeout=60) == 3
    assert process.stderr.read().count("Error") == 0


def test_many_real_recipients_are_asked_about_only_at_a_terminal(folder, spawn) -> None:
    folder.edit("route: sandbox", "route: mx\n  port: 1\n  allow_private_mx: true")
    folder.edit("delivery:\n", 'dns: {servers: ["127.0.0.1:1"], timeout: 100ms}\ndelivery:\n')
    folder.write_rows([f"r{n}@x{n}.example,A" for n in range(1002)])
    folder.edit("expire: 20s\n", "expire: 1s\n")
    process = spawn("send", folder.file, "--json", "--no-wait")
    out, err = process.communicate(timeout=60)
    assert "Send letter to" not in err
    assert summary_of(out)["recipients"] == 1002


def test_undelivered_recipients_are_a_csv_with_one_row_for_each(folder, spawn, call) -> None:
    folder.write_rows([*(f"reader{n}@own-house.example,Reader {n}" for n in range(30)), "=1+1,X"])
    summary = summary_of(finished(spawn("send", folder.file, "--json"), 0)[0])
    rows = list(csv.DictReader(io.StringIO(call("report", folder.file, "--undelivered", "-").stdout)))
    assert list(rows[0]) == ["address", "disposition", "attempts", "reason", "stage", "code", "reply", "time"]
    assert rows[0]["address"] == "'=1+1" and rows[0]["disposition"] == "rejected"
    assert len(rows) == summary["bounced"] + summary["rejected"]
    assert all(row["code"].startswith("5") and row["reply"] for row in rows if row["disposition"] == "bounced")
    report = json.loads(call("report", folder.file, "--json").stdout)
    assert report["counts"]["delivered"] == summary["delivered"] == sum(site["delivered"] for site in report["sites"])
    assert sum(reason["count"] for reason in report["reasons"]) == summary["bounced"]


def test_the_dry_run_shows_the_message_that_preview_shows(folder, spawn) -> None:
    out, _ = finished(spawn("preview", folder.file), 0)
    wire, _ = finished(spawn("send", folder.file, "--dry-run"), 0)
    assert out.partition("\n\n")[2] + ".\n" == wire.partition("DATA\n")[2].partition("\n\n")[2]


@pytest.mark.parametrize("arguments", [["send"], ["send", "a", "b"], ["send", "x.yaml", "--limit", "0"], ["nonsense"]])
def test_usage_errors_exit_with_2(spawn, arguments) -> None:
    out, err = finished(spawn(*arguments), 2)
    assert out == "" and "Traceback" not in err


def test_where_nobody_lets_us_in_the_progress_and_the_report_say_why(folder, spawn) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        relay = f"relay: {{host: 127.0.0.1, port: {closed.getsockname()[1]}, tls: none}}"
        folder.edit("route: sandbox", f"route: relay\n  {relay}")
        folder.edit("expire: 20s", "expire: 4s")
        out, err = finished(spawn("send", folder.file, "--json"), 0)
    assert summary_of(out)["expired"] == 30
    assert "Connection refused" in err
    out, _ = finished(spawn("report", folder.file, "--undelivered", "-"), 0)
    assert all("Connection refused" in row for row in out.splitlines()[1:])


def test_a_state_directory_that_is_removed_ends_the_send_with_a_sentence(folder, spawn) -> None:
    slow_down(folder)
    process = spawn("send", folder.file, "--json")
    wait_for(lambda: len(delivered_events(folder.state)) >= 1)
    folder.state.rename(folder.path / "elsewhere")
    out, err = finished(process, 2)
    assert out == ""
    assert "was removed while in use" in err and "internal error" not in err
    assert len(delivered_events(folder.path / "elsewhere")) < 30
