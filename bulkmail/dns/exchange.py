"""Ask DNS servers one question: UDP, TCP when the answer is truncated, the next server when one fails.

Datagrams that answer something else are passed over (RFC 5452 §9; see `ports`). Plain answers are read as they are,
all others by dnspython. Sockets are driven through the loop, asyncio's or uvloop's.
"""

import asyncio
import os
import re
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import dns.flags
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from bulkmail.dns.plain import PlainAnswer, ReadRecord, read_plain
from bulkmail.dns.ports import Ports
from bulkmail.dns.servers import Server
from bulkmail.errors import RemoteError

if TYPE_CHECKING:
    from dns.message import Message, QueryMessage

    from bulkmail.dns.general import Chain

_LEAST_TRIES = 3
_UDP_PAYLOAD_BYTES = 1232  # fits every path unfragmented
_HEADER = struct.Struct("!HHHHH")  # RFC 1035 §4.1.1, without the id
_OPT = struct.Struct("!BHHIH")  # RFC 6891 §6.1.2, without options
_PARSED_AT_ONCE_BYTES = 4096  # thousands of records would hold up the loop for 100 ms
_WITHOUT_EDNS = (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)
_PLAIN_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_PLAIN_NAME_LENGTH = 253
LOOP = "its CNAMEs form a loop or are too many"


class NoAnswer(RemoteError):
    """No server gave a usable answer; the text says which server did what."""


class Contradiction(RemoteError):
    """An answer that cannot be; the text says why."""


class Truncated(Exception):
    """There is more of the answer over TCP."""


class Question:
    """One name and kind of record; `read` reads its records from plain answers, where they are to be read so.

    `text` is the name in lower case without a final dot. Raises DNSException for what is no name.
    """

    __slots__ = ("_plain", "rdtype", "read", "section", "text")

    def __init__(self, name: str, rdtype: dns.rdatatype.RdataType, read: ReadRecord | None = None) -> None:
        self.text = name.lower().removesuffix(".")
        self.rdtype = rdtype
        self.read = read
        self._plain = _PLAIN_NAME.fullmatch(self.text) is not None and len(self.text) <= _PLAIN_NAME_LENGTH
        if self._plain:
            labels = self.text.encode().split(b".")
            wire = b"".join([bytes((len(label),)) + label for label in labels]) + b"\0"
        else:
            self.text, wire = _general().name_of(name)
        self.section = wire + rdtype.to_bytes(2, "big") + dns.rdataclass.IN.to_bytes(2, "big")

    def between(self, around: tuple[bytes, bytes]) -> bytes:
        """The query without its id."""
        return around[0] + self.section + around[1]

    def plain_answer(self, data: bytes) -> PlainAnswer | None:
        """What an answer with the right id says, where it is plain."""
        return read_plain(data, self.text, self.section, self.rdtype, self.read) if self._plain else None

    def is_answered(self, answer: "Message") -> bool:
        """Whether an answer with the right id is one to this question."""
        answered: bool = _general().is_answered(self, answer)
        return answered


