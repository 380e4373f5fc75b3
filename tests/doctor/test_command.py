"""`bulkmail doctor` as a user calls it."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bulkmail.cli.main import command_line
from tests.engine.scene import write_campaign


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BULKMAIL_STATE", raising=False)
    monkeypatch.chdir(tmp_path)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(command_line(), ["doctor", *map(str, arguments)], catch_exceptions=False)


def dead_campaign(folder: Path) -> Path:
    return write_campaign(
        folder, ["a@b.example"], delivery={"route": "mx"}, dns={"servers": ["127.0.0.1:1"], "timeout": "1s"}
    )


def test_a_dead_network_is_reported_within_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    result = call(dead_campaign(tmp_path), "--json")
    assert time.monotonic() - began < 5
    answer = json.loads(result.stdout)
    assert result.exit_code == 2 and answer["ok"] is False
    ids = {finding["id"] for finding in answer["findings"]}
    assert {"dns.silent", "dns.none"} <= ids
    assert set(answer["findings"][0]) == {"level", "id", "what", "evidence", "remedy"}


def test_people_read_what_was_seen_and_what_to_do(tmp_path: Path) -> None:
    result = call(dead_campaign(tmp_path), "--problems")
    assert "problem  no DNS server answers, so no mail can be sent [dns.none]" in result.stdout
    assert "seen: 127.0.0.1:1" in result.stdout and "do: check the network" in result.stdout
    assert "[machine.disk]" not in result.stdout


def test_a_recipient_and_the_machine_alone_are_looked_at_too(tmp_path: Path) -> None:
    campaign = dead_campaign(tmp_path)
    result = call("a@b.example", "--campaign", campaign)
    assert result.exit_code == 2 and "a@b.example: " in result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.yaml"], "nowhere.yaml"),
        (["a@@b"], "a@@b"),
        (["--address", "x.example"], "--address x.example is no IP address"),
        (["x.yaml", "--campaign", "y.yaml"], "x.yaml is no address"),
    ],
)
def test_wrong_arguments_are_told(arguments: list[str], said: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2 and said in result.stderr and "Traceback" not in result.stderr
