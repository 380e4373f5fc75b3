"""`check` and `preview` on small campaigns."""

import asyncio
import importlib.util
import json
import os
import threading
from email import message_from_bytes, policy

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from bulkmail.config.load import load_campaign
from bulkmail.dkim.signing import load_keys
from bulkmail.preflight.signatures import dkim_findings
from bulkmail.preflight.specimen import Specimen
from bulkmail.sandbox.sandbox import Sandbox


def add_key(folder, bits: int = 2048, domain: str = "garden.example") -> None:
    pem = rsa.generate_private_key(public_exponent=65537, key_size=bits).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(folder.path / "key.pem", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(descriptor, pem)
    os.close(descriptor)
    folder.edit("delivery:\n", f"dkim: [{{domain: {domain}, selector: s1, key: key.pem}}]\ndelivery:\n")


def rules(result) -> dict[str, str]:
    return {finding["rule"]: finding["level"] for finding in json.loads(result.stdout)["findings"]}


def test_a_sound_campaign_has_no_errors(folder, call) -> None:
    add_key(folder)
    result = call("check", folder.file, "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["ok"] is True
    assert answer["recipients"] == {"rows": 30, "accepted": 30, "rejected": 0, "duplicates": 0, "suppressed": 0}
    assert "error" not in rules(result).values()
    assert rules(result)["message.size"] == "note"
    assert folder.state not in folder.files()


def test_rows_that_will_not_be_mailed_are_listed_with_their_lines(folder, call) -> None:
    folder.write_rows([f"no-at-{number},x" for number in range(25)] + ["a@b.example,A", "A@B.example,A"])
    result = call("check", folder.file)
    assert result.exit_code == 0
    assert "recipients.csv:2: no-at-0: no @ [recipients.rejected]" in result.stdout
    assert "recipients.csv:21:" in result.stdout and "recipients.csv:22:" not in result.stdout
    assert "and 5 more rejected rows" in result.stdout
    assert "1 row repeats an address" in result.stdout and "recipients.csv:28" in result.stdout
    assert "27 rows: 1 would get the message, 25 rejected, 1 duplicates" in result.stdout


def test_a_list_without_anybody_is_an_error(folder, call) -> None:
    folder.write_rows(["nobody,X"])
    result = call("check", folder.file, "--json")
    assert result.exit_code == 2
    assert rules(result)["recipients.none"] == "error"


def test_all_errors_of_the_file_are_findings(folder, call) -> None:
    folder.edit("kind: transactional", "kind: spam")
    folder.edit("retry: [1s]", "retry: [soon]")
    result = call("check", folder.file, "--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)["findings"]
    assert [finding["rule"] for finding in found] == ["campaign.invalid"] * 2
    assert found[0]["where"].endswith("letter.yaml:2")


def test_marketing_without_unsubscribe_or_text_or_key_is_warned_about(folder, call) -> None:
    folder.edit("kind: transactional", "kind: marketing")
    folder.edit(", text: body.txt", "")
    found = rules(call("check", folder.file, "--json"))
    assert {"unsubscribe.missing", "dkim.missing"} <= found.keys()
    assert "error" not in found.values()


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://garden.example/{{ token }}", "unsubscribe.one-click"),
        ("https://garden.example/u", "unsubscribe.anonymous"),
    ],
)
def test_an_unsubscribe_url_that_does_not_serve_one_click_is_warned_about(folder, call, url, rule) -> None:
    folder.edit("kind: transactional", f'kind: marketing\nunsubscribe: {{url: "{url}"}}')
    assert rules(call("check", folder.file, "--json"))[rule] == "warning"


def test_a_key_of_another_domain_or_a_short_one_is_warned_about(folder, call) -> None:
    add_key(folder, bits=1024, domain="elsewhere.example")
    found = rules(call("check", folder.file, "--json"))
    assert found["dkim.alignment"] == found["dkim.weak"] == "warning"


def test_the_independent_verifier_is_asked_and_its_refusal_is_an_error(folder) -> None:
    add_key(folder)
    campaign = load_campaign(folder.file)
    signer = load_keys(campaign.dkim)
    header, body = b"From: news@garden.example\r\nSubject: x\r\n", b"Hello\r\n"
    signed = signer.sign(header, body, now=1_700_000_000) + header + b"\r\n" + body
    good = Specimen(sender="s@garden.example", recipient="r@x.example", message=signed)
    bad = Specimen(sender="s@garden.example", recipient="r@x.example", message=signed.replace(b"Hello", b"Hullo"))
    assert list(dkim_findings(campaign, signer, good, None)) == []
    assert [finding.rule for finding in dkim_findings(campaign, signer, bad, None)] == ["dkim.signature"]


def test_an_ed25519_signature_is_verified_or_said_to_be_unverified_but_never_called_a_defect(folder, call) -> None:
    key = folder.path / "key.pem"
    key.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    key.chmod(0o600)
    folder.edit("delivery:\n", "dkim: [{domain: garden.example, selector: e1, key: key.pem}]\ndelivery:\n")
    result = call("check", folder.file, "--json")
    assert result.exit_code == 0
    found = rules(result)
    assert "dkim.signature" not in found
    assert found.get("dkim.unverified") == (None if importlib.util.find_spec("nacl") else "note")


def test_the_public_key_is_looked_for_in_the_dns_unless_offline(folder, call, tmp_path_factory) -> None:
    add_key(folder)
    folder.edit("route: sandbox", "route: mx")
    records = load_keys(load_campaign(folder.file).dkim).records()
    published, done = threading.Event(), threading.Event()
    server: list[str] = []

    async def serve() -> None:
        async with Sandbox(tmp_path_factory.mktemp("sandbox"), keep="none", tls=False) as sandbox:
            server.append(sandbox.dns_server)
            published.set()
            while not done.is_set():
                await asyncio.sleep(0.01)
                if len(server) > 1 and server[1] == "publish":
                    await sandbox.publish(*records[0])
                    server[1] = "published"

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert published.wait(20)
        folder.edit("delivery:\n", f'dns: {{servers: ["{server[0]}"]}}\ndelivery:\n')
        result = call("check", folder.file, "--json")
        assert result.exit_code == 2
        assert rules(result)["dkim.unpublished"] == "error"
        remedies = [finding["remedy"] for finding in json.loads(result.stdout)["findings"]]
        assert any(records[0][1] in remedy for remedy in remedies)
        assert call("check", folder.file, "--json", "--offline").exit_code == 0
        server.append("publish")
        while server[1] != "published":
            done.wait(0.01)
        result = call("check", folder.file, "--json")
        assert result.exit_code == 0, result.stdout
    finally:
        done.set()
        thread.join()


def test_the_schema_describes_campaign_files(call) -> None:
    schema = json.loads(call("check", "--schema").stdout)
    assert {"campaign", "from", "delivery"} <= schema["properties"].keys()


def test_preview_prints_the_exact_signed_message(folder, call) -> None:
    add_key(folder)
    result = call("preview", folder.file, "--address", "READER3@own-house.example")
    message = result.stdout_bytes
    assert message.startswith(b"DKIM-Signature: ")
    signer = load_keys(load_campaign(folder.file).dkim)
    records = {f"{name}.".encode(): text.encode() for name, text in signer.records()}
    assert dkim.verify(message, dnsfunc=lambda name, timeout=5: records[name])
    assert message_from_bytes(message, policy=policy.default)["Subject"] == "Hello Reader 3"


def test_preview_counts_rows_from_one_and_shows_parts(folder, call) -> None:
    assert call("preview", folder.file, "--row", 5, "--part", "text").stdout.startswith("Hello Reader 4\n")
    headers = call("preview", folder.file, "--row", 1, "--part", "headers").stdout
    assert "Subject: Hello Reader 0\n" in headers
    assert "<p>Hello Reader 0</p>" in call("preview", folder.file, "--part", "html").stdout
    everything = call("preview", folder.file, "--part", "all").stdout
    assert "Subject: Hello Reader 0" in everything and "<p>Hello Reader 0</p>" in everything


def test_preview_writes_files_that_a_browser_can_open(folder, call) -> None:
    result = call("preview", folder.file, "--out", "shown")
    assert result.exit_code == 0
    shown = folder.path / "shown"
    html = (shown / "body.html").read_text(encoding="utf-8-sig")
    assert 'src="logo.png"' in html and "cid:" not in html
    assert (shown / "logo.png").read_bytes() == (folder.path / "logo.png").read_bytes()
    assert (shown / "message.eml").read_bytes().startswith(b"Date: ")
    assert (shown / "body.txt").read_text().startswith("Hello Reader 0")
    assert "shown/body.html" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--row", "31"], "the recipients have 30"),
        (["--address", "absent@own-house.example"], "in none of the 30 rows"),
        (["--address", "nonsense"], "no @"),
        (["--row", "1", "--address", "a@b.example"], "not both"),
    ],
)
def test_preview_of_nobody_says_so(folder, call, arguments, said) -> None:
    result = call("preview", folder.file, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_preview_of_a_row_that_cannot_be_mailed_gives_the_reason(folder, call) -> None:
    folder.write_rows(["a@b.example,", "bad,X"])
    assert "first_name is missing" in call("preview", folder.file, "--row", "1").stderr
    assert "recipients.csv:3" in call("preview", folder.file, "--row", "2").stderr


def test_control_characters_of_a_list_do_not_reach_the_terminal(folder, call) -> None:
    folder.write_rows(["a@b.example,Ann\x1b[31m\u202e"])
    shown = call("preview", folder.file, "--part", "text").stdout
    assert "\x1b" not in shown and "\u202e" not in shown
