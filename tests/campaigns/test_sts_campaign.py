"""A campaign to domains whose MTA-STS policy is enforced, through the sandbox, every message verified by dkimpy.

300 recipients in the ordinary suite; `make test-sts` sends 5,000.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bulkmail.dkim.signing import load_keys
from bulkmail.model.campaign import DkimKey
from tests.auditor.audit import unsigned

ROOT = Path(__file__).parents[2]
RECIPIENTS = int(os.environ.get("BULKMAIL_STS_RECIPIENTS", "300"))
DOMAINS = ("gmail.com", "outlook.com", "sts-1.example", "sts-2.example", "comcast.net", "dane-1.example")
YAML = """\
campaign: guarded
kind: transactional
from: "Acme <news@garden.example>"
subject: "Hello"
content: {text: body.txt}
recipients: [{file: recipients.csv}]
dkim: [{domain: garden.example, selector: s1, key: keys/garden.pem}]
delivery: {retry: [1s], expire: 30s}
"""


def bulkmail(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "bulkmail", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everybody_gets_it_under_proven_tls_and_every_signature_verifies(tmp_path: Path) -> None:
    (tmp_path / "body.txt").write_text("Hello {{ address }}\n")
    rows = [f"reader{number}@{DOMAINS[number % len(DOMAINS)]}" for number in range(RECIPIENTS)]
    (tmp_path / "recipients.csv").write_text("email\n" + "\n".join(rows) + "\n")
    (tmp_path / "guarded.yaml").write_text(YAML)
    summary = json.loads(bulkmail(tmp_path, "send", "guarded.yaml", "--json"))
    assert summary["state"] == "finished"
    assert summary["recipients"] == RECIPIENTS
    # The sandbox has a few mailboxes that are full, gone or picky.
    assert summary["delivered"] > 0.9 * RECIPIENTS
    assert summary["delivered"] + summary["bounced"] + summary["expired"] == RECIPIENTS

    state = tmp_path / ".bulkmail"
    proofs: Counter[tuple[str, str]] = Counter()
    for line in (state / "events" / f"{summary['run']}.ndjson").read_text().splitlines():
        event = json.loads(line)
        if event["disposition"] == "delivered":
            proofs[event["recipient"].partition("@")[2], (event["tls"] or "clear").split()[-1]] += 1
    assert {domain for domain, _ in proofs} == set(DOMAINS)
    # DANE before MTA-STS: comcast.net has both.
    assert all(proof == ("dane" if domain in ("comcast.net", "dane-1.example") else "sts") for domain, proof in proofs)

    maildir = state / "sandbox" / "maildir"
    assert len(list((maildir / "new").iterdir())) == summary["delivered"]
    (pem,) = (state / "sandbox" / "keys").iterdir()
    signer = load_keys([DkimKey(domain="garden.example", selector="s1", key=str(pem))])
    assert unsigned(maildir, dict(signer.records())) == []

    reports = [
        json.loads(line) for line in bulkmail(tmp_path, "report", "--tls", "--json", "guarded.yaml").splitlines()
    ]
    assert {one["policies"][0]["policy"]["policy-domain"] for one in reports} == set(DOMAINS)
    assert all(one["policies"][0]["summary"]["total-failure-session-count"] == 0 for one in reports)
