"""`check` looks at the secrets of relays and the addresses of sources, and repeats no secret."""

import json


def findings_of(call, folder) -> list[tuple[str, str, str, str]]:
    found = json.loads(call("check", str(folder.file), "--offline", "--json").stdout)["findings"]
    return [(one["level"], one["rule"], one["where"].rpartition(":")[2], one["what"]) for one in found]


def test_a_secret_that_is_not_there_is_a_warning_with_its_line(call, folder, monkeypatch) -> None:
    monkeypatch.delenv("NO_SUCH_PASSWORD", raising=False)
    monkeypatch.setenv("SUCH_PASSWORD", "pl4nted\x07S3cret")
    relays = (
        "  relay:\n    - {host: a.example, username: u, password_env: NO_SUCH_PASSWORD}\n"
        "    - {host: b.example, username: u, password_env: SUCH_PASSWORD}\n"
    )
    folder.edit("  route: sandbox\n", f"  route: relay\n{relays}")
    found = [one for one in findings_of(call, folder) if one[1] == "relay.secret"]
    assert [(level, line) for level, _, line, _ in found] == [("warning", "11"), ("warning", "12")]
    assert "delivery.relay[0].password_env: the environment variable NO_SUCH_PASSWORD is not set" in found[0][3]
    assert "SASLprep" in found[1][3] and "S3cret" not in found[1][3]


def test_a_source_that_is_not_of_this_machine_is_a_warning(call, folder) -> None:
    sources = "  sources:\n    - {address: 127.0.0.1, ehlo: a.example}\n    - {address: 192.0.2.77, ehlo: b.example}\n"
    folder.edit("  route: sandbox\n", f"  route: mx\n{sources}")
    found = [one for one in findings_of(call, folder) if one[1] == "source.address"]
    assert len(found) == 1 and found[0][2] == "12" and "192.0.2.77 is no address of this machine" in found[0][3]
