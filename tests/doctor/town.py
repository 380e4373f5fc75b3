"""A sender's set-up on loopback in which nothing is wrong: DNS, exchanger, relay, key, campaign; tests spoil it."""

import os
import ssl
import time
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dns.flags
import msgspec
from cryptography.hazmat.primitives import serialization

from bulkmail.cli import doctor as verb
from bulkmail.config.load import load_campaign
from bulkmail.dkim.signing import load_keys
from bulkmail.doctor.finding import Finding, Level
from bulkmail.net.tls import client_context
from bulkmail.sandbox.certificate import make_certificate, server_context
from tests.dkim.material import rsa_key
from tests.dns.server import nxdomain, records
from tests.engine.exchanger import Behaviour, yes
from tests.engine.scene import Internet

SOURCE, EHLO, MX, RELAY = "127.0.6.1", "mail.acme.example", "mx.acme.example", "relay.example"
PTR = "1.6.0.127.in-addr.arpa"


@cache
def pair() -> tuple[bytes, bytes]:
    return make_certificate([MX, RELAY, "mta-sts.acme.example"], now_seconds=time.time())


class Town:
    """`delivery`, `changes`: keys of the campaign to set; `dns` has the records; call `start` after spoiling it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.internet = Internet()
        self.delivery: dict[str, Any] = {"sources": [{"address": SOURCE, "ehlo": EHLO}]}
        self.changes: dict[str, Any] = {}
        self.behaviour: Behaviour = yes
        self.relay_behaviour: Behaviour = yes
        self.relay_extensions: tuple[str, ...] = ("AUTH PLAIN LOGIN",)
        self.tls: ssl.SSLContext | None = server_context(*pair())
        self.options: dict[str, Any] = {}
        self.recipients = ["someone@acme.example"]
        self._stack = AsyncExitStack()

    @property
    def dns(self):  # type: ignore[no-untyped-def]
        return self.internet.dns

    def lacks(self, rdtype: str, name: str) -> None:
        self.dns.on(rdtype, name, nxdomain())

    def relayed(self, **keys: Any) -> None:
        """Through a relay with a password."""
        (self.folder / "password").touch(mode=0o600)
        (self.folder / "password").write_text("opensesame\n")
        relay = {"host": RELAY, "tls": "starttls", "username": "acme", "password_file": "password", **keys}
        self.delivery |= {"route": "relay", "relay": relay}

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.internet)
        roots = self.folder / "roots.pem"
        roots.write_bytes(pair()[0])
        os.environ["SSL_CERT_FILE"] = str(roots)
        client_context.cache_clear()
        self._write_key()
        self.dns.on("SOA", ".", records(". 60 SOA a. b. 1 2 3 4 5", flags=dns.flags.AD))
        for line in (
            f"{PTR} 60 PTR {EHLO}.",
            f"{EHLO} 60 A {SOURCE}",
            "acme.example 60 MX 10 mx.acme.example.",
            f'acme.example 60 TXT "v=spf1 ip4:{SOURCE} -all"',
            '_dmarc.acme.example 60 TXT "v=DMARC1; p=reject; rua=mailto:dmarc@acme.example"',
        ):
            self.dns.has(line)
        self.publish(load_keys([self.key]).records()[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.environ.pop("SSL_CERT_FILE", None)
        client_context.cache_clear()
        await self._stack.aclose()

    def publish(self, record: str) -> None:
        quoted = " ".join(f'"{record[at : at + 200]}"' for at in range(0, len(record), 200))
        self.dns.has(f"s1._domainkey.acme.example 60 TXT {quoted}")

    def _write_key(self, bits: int = 2048) -> None:
        pem = rsa_key(bits).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = self.folder / "key.pem"
        file.touch(mode=0o600)
        file.write_bytes(pem)
        self.changes["dkim"] = [{"domain": "acme.example", "selector": "s1", "key": "key.pem"}]

    @property
    def key(self):  # type: ignore[no-untyped-def]
        from bulkmail.model.campaign import DkimKey

        return DkimKey(domain="acme.example", selector="s1", key=str(self.folder / "key.pem"))

    async def start(self) -> None:
        """The exchanger and the relay."""
        await self.internet.exchanger(MX, lambda *said: self.behaviour(*said), tls_context=self.tls)
        relay = await self.internet.exchanger(
            RELAY, lambda *said: self.relay_behaviour(*said), tls_context=self.tls, extensions=self.relay_extensions
        )
        self.relay = relay
        if "relay" in self.delivery:
            self.delivery["relay"].setdefault("port", self.internet.port)

    async def examine(self, recipient: str | None = None) -> list[Finding]:
        """What `doctor` finds out in the network."""
        await self.start()
        file = self.internet.campaign(self.folder, self.recipients, delivery=self.delivery, **self.changes)
        campaign = load_campaign(str(file))
        options = msgspec.convert({}, verb.Options, strict=False)
        options = msgspec.structs.replace(options, **self.options)
        return await verb.examine(campaign, recipient, self.folder / "state", options)


def bad(findings: list[Finding]) -> dict[str, Level]:
    """All but what is fine; each has to say what to do."""
    found = {finding.id: finding.level for finding in findings if finding.level is not Level.FINE}
    assert all(finding.remedy for finding in findings if finding.level is not Level.FINE)
    return found