class Exchange:
    """Asks `servers` in turn, beginning with the one that answered last, for at most `timeout_seconds` a question.

    A server that fails at once (refuses, answers SERVFAIL or nonsense) is not asked that question again; one that
    stays silent is, while time is left. With `validating`, the servers are asked whether their answers were proved by
    DNSSEC (the AD bit, RFC 6840 §5.7); else no answer counts as proved, whatever it says (`proves`).
    """

    def __init__(self, servers: Sequence[Server], *, timeout_seconds: float, validating: bool = False) -> None:
        self.queries = self.timeouts = self.tcp = 0
        self._servers = tuple(servers)
        self._validating = validating
        self._tries = max(_LEAST_TRIES, len(servers))
        self._try_seconds = timeout_seconds / self._tries
        self._first = 0
        self._ports = {server: Ports(server) for server in self._servers}
        self._with_edns = _around(validating, edns=True)
        self._without_edns = _around(validating, edns=False)

    async def ask(self, question: Question) -> "QueryMessage | PlainAnswer":
        """The answer (NOERROR or NXDOMAIN) of the first server to give one. Raises `NoAnswer`."""
        asked = deque(self._servers)
        asked.rotate(-self._first)
        failures: dict[str, str] = {}
        for _ in range(self._tries):
            if not asked:
                break
            server = asked[0]
            try:
                answer = await self._ask_server(server, question)
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
        what = f"{dns.rdatatype.to_text(question.rdtype)} of {question.text}"
        reasons = "; ".join(f"DNS server {server} {failure}" for server, failure in failures.items())
        raise NoAnswer(f"no answer for {what}: {reasons}")

    async def _ask_server(self, server: Server, question: Question) -> "QueryMessage | PlainAnswer":
        until = asyncio.get_running_loop().time() + self._try_seconds
        answer = await self._ask_udp(server, question, question.between(self._with_edns))
        if isinstance(answer, PlainAnswer):
            return answer
        # Seldom: a timeout of asyncio's takes as long as all the rest of an answer.
        async with asyncio.timeout_at(until):
            if answer is None:
                answer = await self._ask_tcp(server, question, question.between(self._with_edns))
            if answer.rcode() in _WITHOUT_EDNS:
                # RFC 6891 §7: a server older than EDNS says so this way.
                wire = question.between(self._without_edns)
                again = await self._ask_udp(server, question, wire)
                if isinstance(again, PlainAnswer):
                    return again
                answer = again if again is not None else await self._ask_tcp(server, question, wire)
        _general().check_usable(answer)
        return answer

    def proves(self, answer: "QueryMessage | PlainAnswer") -> bool:
        """Whether a server that is trusted says that DNSSEC proves the answer."""
        if not self._validating:
            return False
        return answer.authentic if isinstance(answer, PlainAnswer) else bool(answer.flags & dns.flags.AD)

    def follow(self, answer: "QueryMessage", read: Callable[[Any], Any]) -> "Chain":
        """Follow the CNAMEs in an answer that is not plain. Raises Contradiction."""
        chain: Chain = _general().follow(answer, read)
        return chain

    async def _ask_udp(self, server: Server, question: Question, wire: bytes) -> "QueryMessage | PlainAnswer | None":
        """The answer, or None when it was truncated; `wire` is the question behind its id. Raises TimeoutError."""
        self.queries += 1
        try:
            return await self._ports[server].ask(wire, partial(_accepted, question), seconds=self._try_seconds)
        except Truncated:
            return None

    async def _ask_tcp(self, server: Server, question: Question, wire: bytes) -> "QueryMessage":
        loop = asyncio.get_running_loop()
        wire = os.urandom(2) + wire
        with socket.socket(server.family, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            self.queries += 1
            self.tcp += 1
            await loop.sock_connect(sock, server.address)
            await loop.sock_sendall(sock, len(wire).to_bytes(2, "big") + wire)
            length = int.from_bytes(await _receive(sock, 2), "big")
            data = await _receive(sock, length)
            answer: QueryMessage
            if length > _PARSED_AT_ONCE_BYTES:
                answer = await asyncio.to_thread(_general().parse, data, whole=False)
            else:
                answer = _general().parse(data, whole=False)
            if data[:2] != wire[:2] or not question.is_answered(answer):
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


def _around(validating: bool, *, edns: bool) -> tuple[bytes, bytes]:
    """What stands before and behind the question, apart from the id, in every query."""
    flags = dns.flags.RD | (dns.flags.AD if validating else 0)
    opt = _OPT.pack(0, dns.rdatatype.OPT, _UDP_PAYLOAD_BYTES, 0, 0) if edns else b""
    return _HEADER.pack(flags, 1, 0, 0, 1 if edns else 0), opt


def _accepted(question: Question, data: bytes) -> "QueryMessage | PlainAnswer | None":
    """What a datagram with the right id says; None where it answers something else. Raises NoAnswer, Truncated."""
    plain = question.plain_answer(data)
    if plain is not None:
        return plain
    answer = _general().parse(data, whole=True)
    return answer if question.is_answered(answer) else None


def _general() -> ModuleType:
    # What reads every kind of answer takes a tenth of the time that a send needs to start, and most need it for none.
    from bulkmail.dns import general

    return general
