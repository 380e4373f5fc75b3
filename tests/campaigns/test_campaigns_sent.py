"""The campaigns that come with bulkmail, sent through the command line and audited from the files they leave."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bulkmail.dkim.signing import load_keys
from bulkmail.model.campaign import DkimKey
from tests.auditor.audit import EIGHT, audit, unsigned

ROOT = Path(__file__).parents[2]


@pytest.fixture
def campaigns(tmp_path: Path) -> Path:
    """A copy, so that state and keys are made there."""
    shutil.copytree(ROOT / "campaigns", tmp_path / "c", ignore=shutil.ignore_patterns(".bulkmail", "keys"))
    return tmp_path / "c"


def bulkmail(*arguments: str, cwd: Path) -> str:
    command = [sys.executable, "-m", "bulkmail", *arguments]
    done = subprocess.run(
        command, cwd=cwd, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
        timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def send(campaign: Path) -> dict[str, Any]:
    lines = bulkmail("send", str(campaign), "--json", cwd=campaign.parent).splitlines()
    assert len(lines) == 1
    summary: dict[str, Any] = json.loads(lines[0])
    assert summary["state"] == "finished"
    assert sum(summary[name] for name in EIGHT) == summary["recipients"]
    return summary


def records(state: Path) -> dict[str, str]:
    (pem,) = (state / "sandbox" / "keys").iterdir()
    signer = load_keys([DkimKey(domain="garden.example", selector=pem.name.split(".")[0], key=str(pem))])
    return dict(signer.records())


def test_the_spring_letter_reaches_who_can_be_reached_and_the_receivers_agree(campaigns: Path) -> None:
    """5,000 recipients: the sum, the sandbox's own log recipient by recipient, every signature, the suppressions."""
    summary = send(campaigns / "spring.yaml")
    assert summary["recipients"] == 5000
    assert (summary["rejected"], summary["duplicates"], summary["in_doubt"]) == (12, 9, 0)
    assert summary["delivered"] > 4600
    assert summary["bounced"] > 100
    state = campaigns / ".bulkmail"
    exported = campaigns / "suppressed.csv"
    exported.write_text(bulkmail("suppress", "export", "--state", str(state), cwd=campaigns))
    found = audit(
        recipients=campaigns / "spring" / "recipients.csv",
        log=state / "sandbox" / "log.ndjson",
        events=state / "events" / f"{summary['run']}.ndjson",
        summary=summary,
        suppressions=exported,
    )
    assert found.problems == []
    assert found.lost == []
    assert found.duplicates == {}
    assert found.accepted == summary["delivered"]
    assert unsigned(state / "sandbox" / "maildir", records(state)) == []


def test_the_reference_campaign_shows_every_key_and_runs(campaigns: Path) -> None:
    summary = send(campaigns / "reference.yaml")
    assert summary["recipients"] == 17
    assert summary["delivered"] + summary["bounced"] + summary["duplicates"] + summary["expired"] == 17
    assert unsigned(campaigns / ".bulkmail" / "sandbox" / "maildir", records(campaigns / ".bulkmail")) == []
