"""How soon the listeners answer while a send runs at full rate, and what idle connections cost them.

    python -m benchmarks.listeners [--recipients 300000] [--rate 100] [--seconds 8] [--idle 10000]

A send of unsigned mail to benchmarks.sink runs in one process and `bulkmail serve` over its state directory in another.
This one posts unsubscribes of its recipients and sends bounces of them, each `rate` times a second, over a
connection of its own. Every answer counted means that the suppression is on disk. Then idle connections are
opened, and the listener's memory is read before, with them, and a while later.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.send import SENDER
from benchmarks.workload import write_campaign
from bulkmail.content.identity import Identity
from bulkmail.store.database import Database
from bulkmail.store.directory import DATABASE
from bulkmail.store.keys import read_keys

SETTINGS = """\
bounces: [bounces@sender.example]
limits: {connections: 20000, connections_per_peer: 20000, messages_per_peer: 100000/s}
"""
BOUNCE = (
    "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\nFrom: MAILER-DAEMON@far.example\r\n\r\n"
    "--b\r\nContent-Type: text/plain\r\n\r\nNo such user.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    "Reporting-MTA: dns; far.example\r\n\r\nFinal-Recipient: rfc822; {address}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 User unknown\r\n\r\n--b--\r\n.\r\n"
)


class Sent:
    """Tokens of recipients of the run that is being sent, each once."""

    def __init__(self, state: Path) -> None:
        self._database = Database(state / DATABASE, readonly=True)
        number, created = self._database.row("SELECT number, created FROM run") or (0, 0.0)
        self._issuer = Identity(read_keys(self._database)).issuer(number, created)
        self._places = (
            (chunk, index)
            for chunk, size in self._database.rows("SELECT number, size FROM chunk ORDER BY number")
            for index in range(size)
        )

    def next(self) -> tuple[str, str]:
        pair = self._issuer.tokens(*next(self._places))
        return pair.returning, pair.link


async def post(port: int, link: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b"List-Unsubscribe=One-Click"
    writer.write(
        b"POST /u/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\n%s" % (link.encode(), len(body), body)
    )
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
    writer.close()


async def bounce(port: int, token: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    for line in (
        b"HELO far.example",
        b"MAIL FROM:<>",
        b"RCPT TO:<bounces+%s@sender.example>" % token.encode(),
        b"DATA",
    ):
        writer.write(line + b"\r\n")
        answer = await reader.readline()
        assert answer[:1] in b"23", answer
    writer.write(BOUNCE.format(address="somebody@d0.example").encode())
    answer = await reader.readline()
    assert answer.startswith(b"250"), answer
    writer.close()


async def ask(ports: tuple[int, int], sent: Sent, options: argparse.Namespace) -> dict[str, list[float]]:
    """Milliseconds of each answer, asked at a fixed pace whether the one before was answered or not."""
    took: dict[str, list[float]] = {"one-click": [], "bounce": []}

    async def timed(name: str, due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        token, link = sent.next()
        await (post(ports[1], link) if name == "one-click" else bounce(ports[0], token))
        took[name].append((time.perf_counter() - began) * 1000)

    start = time.perf_counter()
    count = int(options.rate * options.seconds)
    await asyncio.gather(*(timed(name, start + n / options.rate) for n in range(count) for name in took))
    return took


def memory_mib(pid: int) -> float:
    match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def idle(ports: tuple[int, int], pid: int, count: int) -> dict[str, float]:
    before = memory_mib(pid)
    held = []
    for number in range(count):
        connection = socket.socket()
        connection.bind((f"127.0.0.{2 + number % 50}", 0))
        connection.connect(("127.0.0.1", ports[number % 2]))
        held.append(connection)
    time.sleep(1)
    with_them = memory_mib(pid)
    time.sleep(5)
    later = memory_mib(pid)
    for connection in held:
        connection.close()
    return {
        "before_mib": before,
        "with_mib": with_them,
        "later_mib": later,
        "kib_each": (with_them - before) * 1024 / count,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipients", type=int, default=300_000)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--idle", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="listeners") as name:
        folder = Path(name)
        (folder / "serve.yaml").write_text(SETTINGS)
        sink = subprocess.Popen([sys.executable, "-m", "benchmarks.sink"], stdin=-1, stdout=-1, text=True)
        assert sink.stdin is not None and sink.stdout is not None
        campaign = write_campaign(
            folder, recipients=options.recipients, sink=json.loads(sink.stdout.readline()), signing=None
        )
        state = folder / "state"
        sender = subprocess.Popen(
            [sys.executable, "-c", SENDER, str(campaign), str(state), "plain"], stdout=-1, text=True
        )
        command = ["serve", "--config", str(folder / "serve.yaml"), "--state", str(state), "--quiet"]
        while not (state / "journal").exists() or not any((state / "journal").iterdir()):
            time.sleep(0.05)
        serve = subprocess.Popen(
            [sys.executable, "-m", "bulkmail", *command, "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0"],
            stdout=-1,
            text=True,
        )
        try:
            assert serve.stdout is not None
            smtp, http = (int(port) for port in re.findall(r":(\d+)", serve.stdout.readline()))
            time.sleep(1.5)  # some chunks are stored and sent by then
            took = asyncio.run(ask((smtp, http), Sent(state), options))
            still = sender.poll() is None
            result: dict[str, object] = {
                kind: {
                    "answers": len(each),
                    "median_ms": round(statistics.median(each), 1),
                    "p99_ms": round(statistics.quantiles(each, n=100)[98], 1),
                    "max_ms": round(max(each), 1),
                    "within_100_ms": f"{sum(one <= 100 for one in each) / len(each):.2%}",
                }
                for kind, each in took.items()
            }
            result["sending_all_the_while"] = still
            if options.idle:
                result["idle"] = {
                    key: round(value, 1) for key, value in idle((smtp, http), serve.pid, options.idle).items()
                }
            result["load"] = os.getloadavg()[0]
            print(json.dumps(result, indent=1))
            print((sender.communicate()[0] or "").strip())
        finally:
            for process in (serve, sender, sink):
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
