"""A real Postfix takes mail for somebody who does not exist, and its bounce comes home to the listener."""

import shutil
import smtplib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkmail.store.suppressions import ALL, Suppressions
from tests.engine.test_feedback import ADDRESSES, ANNA, BERT, Sent
from tests.peers.servers import postfix, wait_for
from tests.serve.conftest import Listening


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="bulkmail-peer-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def test_postfix_bounces_to_the_listener_and_the_recipient_gets_no_more(
    listening: Listening, sent: Sent, folder: Path
) -> None:
    settings = (
        "virtual_mailbox_domains = house.example\n"
        "smtpd_reject_unlisted_recipient = no\n"
        f"relayhost = [127.0.0.1]:{listening.smtp_port}\n"
        "smtp_tls_security_level = may\n"
    )
    message = f"From: news@garden.example\r\nTo: {ADDRESSES[ANNA]}\r\nSubject: Spring\r\n\r\nHello\r\n".encode()
    with postfix(folder / "postfix", "127.0.0.1", main=settings) as peer:
        with smtplib.SMTP(peer.address, peer.port, timeout=20) as client:
            for index in (ANNA, BERT):
                client.sendmail(f"bounces+{sent.token(index)}@mail.garden.example", [ADDRESSES[index]], message)
        wait_for(lambda: sent.suppressed(ANNA) and sent.suppressed(BERT))
        assert "status=bounced" in peer.text() and "2.0.0 Taken" in peer.text()
    with Suppressions.open(sent.path) as suppressions:
        entry = suppressions.entry(ADDRESSES[ANNA], ALL)
    assert entry is not None and entry.reason == "user_unknown"
    assert {event["code"] for event in sent.events()} == {550}
