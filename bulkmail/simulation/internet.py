"""The receivers of a simulation: the sandbox's DNS and exchangers at the end of wires in memory."""

import asyncio
import random
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
from msgspec import structs

from bulkmail.clock import Clock
from bulkmail.dns.exchange import Exchange, NoAnswer, Question
from bulkmail.dns.servers import Server, parse_server
from bulkmail.sandbox.chance import draw
from bulkmail.sandbox.counts import Counts, Statistics
from bulkmail.sandbox.dnsserver import Responder
from bulkmail.sandbox.doorman import Doorman, Fate
from bulkmail.sandbox.exchanger import House
from bulkmail.sandbox.ledger import Keep, Ledger
from bulkmail.sandbox.profiles import Answer, Manners, Profiles, load_profiles
from bulkmail.sandbox.zone import WEBSITE, Listener, Zone
from bulkmail.simulation.faults import NO_FAULTS, Faults, Trouble
from bulkmail.simulation.wire import Wire, pair

RELAY = "relay"
DNS_SERVER = "127.0.0.1:53"
PORT = 25
SWEEP_SECONDS = 5.0
# What the sandbox waits two seconds for is five minutes among receivers of the real world.
REAL_WAITS = 150.0
# One way, least and most.
LATENCIES = (0.004, 0.08)
DNS_SECONDS = 0.01
# A connection that is struck breaks within so many bytes.
_CUT_BYTES = 6000
_LOST_SECONDS = 3600.0
_ID = b"\0\0"  # of every DNS query: nobody forges answers here


class Internet:
    """Outlives the senders that talk to it, as the real one does. `seed` decides mailboxes, distances and strikes.

    `ledger` says what was accepted. `real_waits` has greylisting and the like take minutes instead of seconds. What a
    campaign sends to by name, a relay, listens at `relay_ports` and takes everything.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        clock: Clock,
        keep: Keep = "none",
        profiles: Path | None = None,
        faults: Faults = NO_FAULTS,
        change: Callable[[Profiles], Profiles] = lambda profiles: profiles,
        real_waits: bool = True,
        relay_ports: Collection[int] = (),
    ) -> None:
        self.seed = seed
        self.faults = faults
        self._clock = clock
        found = load_profiles(profiles)
        manners = {name: _as_met(one, real_waits=real_waits) for name, one in found.manners.items()}
        manners[RELAY] = Manners(connections=1_000_000, messages_per_connection=1_000_000)
        self.zone = _Zone(change(structs.replace(found, manners=manners)), seed=seed)
        self._counts = Counts()
        self.ledger = Ledger(folder, keep=keep, clock=clock)
        self.responder = Responder(self.zone, self._counts, clock)
        self._house = House(
            self.zone,
            self.ledger,
            self._counts,
            clock,
            tls_context=None,
            doorman=partial(_StormyDoorman, faults),
        )
        self._listeners = {listener.ip: listener for listener in self.zone.listeners}
        self._relay = Listener(ip=WEBSITE, host="relay.sandbox.test", group=RELAY, manners=RELAY)
        self._relay_ports = frozenset(relay_ports)
        self._wires: set[Wire] = set()
        self._ports = 1024
        self._ticking = False
        self.most_connections = 0

    def attach(self, loop: Any) -> None:
        """Be the network of a `VirtualLoop`."""
        loop.connect = self.connect
        self._ticking = False

    async def connect(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        host: str,
        port: int,
        *,
        local_addr: tuple[str, int] | None = None,
        **options: Any,
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        """What `create_connection` gives: OSError where nobody listens, and nothing at all from hosts that are dead."""
        assert not options.get("ssl"), "receivers of a simulation speak no TLS"
        loop = asyncio.get_running_loop()
        now = loop.time()
        latency = self.latency_seconds(host)
        if self.faults.strikes(Trouble.SILENT, now):
            await asyncio.sleep(_LOST_SECONDS)
        await asyncio.sleep(2 * latency)
        listener = self._listeners.get(host) if port == PORT else None
        if listener is None and port in self._relay_ports and (port != PORT or host == WEBSITE):
            listener = self._relay
        if listener is None or self.faults.strikes(Trouble.REFUSED, now):
            raise ConnectionRefusedError(111, "Connection refused")
        self._ports = self._ports + 1 if self._ports < 65535 else 1024
        source = local_addr[0] if local_addr is not None else "127.0.0.1"
        here, there = pair(loop, (source, self._ports), (host, port), latency_seconds=latency)
        if self.faults.strikes(Trouble.CUT, now):
            struck = here if self.faults.number(2) else there
            struck.drop_after_bytes = self.faults.number(_CUT_BYTES)
        elif self.faults.strikes(Trouble.LOST, now):
            loop.call_later(self.faults.number(2000) / 1000, _lose, here)
        protocol = factory()
        self._wires = {wire for wire in self._wires if not wire.is_closing()} if len(self._wires) > 500 else self._wires
        self._wires.add(here)
        here.open(protocol)
        there.open(self._house.exchanger(listener)())
        self.most_connections = max(self.most_connections, len(self._house.open))
        if not self._ticking:
            self._ticking = True
            loop.call_later(SWEEP_SECONDS, self._tick)
        return here, protocol

    def latency_seconds(self, address: str) -> float:
        """How long bytes travel to an exchanger, or from it."""
        least, most = LATENCIES
        return least + (most - least) * draw(self.seed, "latency", address)

    def sender_died(self) -> None:
        """The process at the other end is gone: what it wrote arrives still, and it hears nothing more."""
        for wire in sorted(self._wires, key=lambda one: one.get_extra_info("sockname")[1]):
            if not wire.is_closing():
                wire.deafen()
        self._wires.clear()

    def statistics(self) -> Statistics:
        return self._counts.picture()

    def close(self) -> None:
        self._house.close()
        self.ledger.close()

    def hang_up(self) -> None:
        """Cut what is open at the receivers' ends."""
        self._house.close()

    def _tick(self) -> None:
        self._house.sweep()
        self._ticking = bool(self._house.open)
        if self._ticking:
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._tick)


