"""What the number of sites costs: CPU a message of the sender, the same messages over the same number of connections.

    python -m benchmarks.sites [--sites 1 100 1000 10000] [--each 10 40] [--connections 2000] [--shared] [--mixed]
                               [--waiting 0] [--runs 3] [--json]

Each row sends `--each` messages over each of `--connections` connections: with one site all of these are to it, with
as many sites as connections each is to another, with more there are as many connections as sites. So what differs
between rows is what a site costs (three DNS questions, a lane, an exchange, a pool), and what the number of them costs
beyond that. With two numbers of messages for each connection, "a further one" is the difference of the CPU divided by
that of the messages: what a message costs where sites, connections and starting are paid for already. `--shared` gives
the domains of a row one mail exchanger, so that they differ in their names alone: what a domain costs. `--waiting` puts
so many recipients more into the store, a hundred in a chunk, who are not due. The receiver is on every address of
127/8; it and the DNS are processes of their own. CPU is that of all stages but intake.
"""

import argparse
import asyncio
import json
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import inet_aton
from typing import Any, cast

import dns.rdatatype
import uvloop

from benchmarks.send import SENDER
from bulkmail.bench.receiver import Sink
from bulkmail.model.cpu import STAGES
from bulkmail.store.view import StoreView

HEADER_BYTES, TO_QUESTION = 12, b"\xc0\x0c"  # RFC 1035 §4.1.1, §4.1.4
SITE_BITS = 20
NOT_WAITING = SENDER.replace("turbo=", "wait=False, turbo=")
WAITING_TOGETHER = 100


class Names(asyncio.DatagramProtocol):
    """`d7` has the mail exchanger `mx.d7`, or with `shared` all have one; each has an address of its own."""

    questions = 0

    def __init__(self, shared: bool) -> None:
        self._shared = shared

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        # By hand: a library would make this process what is measured.
        Names.questions += 1
        end = data.index(b"\0", HEADER_BYTES) + 1
        question, kind = data[HEADER_BYTES : end + 4], int.from_bytes(data[end : end + 2], "big")
        record = b""
        if kind == dns.rdatatype.MX:
            record = b"\0\x0a\x02mx" + (b"\x06shared\x07example\0" if self._shared else TO_QUESTION)
        elif kind == dns.rdatatype.A:
            record = inet_aton("127.9.9.1") if self._shared else address_of(question)
        answer = data[:2] + b"\x81\x80\0\1" + (b"\0\1" if record else b"\0\0") + b"\0\0\0\0" + question
        if record:
            answer += TO_QUESTION + question[-4:] + b"\0\0\x0e\x10" + len(record).to_bytes(2, "big") + record
        self.transport.sendto(answer, peer)


def address_of(question: bytes) -> bytes:
    """Of `mx.d7.example`: 127.16.0.7."""
    first = question[0] + 1
    number = int(question[first + 2 : first + 1 + question[first]])
    return (127 << 24 | 1 << SITE_BITS | number).to_bytes(4, "big")


