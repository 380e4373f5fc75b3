"""A folder with a campaign's files, and a way to load a text as its campaign."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bulkmail.config.load import load_campaign
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign

FULL = """\
campaign: spring-2027
kind: marketing
from: "Acme Garden <news@garden.example>"
reply_to: care@garden.example
return_path: bounces@mail.garden.example
list_id: "Garden news <news.garden.example>"
subject: "{{ first_name }}, your spring seeds are here"
headers: {X-Campaign: spring}
content: {html: spring/body.html, text: spring/body.txt, inline: [spring/logo.png], attachments: []}
recipients:
  - {file: spring/recipients.csv, address: email, list: newsletter}
unsubscribe: {url: "https://garden.example/u/{{ token }}", mailto: unsubscribe@garden.example}
dkim:
  - {domain: garden.example, selector: s2027, key: keys/garden.pem}
delivery:
  route: sandbox
  port: 25
  allow_private_mx: false
  relay: {host: smtp.example.net, port: 587, tls: starttls, username: acme, password_env: SMTP_PASSWORD}
  tls: opportunistic
  sources: [{address: 192.0.2.10, ehlo: mail1.garden.example}]
  in_doubt: resend
  retry: [5m, 30m, 2h, 4h]
  expire: 48h
  window: 1
dns: {servers: ["127.0.0.1:5353"]}
limits:
  default: {connections: 10, messages_per_connection: 100, messages: 100/s, connects: 20/s}
  sites: {"*.Google.com": {connections: 5}}
  domains: {Yahoo.com: {messages: 20/s}, münchen.example: {}}
max_message_size: 2MiB
sandbox: {seed: 1}
"""

Load = Callable[[str | bytes], Campaign]
Errors = Callable[[str | bytes], list[str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: `spring/` with body.html, body.txt, logo.png and recipients.csv."""
    (tmp_path / "spring").mkdir()
    for name in ("body.html", "body.txt", "logo.png", "recipients.csv"):
        (tmp_path / "spring" / name).write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Load:
    def load(text: str | bytes) -> Campaign:
        Path("c.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_campaign("c.yaml")

    return load


@pytest.fixture
def errors(load: Load) -> Errors:
    """All messages about a text, in order; none if it is a campaign."""

    def errors(text: str | bytes) -> list[str]:
        try:
            load(text)
        except CampaignError as error:
            assert all(not other.also for other in error.also)
            return [str(error), *map(str, error.also)]
        return []

    return errors


@pytest.fixture
def full() -> str:
    """A campaign file with every section."""
    return FULL
