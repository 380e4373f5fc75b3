"""A DNS server on 127.0.0.1, UDP and TCP on one port, that answers as its script says."""

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

# What a question is answered with: datagrams (TCP: messages) in their order, none for silence. The second argument is
# True over TCP.
Script = Callable[[dns.message.Message, bool], list[bytes]]
SOA = "ns.zone.example. admin.zone.example. 1 2 3 4"


def _reply(query: dns.message.Message, rcode: dns.rcode.Rcode = dns.rcode.NOERROR) -> dns.message.Message:
    reply = dns.message.make_response(query, recursion_available=True)
    reply.set_rcode(rcode)
    return reply


def _add_soa(reply: dns.message.Message, ttl: int | None) -> None:
    if ttl is not None:
        zone = reply.question[0].name.split(2)[1]
        reply.authority.append(dns.rrset.from_text(zone, 3600, "IN", "SOA", f"{SOA} {ttl}"))


def records(*lines: str, soa: int | None = None, flags: int = 0) -> Script:
    """The answer section, as `owner ttl TYPE data` lines; lines of one owner and type stand together."""

    def script(query: dns.message.Message, tcp: bool) -> list[bytes]:
        reply = _reply(query)
        for line in lines:
            owner, ttl, rdtype, data = line.split(" ", 3)
            rrset = dns.rrset.from_text(dns.name.from_text(owner), int(ttl), "IN", rdtype, data)
            known = reply.get_rrset(reply.answer, rrset.name, rrset.rdclass, rrset.rdtype)
            if known is None:
                reply.answer.append(rrset)
            else:
                known.update(rrset)
        _add_soa(reply, soa)
        reply.flags |= flags
        return [reply.to_wire(max_size=65535)]

    return script


def nodata(soa: int | None = 60) -> Script:
    return records(soa=soa)


def nxdomain(soa: int | None = 60) -> Script:
    def script(query: dns.message.Message, tcp: bool) -> list[bytes]:
        reply = _reply(query, dns.rcode.NXDOMAIN)
        _add_soa(reply, soa)
        return [reply.to_wire()]

    return script


def failing(rcode: dns.rcode.Rcode) -> Script:
    return lambda query, tcp: [_reply(query, rcode).to_wire()]


def referral() -> Script:
    def script(query: dns.message.Message, tcp: bool) -> list[bytes]:
        reply = dns.message.make_response(query)
        reply.authority.append(dns.rrset.from_text("example.", 60, "IN", "NS", "ns.example."))
        return [reply.to_wire()]

    return script


def silence() -> Script:
    return lambda query, tcp: []


def truncated(complete: Script) -> Script:
    """TC over UDP, `complete` over TCP."""

    def script(query: dns.message.Message, tcp: bool) -> list[bytes]:
        if tcp:
            return complete(query, tcp)
        reply = _reply(query)
        reply.flags |= dns.flags.TC
        return [reply.to_wire()]

    return script


def mangled(change: Callable[[bytes], Iterable[bytes]], script: Script) -> Script:
    """Each message of `script`, replaced by those that `change` makes of it."""
    return lambda query, tcp: [out for message in script(query, tcp) for out in change(message)]


class DnsServer(asyncio.DatagramProtocol):
    """Unknown names do not exist; a known name without a script for a type has no data of it.

    `asked` lists every question as `TYPE name` (TCP: `tcp TYPE name`). While `held` is set, answers wait for `release`.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.held = False
        self._scripts: dict[tuple[str, str], Script] = {}
        self._waiting: list[Callable[[], None]] = []

    def on(self, rdtype: str, name: str, script: Script) -> None:
        self._scripts[(name, rdtype)] = script

    def has(self, line: str) -> None:
        """One record, `owner ttl TYPE data`, to answer with."""
        owner, _, rdtype, _ = line.split(" ", 3)
        self.on(rdtype, owner, records(line))

    def release(self) -> None:
        self.held = False
        for send in self._waiting:
            send()
        self._waiting.clear()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        while True:
            self._udp, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
            self.port: int = self._udp.get_extra_info("sockname")[1]
            try:
                self._tcp = await asyncio.start_server(self._serve_tcp, "127.0.0.1", self.port)
            except OSError:
                self._udp.close()
                continue
            self.text = f"127.0.0.1:{self.port}"
            return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()
        await asyncio.sleep(0)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        for message in self._answers(data, tcp=False):
            if self.held:
                self._waiting.append(lambda message=message: self._udp.sendto(message, addr))  # type: ignore[misc]
            else:
                self._udp.sendto(message, addr)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2), "big")
        for message in self._answers(await reader.readexactly(length), tcp=True):
            writer.write(len(message).to_bytes(2, "big") + message)
        writer.close()
        await writer.wait_closed()

    def _answers(self, data: bytes, *, tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        rdtype = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{'tcp ' if tcp else ''}{rdtype} {name}")
        script = self._scripts.get((name, rdtype))
        if script is None:
            known = any(scripted == name for scripted, _ in self._scripts)
            script = nodata() if known else nxdomain()
        return script(query, tcp)
