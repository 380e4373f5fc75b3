"""A campaign to the sandbox's providers with all their manners, signed, and audited from its files."""

import base64
import json
import os
import random
import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from tests.auditor.audit import audit, objects, unsigned
from tests.engine.scene import write_campaign

ROOT = Path(__file__).parents[2]
DOMAINS = ["gmail.com"] * 4 + ["outlook.com"] * 3 + ["gmx.de", "icloud.com", "mail.ru", "orange.fr"]
ODD = ["nxdomain-1.test", "nullmx-1.test", "implicit-1.test", "cname-1.test", "deadfirst-1.test", "greylisting-1.test"]


def bulkmail(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bulkmail", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)


def test_a_send_to_many_providers_agrees_with_what_the_providers_say(tmp_path: Path) -> None:
    rng = random.Random(7)
    rows = [f"person{n}@{rng.choice(DOMAINS)}" for n in range(360)]
    rows += [f"person{n}@{domain}" for domain in ODD for n in range(4)]
    rows += [f"person{n}@small-{n}.test" for n in range(60)]
    rows += ["nobody", "two words@gmail.com", rows[0], rows[1].upper(), "zoë@gmail.com"]
    campaign = write_campaign(
        tmp_path,
        rows,
        dkim=[{"domain": "acme.example", "selector": "s1", "key": "none.pem"}],
        delivery={"retry": ["1s", "2s"], "expire": "10s"},
        sandbox={"seed": 3},
        limits={"default": {"connections": 5, "messages": "500/s"}},
    )
    state = tmp_path / "state"
    done = bulkmail("send", str(campaign), "--state", str(state), "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    export = bulkmail("suppress", "export", "--state", str(state))
    assert export.returncode == 0, export.stderr
    (tmp_path / "suppressed.csv").write_text(export.stdout)
    found = audit(
        recipients=tmp_path / "recipients.csv",
        log=state / "sandbox" / "log.ndjson",
        events=state / "events" / "trial-1.ndjson",
        summary=summary,
        suppressions=tmp_path / "suppressed.csv",
    )
    assert found.problems == []
    assert found.duplicates == {}
    assert (summary["rejected"], summary["duplicates"], summary["deferred"]) == (2, 2, 0)
    assert summary["delivered"] == found.accepted > 380
    # All that the test wants to happen did happen.
    reasons = {line["reason"] for line in objects(state / "events" / "trial-1.ndjson")}
    assert {"user_unknown", "domain_unknown", "null_mx", "greylisted"} <= reasons
    key = serialization.load_pem_private_key(next((state / "sandbox" / "keys").iterdir()).read_bytes(), None)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    record = f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"
    maildir = state / "sandbox" / "maildir"
    assert unsigned(maildir, {"s1._domainkey.acme.example": record}, every=10) == []
    assert unsigned(maildir, {}, every=100) != []
