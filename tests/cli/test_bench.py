"""`bulkmail bench`: figures of this machine and of a campaign, in a bounded time, and mail for nobody."""

import json
import subprocess
import sys
import time
from pathlib import Path

from bulkmail.dkim.multibuffer import MultibufferError, load
from tests.cli.conftest import Call, Folder

KINDS = [("unsigned", False), ("rsa-2048", False), ("rsa-2048", True), ("ed25519", False), ("ed25519", True)]


def turbo_is_usable() -> bool:
    try:
        load()
    except MultibufferError:
        return False
    return True


def test_without_a_campaign_it_says_what_the_machine_can_do_and_leaves_nothing(call: Call, tmp_path: Path) -> None:
    began = time.monotonic()
    result = call("bench", "--seconds", 1, "--json", "--state", tmp_path / "state")
    assert result.exit_code == 0
    assert time.monotonic() - began < 30
    found = json.loads(result.stdout)
    assert found["intake_rows_per_second"] > 1000
    assert [(one["key"], one["turbo"]) for one in found["composing"]] == KINDS
    for one in found["composing"]:
        if one["turbo"] and not turbo_is_usable():
            assert one["unavailable"] and one["per_second"] == 0
        else:
            assert one["per_second"] > 10 and one["composing_us"] > 0
    by_kind = {(one["key"], one["turbo"]): one for one in found["composing"]}
    assert by_kind["rsa-2048", False]["signing_us"] > by_kind["ed25519", False]["signing_us"] > 1
    assert by_kind["unsigned", False]["signing_us"] < 1
    sending = found["sending"]
    assert sending["messages"] > 0 and sending["per_second"] > 10 and sending["receiver_us"] > 1
    assert sending["stages"]["loop"] > 1 and sending["stages"]["composing"] > 1
    assert found["disk"]["sync_ms"] > 0 and found["disk"]["records_per_second"] > 100
    assert found["lanes"] is None
    assert found["verdict"]["binds"] in found["verdict"]["sentence"]
    assert list(tmp_path.iterdir()) == []


def test_with_a_campaign_it_names_the_site_that_takes_longest_and_sends_it_nothing(folder: Folder, call: Call) -> None:
    command = [sys.executable, "-m", "bulkmail.bench.receiver"]
    receiver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert receiver.stdin is not None and receiver.stdout is not None
    ports = json.loads(receiver.stdout.readline())
    folder.edit("  route: sandbox\n", f"  route: mx\n  port: {ports['smtp_port']}\n  allow_private_mx: true\n")
    with folder.file.open("a") as file:
        file.write(f"dns: {{servers: ['{ports['dns']}']}}\nlimits: {{default: {{messages: 1/s}}}}\n")
    before = folder.files()
    result = call("bench", folder.file, "--seconds", 1)
    receiver.stdin.close()
    counted = json.loads(receiver.stdout.readline())
    receiver.stdout.close()
    receiver.wait()
    assert result.exit_code == 0
    assert (counted["connections"], counted["messages"]) == (0, 0)
    lines = result.stdout.splitlines()
    assert lines[-1] == "the limits bind: mx.sink.example takes 30 s"
    assert "a second node would not pay" in lines[-2]
    site = next(line.split() for line in lines if line.strip().startswith("mx.sink.example"))
    assert site[:4] == ["mx.sink.example", "30", "1", "30"]
    assert any("answers/s (1 domain," in line for line in lines)
    assert folder.files() == before


def test_what_is_wrong_with_a_campaign_is_said_as_by_send(folder: Folder, call: Call) -> None:
    folder.write_rows([])
    result = call("bench", folder.file, "--seconds", 1)
    assert result.exit_code == 2
    assert "no row that a message can be made for" in result.stderr
