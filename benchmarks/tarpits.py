"""What hosts that keep a sender waiting cost those that do not: the throughput of the fast with and without tarpits.

    python -m benchmarks.tarpits [--fast 1000] [--tarpits 1000] [--each 100] [--runs 3] [--json]

Every domain has a mail exchanger, hence a site, of its own. Fast ones take everything at once; of four tarpits one says
nothing, one a greeting and no more, one half of one, one nothing to MAIL. The DNS, the fast and the tarpits are three
processes, the sender a fourth. The list has domains of both kinds in turn, `--each` recipients a domain. Counted at the
fast receiver, from its first message to its last; the sender is ended then. Runs with and without tarpits alternate,
and the figure is the median of their ratios.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from socket import inet_aton
from typing import Any, cast

import dns.rdatatype
import uvloop

from bulkmail.bench.receiver import Sink

FAST_ADDRESS, TAR_ADDRESS = "127.9.9.1", "127.9.9.2"
SENDER = "import sys, bulkmail; bulkmail.send(sys.argv[1], state=sys.argv[2], signers=1)"
HEADER_BYTES, TO_QUESTION = 12, b"\xc0\x0c"  # RFC 1035 §4.1.1, §4.1.4
SLOWEST_SECONDS = 300.0


class Counted(Sink):
    """The fast receiver; says when it has got `expected` messages."""

    expected = 0
    done: asyncio.Event

    def count(self) -> None:
        Sink.messages += 1
        if Sink.messages == 1:
            Sink.first_at = time.monotonic()
        elif Sink.messages == Counted.expected:
            Sink.last_at = time.monotonic()
            Counted.done.set()


class Tarpit(asyncio.Protocol):
    """Keeps its guests, each fourth in another way."""

    guests = 0
    open_now = 0
    most = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.kind = Tarpit.guests % 4
        Tarpit.guests += 1
        Tarpit.open_now += 1
        Tarpit.most = max(Tarpit.most, Tarpit.open_now)
        if self.kind:
            self.transport.write(b"220-mx" if self.kind == 2 else b"220 mx.tar.example\r\n")

    def data_received(self, data: bytes) -> None:
        if self.kind == 3 and data.startswith(b"EHLO"):
            self.transport.write(b"250 mx.tar.example\r\n")

    def connection_lost(self, error: Exception | None) -> None:
        Tarpit.open_now -= 1


class Names(asyncio.DatagramProtocol):
    """Every domain has a mail exchanger of its own, whose address is that of its kind."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        # By hand: a library would make this process what is measured.
        end = data.index(b"\0", HEADER_BYTES) + 1
        question, kind = data[HEADER_BYTES : end + 4], int.from_bytes(data[end : end + 2], "big")
        record = b""
        if kind == dns.rdatatype.MX:
            record = b"\0\x0a\x02mx" + TO_QUESTION
        elif kind == dns.rdatatype.A:
            record = inet_aton(TAR_ADDRESS if b"-tar" in question else FAST_ADDRESS)
        answer = data[:2] + b"\x81\x80\0\1" + (b"\0\1" if record else b"\0\0") + b"\0\0\0\0" + question
        if record:
            answer += TO_QUESTION + question[-4:] + b"\0\0\x0e\x10" + len(record).to_bytes(2, "big") + record
        self.transport.sendto(answer, peer)


async def serve(kind: str, port: int, expected: int) -> None:
    """One of the three processes: a line with its port, then what it has counted."""
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    if kind == "names":
        names, _ = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
        say({"port": names.get_extra_info("sockname")[1]})
    elif kind == "tarpits":
        await loop.create_server(Tarpit, TAR_ADDRESS, port, backlog=4096)
        say({"port": port})
    else:
        Counted.expected, Counted.done = expected, asyncio.Event()
        server = await loop.create_server(Counted, FAST_ADDRESS, 0, backlog=4096)
        say({"port": server.sockets[0].getsockname()[1]})
        try:
            async with asyncio.timeout(SLOWEST_SECONDS):
                await Counted.done.wait()
        except TimeoutError:
            Sink.last_at = time.monotonic()
        say({"messages": Sink.messages, "seconds": Sink.last_at - Sink.first_at, "connections": Sink.connections})
    await ended
    say({"guests": Tarpit.guests, "most": Tarpit.most})


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


