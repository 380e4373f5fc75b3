"""The small internet in the running event loop: its DNS server and all its exchangers, from start to end."""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from bulkmail.clock import Clock, SystemClock
from bulkmail.errors import StateError
from bulkmail.sandbox.certificate import Authority
from bulkmail.sandbox.counts import Counts, Statistics
from bulkmail.sandbox.dnsserver import POLICY_ADDRESS, DnsServer, Responder
from bulkmail.sandbox.exchanger import House
from bulkmail.sandbox.ledger import Keep, Ledger
from bulkmail.sandbox.policyserver import PolicyServer
from bulkmail.sandbox.profiles import load_profiles
from bulkmail.sandbox.zone import Zone

DNS_ADDRESS = "127.0.0.1"
FLUSH_SECONDS = 0.05
SWEEP_SECONDS = 1.0
BACKLOG = 1024


class Sandbox:
    """An async context manager; everything is bound to 127.0.0.0/8.

    `folder` receives `log.ndjson` and `maildir/`, as `keep` says; both are appended to. `seed` decides which domains
    and mailboxes there are. Port 0 finds free ports. Inside the context `dns_server` is `127.0.0.1:PORT`, and every
    exchanger listens on its own address at `smtp_port`. All certificates are of one authority, `certificate` (PEM);
    policies of MTA-STS are at `https_port`. Raises CampaignError for a bad `profiles` file, StateError
    where the ports or the folder cannot be had.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 1,
        keep: Keep = "maildir",
        profiles: Path | None = None,
        smtp_port: int = 0,
        dns_port: int = 0,
        tls: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._ports = (smtp_port, dns_port)
        self._tls = tls
        self._counts = Counts()
        self._zone = Zone(load_profiles(profiles), seed=seed)
        self._responder = Responder(self._zone, self._counts, self._clock)
        self._dns = DnsServer(self._responder)
        self._servers: list[asyncio.Server] = []
        self._ticker: asyncio.Task[None] | None = None
        self._house: House | None = None
        self._policies: PolicyServer | None = None
        self.folder = folder
        self.keep = keep
        self.seed = seed
        self.maildir = folder / "maildir"
        self.log_path = folder / "log.ndjson"
        self.certificate = b""
        self.dns_server = ""
        self.smtp_port = 0
        self.https_port = 0

    async def __aenter__(self) -> Self:
        try:
            self._ledger = Ledger(self.folder, keep=self.keep, clock=self._clock)
        except OSError as error:
            raise StateError(f"the sandbox cannot write to {self.folder}: {error.strerror}") from None
        context = None
        if self._tls:
            authority = Authority(now_seconds=self._clock.time())
            self.certificate, self._responder.key_digest = authority.certificate, authority.key_digest
            context = authority.any_name_context("mx.sandbox.test")
            self._policies = PolicyServer(self._zone, context)
        self._house = House(self._zone, self._ledger, self._counts, self._clock, tls_context=context)
        try:
            self.smtp_port = await self._listen(self._house, self._ports[0])
            port = await self._dns.start(DNS_ADDRESS, self._ports[1])
            if self._policies is not None:
                self.https_port = await self._policies.start(POLICY_ADDRESS)
        except OSError as error:
            await self._release()
            hint = "another sandbox may be running; leave the ports out to have free ones"
            raise StateError(f"the sandbox cannot listen on 127.0.0.0/8: {error.strerror}", hint=hint) from None
        self.dns_server = f"{DNS_ADDRESS}:{port}"
        self._ticker = asyncio.get_running_loop().create_task(self._tick(self._house))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._release()

    async def publish(self, name: str, text: str) -> None:
        """Add a TXT record (DKIM, SPF, DMARC of the sender); its domain exists from then on."""
        self._responder.publish(name, text)

    async def statistics(self) -> Statistics:
        """The totals since the start."""
        return self._counts.picture()

    async def _listen(self, house: House, port: int) -> int:
        """Bind every exchanger's address at one port; the first address finds it where it is 0."""
        loop = asyncio.get_running_loop()
        for attempt in range(20):
            chosen = port
            try:
                for listener in self._zone.listeners:
                    factory = house.exchanger(listener)
                    server = await loop.create_server(factory, listener.ip, chosen, backlog=BACKLOG)
                    self._servers.append(server)
                    chosen = chosen or server.sockets[0].getsockname()[1]
            except OSError:
                # A port free on one loopback address may be taken on another.
                self._close_servers()
                if port or attempt == 19:
                    raise
            else:
                return chosen
        raise AssertionError("unreachable")

    async def _tick(self, house: House) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                self._ledger.flush()
            except OSError:
                # A full disk: the lines of accepted messages are flushed, and answered for, elsewhere.
                continue
            ticks += 1
            if ticks % round(SWEEP_SECONDS / FLUSH_SECONDS) == 0:
                house.sweep()

    def _close_servers(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def _release(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        self._close_servers()
        if self._house is not None:
            self._house.close()
        if self._policies is not None:
            self._policies.close()
        await self._dns.close()
        # Transports that were cut close their sockets in the loop's next turns.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._ledger.close()
