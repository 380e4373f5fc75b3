"""`send --simulate`: what it says, to people and to programs, and that it leaves nothing behind."""

import json

from tests.cli.conftest import Call, Folder


def test_it_says_when_all_is_over_which_site_is_the_last_and_why(folder: Folder, call: Call) -> None:
    folder.write_rows([f"reader{number}@gmail.com,Reader" for number in range(40)])
    before = folder.files()
    result = call("send", "--simulate", folder.file)
    assert result.exit_code == 0
    assert "letter: over " in result.stdout
    assert "the tail is google: " in result.stdout
    assert "90% are final after " in result.stdout
    assert folder.files() == before


def test_a_program_gets_one_object(folder: Folder, call: Call) -> None:
    folder.edit("  retry: [1s]", "  retry: [2s]")
    result = call("send", "--simulate", "--json", "--limit", "10", folder.file)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["summary"]["recipients"] == 10
    assert found["summary"]["state"] == "finished"
    assert set(found["tail"]) == {"site", "delivered_by", "final_by", "delivered", "bounced", "limit", "limits"}
    assert found["delivered_by"] <= found["seconds"]
    assert found["begin"] <= found["end"]


def test_a_mistake_in_the_campaign_is_said_as_ever(folder: Folder, call: Call) -> None:
    folder.edit("first_name }}", "frist_name }}")
    result = call("send", "--simulate", folder.file)
    assert result.exit_code == 2
    assert "frist_name" in result.stderr


def test_one_cannot_rehearse_in_two_ways_at_once(folder: Folder, call: Call) -> None:
    result = call("send", "--simulate", "--dry-run", folder.file)
    assert result.exit_code == 2
    assert "--dry-run" in result.stderr
