"""A receiver for benchmarks: a mail exchanger that takes everything at once, and a DNS server that names it for all.

    python -m bulkmail.bench.receiver [--address 127.9.9.1] [--smtp-port 0] [--dns-port 0] [--delay SECONDS] [--tls]

It prints one JSON line with its ports, lives until its standard input ends, and then prints what it counted and the CPU
it took. `--delay` holds every group of replies back by that long: a round trip of a distant receiver. `--tls` offers
STARTTLS with a certificate of its own making.
"""

import argparse
import asyncio
import json
import resource
import ssl
import sys
import time
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import uvloop

from bulkmail.sandbox.certificate import make_certificate, server_context

HOST = "mx.sink.example."
END = b"\r\n.\r\n"
REPLIES = {
    b"MAIL": b"250 2.1.0 ok\r\n",
    b"RCPT": b"250 2.1.5 ok\r\n",
    b"RSET": b"250 2.0.0 ok\r\n",
    b"NOOP": b"250 2.0.0 ok\r\n",
    b"DATA": b"354 go on\r\n",
    b"EHLO": b"250-mx.sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 SIZE 52428800\r\n",
    b"STARTTLS": b"220 2.0.0 go on\r\n",
    b"HELO": b"250 mx.sink.example\r\n",
    b"QUIT": b"221 2.0.0 bye\r\n",
}

EHLO_BEFORE_TLS = REPLIES[b"EHLO"].replace(b"250-PIPELINING", b"250-STARTTLS\r\n250-PIPELINING")


class Sink(asyncio.Protocol):
    messages = 0
    first_at = last_at = 0.0
    connections = 0
    delay = 0.0
    tls: ssl.SSLContext | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Sink.connections += 1
        self.transport = cast(asyncio.Transport, transport)
        self.buffer = bytearray()
        self.in_data = False
        self.remaining = -1
        self.searched = 0
        self.secure = False
        self.say(b"220 mx.sink.example ESMTP\r\n")

    def say(self, data: bytes) -> None:
        if Sink.delay:
            asyncio.get_running_loop().call_later(Sink.delay, self.transport.write, data)
        else:
            self.transport.write(data)

    def count(self) -> None:
        Sink.messages += 1
        if Sink.delay:
            Sink.last_at = asyncio.get_running_loop().time()
            Sink.first_at = Sink.first_at or Sink.last_at

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        out = []
        while buffer:
            if self.remaining >= 0:
                if len(buffer) < self.remaining:
                    break
                del buffer[: self.remaining]
                self.remaining = -1
                self.count()
                out.append(b"250 2.0.0 taken\r\n")
                continue
            if self.in_data:
                end = buffer.find(END, max(0, self.searched - 4))
                if end < 0:
                    self.searched = len(buffer)
                    break
                del buffer[: end + len(END)]
                self.in_data = False
                self.count()
                out.append(b"250 2.0.0 taken\r\n")
                continue
            end = buffer.find(b"\r\n")
            if end < 0:
                break
            line = bytes(buffer[:end])
            del buffer[: end + 2]
            verb = line[:4].upper()
            if verb == b"BDAT":
                self.remaining = int(line.split()[1])
                continue
            if verb == b"STAR" and Sink.tls is not None:
                # At once, for what the client says next is no longer text.
                self.transport.write(REPLIES[b"STARTTLS"])
                self.task = asyncio.get_running_loop().create_task(self.start_tls(Sink.tls))
                return
            reply = REPLIES.get(verb, b"500 5.5.1 what\r\n")
            if verb == b"EHLO" and Sink.tls is not None and not self.secure:
                reply = EHLO_BEFORE_TLS
            out.append(reply)
            if verb == b"DATA":
                self.in_data = True
                self.searched = 0
            elif verb == b"QUIT":
                self.say(b"".join(out))
                asyncio.get_running_loop().call_later(Sink.delay, self.transport.close)
                return
        if out:
            self.say(b"".join(out))

    async def start_tls(self, context: ssl.SSLContext) -> None:
        transport = await asyncio.get_running_loop().start_tls(self.transport, self, context, server_side=True)
        assert transport is not None
        self.transport = transport
        self.secure = True


class Names(asyncio.DatagramProtocol):
    """Every domain has one mail exchanger; its name has one address."""

    def __init__(self, address: str) -> None:
        self.address = address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        answer = dns.message.make_response(query, recursion_available=True)
        if question.rdtype == dns.rdatatype.MX:
            answer.answer.append(dns.rrset.from_text(question.name, 3600, "IN", "MX", f"10 {HOST}"))
        elif question.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.name, 3600, "IN", "A", self.address))
        self.transport.sendto(answer.to_wire(), peer)


async def serve(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    Sink.delay = options.delay
    if options.tls:
        Sink.tls = server_context(*make_certificate([HOST.rstrip(".")], now_seconds=time.time()))
    server = await loop.create_server(Sink, options.address, options.smtp_port, backlog=1024)
    names, _ = await loop.create_datagram_endpoint(
        lambda: Names(options.address), local_addr=("127.0.0.1", options.dns_port)
    )
    smtp_port = server.sockets[0].getsockname()[1]
    dns_port = names.get_extra_info("sockname")[1]
    print(json.dumps({"address": options.address, "smtp_port": smtp_port, "dns": f"127.0.0.1:{dns_port}"}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    used = resource.getrusage(resource.RUSAGE_SELF)
    counted = {"messages": Sink.messages, "connections": Sink.connections, "cpu": used.ru_utime + used.ru_stime}
    counted["seconds"] = Sink.last_at - Sink.first_at
    print(json.dumps(counted), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="a receiver for benchmarks")
    parser.add_argument("--address", default="127.9.9.1")
    parser.add_argument("--smtp-port", type=int, default=0)
    parser.add_argument("--dns-port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--tls", action="store_true")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
