"""The five campaigns to copy: sound, sent in the sandbox and read from its mailboxes, and looked at as pictures."""

import json
import shutil
import struct
import subprocess
import sys
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from bulkmail.cli.pictures import find_chromium, take_pictures
from bulkmail.compilation import compile_for
from bulkmail.config.load import load_campaign
from bulkmail.preflight.gallery import shown
from bulkmail.preflight.inspection import Means, inspect
from bulkmail.preflight.rows import find_recipient
from bulkmail.preflight.rules import Level

ROOT = Path(__file__).parents[2]
NAMES = ("newsletter", "announcement", "invoice", "invitation", "multilingual")
ROWS = {"newsletter": 6, "announcement": 8, "invoice": 3, "invitation": 4, "multilingual": 6}


@pytest.fixture
def campaigns(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "campaigns", tmp_path / "c", ignore=shutil.ignore_patterns(".bulkmail", "keys"))
    return tmp_path / "c"


def send(campaigns: Path, name: str) -> dict[str, EmailMessage]:
    """The messages by recipient, as they lie in the sandbox."""
    done = subprocess.run(
        [sys.executable, "-m", "bulkmail", "send", str(campaigns / f"{name}.yaml"), "--json"],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["recipients"] == ROWS[name] and not summary["rejected"] and not summary["duplicates"]
    files = (campaigns / ".bulkmail" / "sandbox" / "maildir").rglob("new/*")
    received = [message_from_bytes(path.read_bytes(), policy=policy.default) for path in files]
    assert len(received) == summary["delivered"]
    return {str(message["To"]): message for message in received}


@pytest.mark.parametrize("name", NAMES)
def test_check_finds_nothing_to_be_mended(name) -> None:
    campaign = load_campaign(ROOT / "campaigns" / f"{name}.yaml")
    findings = inspect(campaign, ROOT / "no-state", Means(offline=True)).findings
    assert [finding for finding in findings if finding.level is not Level.NOTE] == []


@pytest.mark.parametrize("name", NAMES)
def test_it_is_sent_in_the_sandbox_and_what_arrives_is_its_own(name, campaigns) -> None:
    received = send(campaigns, name)
    assert received
    for address, message in received.items():
        html = message.get_body(("html",))
        assert html is not None and message.get_body(("plain",)) is not None
        page, subject = html.get_content(), str(message["Subject"])
        if name == "announcement":
            assert ("What if it were quiet?" in page) == ("what if it were quiet?" in subject)
        if name == "invoice":
            (bill,) = [part for part in message.iter_attachments() if part.get_content_type() == "application/pdf"]
            number = subject.split()[1]
            assert bill.get_filename() == f"{number}.pdf" and f"Invoice {number}".encode() in bill.get_content()
        if name == "invitation":
            (event,) = [part for part in message.walk() if part.get_content_type() == "text/calendar"]
            assert address in event.get_content().replace("\r\n ", "") and event.get_param("method") == "REQUEST"
        if name == "multilingual":
            language = {"ute": "de", "remi": "fr", "leila": "ar", "urs": "de"}.get(address.partition("@")[0], "en")
            assert f'<html lang="{language}"' in page
            assert ("Herbst" in subject) == (language == "de")


def test_the_pictures_of_all_five_are_as_wide_as_screen_and_phone_and_fit_them(tmp_path) -> None:
    if find_chromium() is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    pages = {}
    for name in NAMES:
        campaign = load_campaign(ROOT / "campaigns" / f"{name}.yaml")
        program = compile_for(campaign)
        row = find_recipient(campaign, None, None)
        message = program.render(
            row.address, program.encode_row(row.fields), "a" * 32, "Thu, 01 Jan 1970 00:00:00 +0000"
        )
        pages[name] = shown("", row.address, message.data).html or ""
    for path in take_pictures(pages, tmp_path):
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert width == (390 if path.stem.endswith("phone") else 1200)
        # Nothing is cut off, nothing is empty.
        assert 300 < height < 2_500
        assert path.stat().st_size > 8_000