class Process:
    """One of the servers beside the sender."""

    def __init__(self, kind: str, *, port: int = 0, expected: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.tarpits", "--serve", kind, str(port), str(expected)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self.said()["port"])

    def said(self) -> dict[str, Any]:
        """Its next line."""
        assert self._process.stdout is not None
        return cast(dict[str, Any], json.loads(self._process.stdout.readline()))

    def end(self) -> dict[str, Any]:
        """What it says at its end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        last = self.said()
        self._process.stdout.close()
        self._process.wait()
        return last


def write(folder: Path, fast: int, tarpits: int, each: int, port: int, names: int) -> Path:
    """The list, domains of both kinds in turn, and the campaign."""
    counts = {"tar": tarpits, "zoo": fast}
    domains = [f"d{n:04d}-{kind}" for n in range(max(counts.values())) for kind, count in counts.items() if n < count]
    with (folder / "list.csv").open("w") as file:
        file.write("email\n")
        for number in range(each):
            file.writelines(f"r{number}@{domain}.example\n" for domain in domains)
    (folder / "body.txt").write_text("Hello {{ address }}\n" + "Sow thinly, water once.\n" * 80)
    path = folder / "campaign.yaml"
    path.write_text(
        f"""campaign: tarpits
kind: transactional
from: "Garden <news@sender.example>"
subject: "Seeds"
content: {{text: body.txt}}
recipients: [{{file: list.csv}}]
delivery: {{route: mx, port: {port}, allow_private_mx: true, tls: none}}
tls: {{mta_sts: false}}
dns: {{servers: ["127.0.0.1:{names}"]}}
limits:
  default: {{connections: 10, messages_per_connection: 1000000, messages: 1000000/s, connects: 1000/s}}
"""
    )
    return path


def run_once(fast: int, tarpits: int, each: int) -> dict[str, float]:
    """Messages a second at the fast ones, and what the sender took for it."""
    with tempfile.TemporaryDirectory(prefix="bulkmail-tarpits-") as name:
        folder = Path(name)
        names, sink = Process("names"), Process("fast", expected=fast * each)
        pits = Process("tarpits", port=sink.port)
        campaign = write(folder, fast, tarpits, each, sink.port, names.port)
        arguments = [sys.executable, "-c", SENDER, str(campaign), str(folder / "state")]
        sender = subprocess.Popen(arguments, cwd=Path.cwd(), start_new_session=True)
        try:
            counted = sink.said()
        finally:
            sender.send_signal(signal.SIGKILL)
            _, _, used = os.wait4(sender.pid, 0)
            sender.returncode = -signal.SIGKILL
            kept = pits.end()
            sink.end()
            names.end()
    if counted["messages"] != fast * each:
        raise SystemExit(f"{counted['messages']} of {fast * each} messages came in {SLOWEST_SECONDS:g} s")
    return {
        "per_second": fast * each / counted["seconds"],
        "seconds": counted["seconds"],
        "cpu": used.ru_utime + used.ru_stime,
        "connections": counted["connections"],
        "tarpit_connections": kept["guests"],
        "tarpits_at_once": kept["most"],
    }


def median(runs: Sequence[dict[str, float]], name: str) -> str:
    values = sorted(run[name] for run in runs)
    return f"{statistics.median(values):,.1f} ({values[0]:,.1f} to {values[-1]:,.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description="what tarpits cost the fast")
    parser.add_argument("--fast", type=int, default=1000)
    parser.add_argument("--tarpits", type=int, default=1000)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", nargs=3, metavar=("KIND", "PORT", "EXPECTED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        kind, port, expected = options.serve
        uvloop.run(serve(kind, int(port), int(expected)))
        return
    without, beside = [], []
    for _ in range(options.runs):
        without.append(run_once(options.fast, 0, options.each))
        beside.append(run_once(options.fast, options.tarpits, options.each))
    ratios = [two["per_second"] / one["per_second"] for one, two in zip(without, beside, strict=True)]
    if options.json:
        print(json.dumps({"options": vars(options), "without": without, "beside": beside, "ratios": ratios}))
        return
    print(f"{options.fast} fast domains, {options.tarpits} tarpits, {options.each} recipients each")
    for title, runs in (("without tarpits", without), ("beside tarpits", beside)):
        print(f"{title}: {median(runs, 'per_second')} messages/s, {median(runs, 'cpu')} s of the sender's CPU")
    print(f"tarpits: at most {max(run['tarpits_at_once'] for run in beside):.0f} connections at once")
    print(f"beside / without: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
