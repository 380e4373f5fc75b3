"""What the system calls of a send cost: the same bytes into the same sink, and nothing else done.

    python -m benchmarks.floor [--messages 20000] [--connections 20] [--bytes 10000] [--runs 5] [--json]

A protocol class on uvloop writes one message of fixed bytes over and over, the next envelope behind its end as the
engine does, and counts replies by their line ends. No list, template, store, limits, events or parsing: what is left
is the kernel and the event loop, and a sender can come near to it but not below.
"""

import argparse
import asyncio
import json
import resource
import statistics
from typing import cast

import uvloop

from benchmarks.compare.receiver import Receiver

ENVELOPE = b"MAIL FROM:<news@sender.example> SIZE=%d\r\nRCPT TO:<reader.0000000@d0.example>\r\nDATA\r\n"
# Replies to an envelope; with a message before it, one more.
TO_ENVELOPE = 3


class Client(asyncio.Protocol):
    """One connection; `left` is the count of messages that all of them still have to begin."""

    left = 0

    def __init__(self, message: bytes, done: "asyncio.Future[None]") -> None:
        self.envelope = ENVELOPE % len(message)
        self.message, self.last = message + b".\r\n" + self.envelope, message + b".\r\nQUIT\r\n"
        self.done = done
        self.awaited = 1
        self.state = "greeted"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.state == "greeted":
            self.state = "hello"
            self.transport.write(b"EHLO floor.example\r\n")
        elif self.state == "hello":
            # The sink says its EHLO in one piece.
            self.begin_first()
        else:
            self.awaited -= data.count(b"\r\n")
            if self.awaited <= 0:
                self.next()

    def begin_first(self) -> None:
        if Client.left <= 0:
            self.state = "quit"
            self.awaited = 1
            self.transport.write(b"QUIT\r\n")
            return
        Client.left -= 1
        self.state = "data"
        self.awaited = TO_ENVELOPE
        self.transport.write(self.envelope)

    def next(self) -> None:
        if self.state == "quit":
            self.transport.close()
        elif Client.left > 0:
            Client.left -= 1
            self.awaited = 1 + TO_ENVELOPE
            self.transport.write(self.message)
        else:
            self.state = "quit"
            self.awaited = 2
            self.transport.write(self.last)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def send(ports: dict[str, object], messages: int, connections: int, size: int) -> float:
    """CPU seconds."""
    loop = asyncio.get_running_loop()
    message = (b"x" * 76 + b"\r\n") * (size // 78)
    Client.left = messages
    began = resource.getrusage(resource.RUSAGE_SELF)
    ends = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(lambda done=done: Client(message, done), ports["address"], ports["smtp_port"])
        ends.append(done)
    await asyncio.gather(*ends)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime - began.ru_utime - began.ru_stime


def run_once(options: argparse.Namespace) -> float:
    """CPU microseconds a message."""
    with Receiver() as receiver:
        seconds = uvloop.run(send(receiver.ports, options.messages, options.connections, options.bytes))
    if receiver.counted["messages"] != options.messages:
        raise SystemExit(f"{receiver.counted['messages']} of {options.messages} messages came")
    return seconds / options.messages * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="the cost of the system calls alone")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    runs = [run_once(options) for _ in range(options.runs)]
    figures = {"median": statistics.median(runs), "low": min(runs), "high": max(runs)}
    if options.json:
        print(json.dumps({"options": vars(options), "cpu_us": figures}))
        return
    print(
        f"{figures['median']:.1f} us CPU a message ({figures['low']:.1f} to {figures['high']:.1f}, {options.runs} runs)"
    )


if __name__ == "__main__":
    main()