async def serve(kind: str) -> None:
    """The receiver, or the DNS: a line with its port, then what it has counted."""
    loop = asyncio.get_running_loop()
    if kind == "sink":
        server = await loop.create_server(Sink, "0.0.0.0", 0, backlog=4096)
        port = server.sockets[0].getsockname()[1]
    else:
        names, _ = await loop.create_datagram_endpoint(lambda: Names(kind == "shared"), local_addr=("127.0.0.1", 0))
        port = names.get_extra_info("sockname")[1]
    print(json.dumps({"port": port}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    used = resource.getrusage(resource.RUSAGE_SELF)
    counted = {"messages": Sink.messages, "connections": Sink.connections, "questions": Names.questions}
    print(json.dumps(counted | {"cpu": used.ru_utime + used.ru_stime}), flush=True)


def later(minutes: int) -> str:
    """So long after a hundred years from now."""
    return (datetime(2126, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)).isoformat()


class Server:
    """One of the processes beside the sender."""

    def __init__(self, kind: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sites", "--serve", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._said()["port"])

    def _said(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return cast(dict[str, Any], json.loads(self._process.stdout.readline()))

    def end(self) -> dict[str, Any]:
        """What it has counted."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        last = self._said()
        self._process.stdout.close()
        self._process.wait()
        return last


def write(
    folder: Path, sites: int, messages: int, each: int, options: argparse.Namespace, smtp: int, names: int
) -> Path:
    """The list, its domains in turn or one after the other, and the campaign."""
    share = messages // sites
    with (folder / "list.csv").open("w") as file:
        file.write("email,due\n" if options.waiting else "email\n")
        for number in range(messages):
            domain = number % sites if options.mixed else number // share
            file.write(f"reader.{number:07d}@d{domain}.example{',' * bool(options.waiting)}\n")
        for number in range(options.waiting):
            # Few to a chunk, as they are left over from many: each minute's are in chunks of their own.
            file.write(f"later.{number:07d}@d{number % sites}.example,{later(number // WAITING_TOGETHER)}\n")
    (folder / "body.txt").write_text("Hello {{ address }}\n" + "Sow thinly, water once.\n" * 80)
    path = folder / "campaign.yaml"
    at_once = max(1, options.connections // sites)
    path.write_text(
        f"""campaign: sites
kind: transactional
from: "Garden <news@sender.example>"
subject: "Seeds"
content: {{text: body.txt}}
recipients: [{{file: list.csv}}]
{"send_at: due" if options.waiting else ""}
delivery: {{route: mx, port: {smtp}, allow_private_mx: true, tls: none}}
dns: {{servers: ["127.0.0.1:{names}"]}}
limits:
  default: {{connections: {at_once}, messages_per_connection: {each}, messages: 1000000/s, connects: 100000/s}}
"""
    )
    return path


def run_once(sites: int, each: int, options: argparse.Namespace) -> dict[str, float]:
    """CPU microseconds a message, by stage, and what it took."""
    connections = max(sites, options.connections)
    messages = connections * each
    with tempfile.TemporaryDirectory(prefix="bulkmail-sites-") as name:
        folder = Path(name)
        sink, names = Server("sink"), Server("shared" if options.shared else "own")
        try:
            campaign = write(folder, sites, messages, each, options, sink.port, names.port)
            sender = subprocess.run(
                [
                    *options.wrap,
                    sys.executable,
                    "-c",
                    NOT_WAITING,
                    str(campaign),
                    str(folder / "state"),
                    "plain",
                ],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            result: dict[str, float] = json.loads(sender.stdout.splitlines()[-1])
            with StoreView.open_readonly(folder / "state") as view:
                spent = view.cpu(1)
        finally:
            received, asked = sink.end(), names.end()
    if result["delivered"] != messages or received["messages"] != messages:
        raise SystemExit(f"not all was delivered: {result}, the receiver counted {received}")
    stages = {stage: spent.microseconds(stage) for stage in STAGES}
    return {
        **stages,
        # Rows of those who wait are read, too.
        "cpu_us": sum(stages.values()) - stages["intake"],
        "seconds": result["seconds"],
        "peak_kib": result["peak_kib"],
        "messages": messages,
        "connections": received["connections"],
        "questions": asked["questions"],
        "sink_cpu_us": received["cpu"] / messages * 1e6,
        "per_second": messages / result["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="what the number of sites costs")
    parser.add_argument("--sites", type=int, nargs="+", default=[1, 100, 1000, 10_000])
    parser.add_argument("--each", type=int, nargs="+", default=[10, 40], help="messages a connection")
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--shared", action="store_true", help="one mail exchanger for all domains")
    parser.add_argument("--mixed", action="store_true", help="a list with its domains in turn, not one after the other")
    parser.add_argument("--waiting", type=int, default=0, help="recipients besides, who are due in a hundred years")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--wrap", default="", type=shlex.split, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve))
        return
    rows = [(sites, each) for sites in options.sites for each in options.each]
    results: dict[tuple[int, int], list[dict[str, float]]] = {row: [] for row in rows}
    for _ in range(options.runs):
        for row, runs in results.items():
            runs.append(run_once(*row, options))
    if options.json:
        print(json.dumps({"options": vars(options), "results": [[*row, runs] for row, runs in results.items()]}))
        return
    print(f"{'domains of one site' if options.shared else 'a site each'}; CPU us a message")
    print(
        "domains messages connections questions | CPU (range) | a further one (range) | loop | store | messages/s | MiB"
    )
    for (sites, each), runs in results.items():
        of = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        low, high = min(run["cpu_us"] for run in runs), max(run["cpu_us"] for run in runs)
        further = ""
        if each != options.each[0]:
            costs = [further_us(few, many) for few, many in zip(results[sites, options.each[0]], runs, strict=True)]
            further = f"{statistics.median(costs):.1f} ({min(costs):.1f} to {max(costs):.1f})"
        print(
            f"{sites:>7} {of['messages']:>8.0f} {of['connections']:>11.0f} {of['questions']:>9.0f} |"
            f" {of['cpu_us']:>8.1f} ({low:.1f} to {high:.1f}) | {further:>19} | {of['loop']:.1f} | {of['store']:.1f} |"
            f" {of['per_second']:,.0f} | {of['peak_kib'] / 1024:.0f}"
        )


def further_us(few: dict[str, float], many: dict[str, float]) -> float:
    """What each message costs by which one run had more than another."""
    more = many["messages"] - few["messages"]
    return (many["cpu_us"] * many["messages"] - few["cpu_us"] * few["messages"]) / more


if __name__ == "__main__":
    main()
