"""Ask DNS servers one question: UDP, TCP when the answer is truncated, the next server when one fails.

Each query has a socket, hence a port, of its own and a random id (RFC 5452 §9.2); datagrams that answer something else
are passed over, so that a forger must guess both. Sockets are driven through the loop, asyncio's or uvloop's.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Sequence

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from bulkmail.dns.servers import Server
from bulkmail.errors import RemoteError

_LEAST_TRIES = 3
_UDP_PAYLOAD_BYTES = 1232  # fits every path unfragmented
_DATAGRAM_BYTES = 16384  # room for servers that send more than they were asked to
_PARSED_AT_ONCE_BYTES = 4096  # thousands of records would hold up the loop for 100 ms
_WITHOUT_EDNS = (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)


class NoAnswer(RemoteError):
    """No server gave a usable answer; the text says which server did what."""


class Exchange:
    """Asks `servers` in turn, beginning with the one that answered last, for at most `timeout_seconds` a question.

    A server that fails at once (refuses, answers SERVFAIL or nonsense) is not asked that question again; one that
    stays silent is, while time is left. With `validating`, the servers are asked whether their answers were proved by
    DNSSEC (the AD bit, RFC 6840 §5.7); else no answer counts as proved, whatever it says.
    """

    def __init__(self, servers: Sequence[Server], *, timeout_seconds: float, validating: bool = False) -> None:
        self.queries = self.timeouts = self.tcp = 0
        self._servers = tuple(servers)
        self._validating = validating
        self._tries = max(_LEAST_TRIES, len(servers))
        self._try_seconds = timeout_seconds / self._tries
        self._first = 0

    async def ask(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.message.QueryMessage:
        """The answer (NOERROR or NXDOMAIN) of the first server to give one. Raises `NoAnswer`."""
        asked = deque(self._servers)
        asked.rotate(-self._first)
        failures: dict[str, str] = {}
        for _ in range(self._tries):
            if not asked:
                break
            server = asked[0]
            try:
                async with asyncio.timeout(self._try_seconds):
                    answer = await self._ask_server(server, name, rdtype)
            except TimeoutError:
                self.timeouts += 1
                failures[server.text] = f"did not answer within {self._try_seconds:.2g} s"
                asked.rotate(-1)
            except NoAnswer as failure:
                failures[server.text] = str(failure)
                asked.popleft()
            except OSError as failure:
                failures[server.text] = f"cannot be reached: {failure.strerror or failure}"
                asked.popleft()
            else:
                self._first = self._servers.index(server)
                return answer
        what = f"{dns.rdatatype.to_text(rdtype)} of {name.to_text(omit_final_dot=True)}"
        reasons = "; ".join(f"DNS server {server} {failure}" for server, failure in failures.items())
        raise NoAnswer(f"no answer for {what}: {reasons}")

    async def _ask_server(
        self, server: Server, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
    ) -> dns.message.QueryMessage:
        query = dns.message.make_query(name, rdtype, use_edns=0, payload=_UDP_PAYLOAD_BYTES)
        if self._validating:
            query.flags |= dns.flags.AD
        answer = await self._ask_udp_then_tcp(server, query)
        if answer.rcode() in _WITHOUT_EDNS:
            # RFC 6891 §7: a server older than EDNS says so this way.
            query.use_edns(False)
            answer = await self._ask_udp_then_tcp(server, query)
        rcode = answer.rcode()
        if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise NoAnswer(f"answered {dns.rcode.to_text(rcode)}")
        if _is_referral(answer):
            raise NoAnswer("refers to other servers instead of answering; it is not a recursive resolver")
        if not self._validating:
            answer.flags &= ~dns.flags.AD
        return answer

    async def _ask_udp_then_tcp(self, server: Server, query: dns.message.QueryMessage) -> dns.message.QueryMessage:
        wire = query.to_wire()
        answer = await self._ask_udp(server, query, wire)
        return answer if answer is not None else await self._ask_tcp(server, query, wire)

    async def _ask_udp(
        self, server: Server, query: dns.message.QueryMessage, wire: bytes
    ) -> dns.message.QueryMessage | None:
        """The answer, or None when it was truncated."""
        loop = asyncio.get_running_loop()
        with socket.socket(server.family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            # Connected: the kernel drops datagrams of others and reports a closed port as an error.
            sock.connect(server.address)
            self.queries += 1
            sock.send(wire)
            while True:
                data = await loop.sock_recv(sock, _DATAGRAM_BYTES)
                if data[:2] != wire[:2]:
                    continue
                try:
                    answer = _parse(data, raise_on_truncation=True)
                except dns.message.Truncated:
                    return None
                if query.is_response(answer):
                    return answer

    async def _ask_tcp(self, server: Server, query: dns.message.QueryMessage, wire: bytes) -> dns.message.QueryMessage:
        loop = asyncio.get_running_loop()
        with socket.socket(server.family, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            self.queries += 1
            self.tcp += 1
            await loop.sock_connect(sock, server.address)
            await loop.sock_sendall(sock, len(wire).to_bytes(2, "big") + wire)
            length = int.from_bytes(await _receive(sock, 2), "big")
            data = await _receive(sock, length)
            if length > _PARSED_AT_ONCE_BYTES:
                answer = await asyncio.to_thread(_parse, data, raise_on_truncation=False)
            else:
                answer = _parse(data, raise_on_truncation=False)
            if not query.is_response(answer):
                raise NoAnswer("answered another question over TCP")
            return answer


async def _receive(sock: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < count:
        piece = await loop.sock_recv(sock, count - len(data))
        if not piece:
            raise NoAnswer("closed the TCP connection before its answer was complete")
        data += piece
    return data


def _parse(data: bytes, *, raise_on_truncation: bool) -> dns.message.QueryMessage:
    try:
        answer = dns.message.from_wire(data, raise_on_truncation=raise_on_truncation)
    except dns.message.Truncated:
        raise
    except Exception as error:  # whatever a parser of hostile bytes may raise
        raise NoAnswer(f"sent a malformed answer ({error or type(error).__name__})") from None
    if not isinstance(answer, dns.message.QueryMessage):
        raise NoAnswer("sent something other than an answer")
    return answer


def _is_referral(answer: dns.message.QueryMessage) -> bool:
    """True for NOERROR without data from a server that has no say: taking it for "no such record" would bounce mail."""
    if answer.rcode() != dns.rcode.NOERROR or answer.answer or answer.flags & (dns.flags.AA | dns.flags.RA):
        return False
    kinds = {rrset.rdtype for rrset in answer.authority}
    return dns.rdatatype.NS in kinds and dns.rdatatype.SOA not in kinds
