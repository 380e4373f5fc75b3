"""A small internet of scripted exchangers and DNS, a campaign on disk, and a send through the library."""

import asyncio
import json
import os
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from bulkmail import Engine
from bulkmail.model.delivery import Event, Summary
from tests.dns.server import DnsServer
from tests.engine.exchanger import Behaviour, Exchanger, yes

T = TypeVar("T")

OUTCOMES = ("rejected", "duplicates", "suppressed", "delivered", "deferred", "bounced", "expired", "in_doubt")
# With BULKMAIL_TEST_NODES=2 the same scenes are played by two sending processes (`make test-nodes`).
NODES = int(os.environ.get("BULKMAIL_TEST_NODES", "1"))
FAST = {
    "connections": 20,
    "messages_per_connection": 1000,
    "messages": "100000/s",
    "connects": "1000/s",
}


def run(main: Coroutine[Any, Any, T], *, seconds: float = 30.0) -> T:
    """On uvloop, as the product does; a hang becomes a failure."""

    async def bounded() -> T:
        async with asyncio.timeout(seconds):
            return await main

    return uvloop.run(bounded())


class Internet:
    """Exchangers on 127.0.7.x at one port, and the DNS that leads to them."""

    def __init__(self) -> None:
        self.dns = DnsServer()
        self.port = 0
        self._exchangers: list[Exchanger] = []

    async def __aenter__(self) -> Self:
        await self.dns.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for exchanger in self._exchangers:
            await exchanger.close()
        await self.dns.__aexit__(kind, error, trace)

    async def exchanger(self, host: str, behaviour: Behaviour = yes, *domains: str, **options: Any) -> Exchanger:
        """An exchanger named `host`, the only MX of `domains`."""
        exchanger = Exchanger(behaviour, **options)
        self._exchangers.append(exchanger)
        self.port = await exchanger.start(f"127.0.7.{len(self._exchangers)}", self.port)
        self.dns.has(f"{host} 300 A {exchanger.address}")
        for domain in domains:
            self.dns.has(f"{domain} 300 MX 10 {host}.")
        return exchanger

    def campaign(self, folder: Path, recipients: Sequence[str] | str, **changes: Any) -> Path:
        """A campaign by way of this internet; `changes` are keys of the file, `delivery` and `limits` merged in."""
        delivery = {
            "route": "mx",
            "port": self.port or 25,
            "allow_private_mx": True,
            "retry": ["1s"],
            "expire": "20s",
            **changes.pop("delivery", {}),
        }
        dns = changes.pop("dns", {"servers": [self.dns.text], "timeout": "2s"})
        return write_campaign(folder, recipients, delivery=delivery, dns=dns, **changes)


def write_campaign(folder: Path, recipients: Sequence[str] | str, **changes: Any) -> Path:
    """`recipients`: addresses, or the whole text of the CSV file."""
    folder.mkdir(parents=True, exist_ok=True)
    table = recipients if isinstance(recipients, str) else "email\n" + "".join(f"{one}\n" for one in recipients)
    (folder / "recipients.csv").write_text(table, encoding="utf-8")
    text = changes.pop("text", "Hello {{ address }}\n")
    (folder / "body.txt").write_text(text, encoding="utf-8")
    limits = changes.pop("limits", {})
    document = {
        "campaign": "trial",
        "kind": "transactional",
        "from": "Acme <news@acme.example>",
        "subject": "News",
        "content": {"text": "body.txt"},
        "recipients": [{"file": "recipients.csv"}],
        "limits": {**limits, "default": {**FAST, **limits.get("default", {})}},
        **changes,
    }
    path = folder / "trial.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


async def send(campaign: Path | Any, state: Path, **options: Any) -> tuple[Summary, list[Event]]:
    """Send to the end through the library."""
    async with Engine(state, signers=1, nodes=NODES) as engine:
        events = [event async for event in engine.send(campaign, **options)]
    assert engine.summary is not None
    assert_sum(engine.summary)
    return engine.summary, events


def assert_sum(summary: Summary) -> None:
    assert sum(getattr(summary, name) for name in OUTCOMES) == summary.recipients, summary


def of(events: Sequence[Event], recipient: str) -> list[Event]:
    """What the events say of one recipient."""
    return [event for event in events if event.recipient == recipient]


def addresses(count: int, domain: str = "shop.example", first: int = 1) -> list[str]:
    return [f"r{number}@{domain}" for number in range(first, first + count)]