class _Zone(Zone):
    """With a relay, which takes mail for everybody."""

    def serves(self, ip: str, domain: str) -> bool:
        return ip == WEBSITE or super().serves(ip, domain)


def _lose(wire: Wire) -> None:
    wire.lose = wire.peer.lose = True


def _as_met(manners: Manners, *, real_waits: bool) -> Manners:
    scale = REAL_WAITS if real_waits else 1.0
    return structs.replace(
        manners,
        tls_required=False,
        greylist_seconds=manners.greylist_seconds * scale,
        later_seconds=manners.later_seconds * scale,
        block_seconds=manners.block_seconds * scale,
    )


class _StormyDoorman(Doorman):
    """A doorman who says what the weather tells him to."""

    def __init__(self, faults: Faults, manners: Manners, *, seed: int) -> None:
        super().__init__(manners, seed=seed)
        self._faults = faults

    def throttle(self, peer: str, stage: str, now: float) -> Answer | None:
        if stage == "message" and (answer := self._faults.answer(now)) is not None:
            return answer
        return super().throttle(peer, stage, now)

    def recipient(self, peer: str, address: str, now: float) -> tuple[Fate, Answer | None]:
        answer = self._faults.answer(now)
        if answer is not None:
            return Fate.POLICY, answer
        return super().recipient(peer, address, now)


class InternetDns(Exchange):
    """What a resolver asks, answered by the simulated internet after the time that takes; its retries are real."""

    def __init__(self, internet: Internet, *, timeout_seconds: float) -> None:
        super().__init__(
            [parse_server(DNS_SERVER, default_port=53, path="dns.servers")], timeout_seconds=timeout_seconds
        )
        self._internet = internet

    async def _ask_udp(self, server: Server, question: Question, wire: bytes) -> dns.message.QueryMessage | None:
        async with asyncio.timeout(self._try_seconds):
            answer = await self._answer(_ID + wire)
        return None if answer.flags & dns.flags.TC else answer

    async def _ask_tcp(self, server: Server, question: Question, wire: bytes) -> dns.message.QueryMessage:
        return await self._answer(_ID + wire, stream=True)

    async def _answer(self, wire: bytes, *, stream: bool = False) -> dns.message.QueryMessage:
        self.queries += 1
        faults, responder = self._internet.faults, self._internet.responder
        now = asyncio.get_running_loop().time()
        if faults.strikes(Trouble.DNS_SILENT, now):
            await asyncio.sleep(_LOST_SECONDS)
        await asyncio.sleep(DNS_SECONDS)
        if faults.strikes(Trouble.DNS_FAILING, now):
            raise NoAnswer("answered SERVFAIL")
        data = responder.answer_tcp(wire) if stream else responder.answer_udp(wire)
        answer = dns.message.from_wire(data or b"")
        assert isinstance(answer, dns.message.QueryMessage)
        return answer


def seeded(seed: int, purpose: str) -> random.Random:
    """A generator of its own for each purpose, so that one use more of one changes no other."""
    return random.Random(f"{purpose} {seed}")
