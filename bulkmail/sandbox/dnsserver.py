"""The sandbox's DNS: one server over UDP and TCP that answers for every name, as a recursive resolver would."""

import asyncio
import struct
from hashlib import sha256
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from bulkmail.clock import Clock
from bulkmail.sandbox.counts import Counts
from bulkmail.sandbox.zone import Kind, Zone

POLICY_ADDRESS = "127.40.0.2"
"""Where the policies of MTA-STS are, for every domain that has one."""
STS_LABELS = ("_mta-sts.", "mta-sts.")

TTL_SECONDS = 300
NEGATIVE_TTL_SECONDS = 30
FLAKY_SECONDS = 3.0
TCP_IDLE_SECONDS = 10.0

_PLAIN_UDP_BYTES = 512
_LARGEST_UDP_BYTES = 1232
_HEADER_BYTES = 12
_REMEMBERED = 100_000

MX, A, TXT, PTR, CNAME, SOA, TLSA = (
    dns.rdatatype.MX,
    dns.rdatatype.A,
    dns.rdatatype.TXT,
    dns.rdatatype.PTR,
    dns.rdatatype.CNAME,
    dns.rdatatype.SOA,
    dns.rdatatype.TLSA,
)


class Responder:
    """Queries in, answers out; no sockets.

    `key_digest` is what TLSA records say of the exchangers' key; without it (no TLS) nobody publishes a policy.
    """

    def __init__(self, zone: Zone, counts: Counts, clock: Clock) -> None:
        self._zone, self._counts, self._clock = zone, counts, clock
        self.key_digest = b""
        self._texts: dict[str, list[str]] = {}
        self._first_asked: dict[str, float] = {}

    def publish(self, name: str, text: str) -> None:
        """Add a TXT record, and make its domain exist; the same record twice is one."""
        name = name.rstrip(".").lower()
        texts = self._texts.setdefault(name, [])
        if text not in texts:
            texts.append(text)
        self._zone.adopt(name)

    def answer_udp(self, wire: bytes) -> bytes | None:
        """The answer to a datagram, truncated to what the client can take (RFC 1035 §4.2.1, 6891 §6.2.3)."""
        response, limit = self._answer(wire)
        if response is None:
            return None
        try:
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            for section in (response.answer, response.authority, response.additional):
                section.clear()
            response.flags |= dns.flags.TC
            return response.to_wire(max_size=limit)

    def answer_tcp(self, wire: bytes) -> bytes | None:
        """The answer to one message of a TCP stream, without its length."""
        response, _ = self._answer(wire)
        return None if response is None else response.to_wire(max_size=65535)

    def _answer(self, wire: bytes) -> tuple[dns.message.Message | None, int]:
        self._counts.dns_queries += 1
        if len(wire) < _HEADER_BYTES or wire[2] & 0x80:
            # No header to answer to, or an answer itself: two servers must not talk for ever.
            return None, 0
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            response = dns.message.Message(id=int.from_bytes(wire[:2], "big"))
            response.flags |= dns.flags.QR
            response.set_rcode(dns.rcode.FORMERR)
            return response, _PLAIN_UDP_BYTES
        response = dns.message.make_response(query, recursion_available=True)
        limit = min(max(query.payload, _PLAIN_UDP_BYTES), _LARGEST_UDP_BYTES) if query.edns >= 0 else _PLAIN_UDP_BYTES
        if query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
        elif len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
        elif query.question[0].rdclass != dns.rdataclass.IN:
            response.set_rcode(dns.rcode.REFUSED)
        else:
            self._resolve(response, query.question[0].name, query.question[0].rdtype)
            if (query.flags & dns.flags.AD or query.ednsflags & dns.flags.DO) and self._is_signed(query):
                response.flags |= dns.flags.AD
        return response, limit

    def _resolve(self, response: dns.message.Message, asked: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> None:
        name = asked.to_text(omit_final_dot=True).lower()
        texts = self._texts.get(name)
        if texts is not None and rdtype == TXT:
            return self._add(response, asked, TXT, *map(_quoted, texts))
        if name.startswith(STS_LABELS) and (rdtype == TXT or not name.startswith("_")):
            return self._sts(response, asked, name, rdtype)
        if rdtype == TLSA:
            return self._tlsa(response, asked, name)
        if name.endswith(".in-addr.arpa"):
            return self._reverse(response, asked, rdtype)
        host = self._zone.exchanger_address(name)
        if host is not None:
            if rdtype == A:
                return self._add(response, asked, A, host)
            return self._negative(response, asked)
        place = self._zone.place(name)
        if place.kind is Kind.SERVFAIL or (place.kind is Kind.FLAKY and self._failing(name)):
            response.set_rcode(dns.rcode.SERVFAIL)
            return None
        if place.alias is not None:
            self._add(response, asked, CNAME, f"{place.alias}.")
            if rdtype != CNAME:
                self._resolve(response, dns.name.from_text(place.alias), rdtype)
            return None
        if place.kind is Kind.NXDOMAIN:
            if texts is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
            return self._negative(response, asked.parent() if len(asked) > 2 else asked)
        if rdtype == MX and place.kind is Kind.NULLMX:
            return self._add(response, asked, MX, "0 .")
        if rdtype == MX and place.exchangers:
            return self._add(response, asked, MX, *(f"{rank} {exchanger}." for rank, exchanger in place.exchangers))
        address = self._zone.domain_address(name)
        if rdtype == A and address is not None:
            return self._add(response, asked, A, address)
        return self._negative(response, asked)

    def _sts(
        self, response: dns.message.Message, asked: dns.name.Name, name: str, rdtype: dns.rdatatype.RdataType
    ) -> None:
        """The announcement of a policy, and the address of the web server that has it."""
        policy = self._zone.sts_policy(name.partition(".")[2]) if self.key_digest else None
        if policy is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif rdtype == TXT:
            return self._add(response, asked, TXT, f'"v=STSv1; id={sha256(policy.encode()).hexdigest()[:20]};"')
        elif rdtype == A:
            return self._add(response, asked, A, POLICY_ADDRESS)
        return self._negative(response, asked)

    def _tlsa(self, response: dns.message.Message, asked: dns.name.Name, name: str) -> None:
        port, _, host = name.partition("._tcp.")
        group = self._zone.group_of(host) if port == "_25" and self.key_digest else None
        if group is None or not group.dane or self._zone.exchanger_address(host) is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
            return self._negative(response, asked)
        digest = sha256(b"somebody else").digest() if group.betrayed else self.key_digest
        return self._add(response, asked, TLSA, f"3 1 1 {digest.hex()}")

    def _is_signed(self, query: dns.message.Message) -> bool:
        """Whether the zone of the name asked for is: those of groups that do DANE."""
        name = query.question[0].name.to_text(omit_final_dot=True).lower().rpartition("._tcp.")[2]
        group = self._zone.group_of(name)
        return group is not None and group.dane

    def _failing(self, name: str) -> bool:
        now = self._clock.monotonic()
        if len(self._first_asked) > _REMEMBERED:
            self._first_asked.clear()
        return now - self._first_asked.setdefault(name, now) < FLAKY_SECONDS

    def _reverse(self, response: dns.message.Message, asked: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> None:
        try:
            host = self._zone.names.get(dns.reversename.to_address(asked))
        except (dns.exception.DNSException, ValueError):
            host = None
        if host is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif rdtype == PTR:
            return self._add(response, asked, PTR, f"{host}.")
        return self._negative(response, asked.parent() if host is None else asked)

    def _add(
        self, response: dns.message.Message, owner: dns.name.Name, rdtype: dns.rdatatype.RdataType, *data: str
    ) -> None:
        response.answer.append(dns.rrset.from_text(owner, TTL_SECONDS, dns.rdataclass.IN, rdtype, *data))

    def _negative(self, response: dns.message.Message, owner: dns.name.Name) -> None:
        """The SOA that says how long the absence may be remembered (RFC 2308 §3)."""
        soa = f"ns.sandbox.test. hostmaster.sandbox.test. 1 3600 600 86400 {NEGATIVE_TTL_SECONDS}"
        response.authority.append(dns.rrset.from_text(owner, NEGATIVE_TTL_SECONDS, dns.rdataclass.IN, SOA, soa))


class DnsServer:
    """The responder on a UDP and a TCP socket of the same port."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._streams: set[_Stream] = set()
        self._tcp: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None

    async def start(self, address: str, port: int) -> int:
        """Bind both sockets; port 0 finds a free one. The port bound; OSError where it is taken."""
        loop = asyncio.get_running_loop()
        for attempt in range(20):
            self._tcp = await loop.create_server(lambda: _Stream(self._responder, self._streams), address, port)
            bound = cast(int, self._tcp.sockets[0].getsockname()[1])
            try:
                self._udp, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self._responder), local_addr=(address, bound)
                )
            except OSError:
                self._tcp.close()
                if port or attempt == 19:
                    raise
            else:
                return bound
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Release both sockets and cut the streams."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for stream in list(self._streams):
            stream.cut()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        answer = self._responder.answer_udp(data)
        if answer is not None:
            self._transport.sendto(answer, address)


class _Stream(asyncio.Protocol):
    """DNS over TCP: each message after two octets of length (RFC 1035 §4.2.2); any number of them (RFC 7766)."""

    def __init__(self, responder: Responder, streams: set["_Stream"]) -> None:
        self._responder, self._streams = responder, streams
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(TCP_IDLE_SECONDS, self.cut)
        self._streams.add(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2:
            (size,) = struct.unpack_from("!H", self._buffer)
            if len(self._buffer) < size + 2:
                break
            answer = self._responder.answer_tcp(bytes(self._buffer[2 : size + 2]))
            del self._buffer[: size + 2]
            if answer is not None:
                self._transport.write(struct.pack("!H", len(answer)) + answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        self._streams.discard(self)

    def cut(self) -> None:
        self._transport.abort()


def _quoted(text: str) -> str:
    """A TXT record in presentation form, in strings of at most 255 octets (RFC 1035 §3.3.14)."""
    octets = text.encode()
    parts = [octets[at : at + 255] for at in range(0, len(octets), 255)] or [b""]
    return " ".join('"' + "".join(_escaped(octet) for octet in part) + '"' for part in parts)


def _escaped(octet: int) -> str:
    return chr(octet) if 0x20 <= octet <= 0x7E and octet not in (0x22, 0x5C) else f"\\{octet:03}"
