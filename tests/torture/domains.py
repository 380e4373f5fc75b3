"""Very many domains, and very many recipients at one site: nothing lost, and memory that does not follow the list.

`python -m tests.torture.domains COUNT FOLDER` is the simulated one, in a process of its own whose memory is looked at.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.workload import write_campaign as write_benchmark
from tests.auditor.audit import Audit, audit, objects
from tests.engine.casualties import ROOT, Receiver
from tests.engine.scene import write_campaign
from tests.simulation.playing import play
from tests.simulation.seeds import cheap_folder
from tests.simulation.trial import eight
from tests.torture.gauges import Rest, Sample, memory
from tests.torture.rows import Row, folder_on_disk
from tests.torture.soak import Sender

MEBIBYTE = 1 << 20
CONNECTIONS = 20
# What a process may need more at the end of a list than when a quarter of it was through.
FLAT_BYTES = 8 * MEBIBYTE
FLAT_SHARE = 0.1
# Comes later, when the domains have nothing more to wait for: what is remembered of them is forgotten then.
LATE = "greylist-1@gmail.com"
MOST_LANES = 10
# Of domains that are done with, per domain: their outcomes are in chunks, and nothing else is kept.
DOMAIN_BYTES = 100


def growth_of(samples: Sequence[Sample]) -> float:
    """Bytes that the last quarter of a run has more than the second; 0 where there are too few samples."""
    quarter = len(samples) // 4
    if not quarter:
        return 0.0
    then = statistics.median(one.own_bytes for one in samples[quarter : 2 * quarter])
    return statistics.median(one.own_bytes for one in samples[-quarter:]) - then


def send_once(folder: Path, campaign: Path, *, seconds: float) -> tuple[dict[str, Any], Rest, list[Sample]]:
    """Summary, what is left at the end, and a sample in so many seconds."""
    samples = folder / "samples.ndjson"
    samples.touch()
    with Sender(folder / "state", samples, seconds=seconds, hoards=False) as sender:
        answer = sender.send(campaign)
    lines = samples.read_bytes().splitlines()
    return (
        answer["summary"],
        msgspec.convert(answer["rest"], Rest),
        [msgspec.json.decode(line, type=Sample) for line in lines],
    )


def judged(found: Audit, summary: dict[str, Any], count: int, samples: Sequence[Sample], slack: float) -> list[str]:
    """Broken promises of one send: `slack` is what memory may have grown beyond FLAT_BYTES."""
    problems = list(found.problems[:20])
    if summary["delivered"] != count:
        problems.append(f"{summary['delivered']} of {count} delivered")
    grown = growth_of(samples)
    bound = FLAT_BYTES + slack
    if samples:
        bound += FLAT_SHARE * samples[len(samples) // 2].own_bytes
    if grown > bound:
        problems.append(f"memory grew by {grown / MEBIBYTE:.1f} MiB, more than {bound / MEBIBYTE:.1f}")
    return problems


def domains(count: int, *, seconds: float = 1.0) -> Row:
    """One recipient in each of so many domains, each with mail exchangers of its own, through real sockets and DNS."""
    with folder_on_disk() as folder, ExitStack() as stack:
        receiver = stack.enter_context(Receiver(folder / "receiver"))
        campaign = write_campaign(
            folder,
            "email\n" + "".join(f"r{n}@own-{n}.test\n" for n in range(count)),
            delivery={
                "route": "mx",
                "port": receiver.port,
                "allow_private_mx": True,
                "retry": ["2s"],
                "tls": "none",
            },
            tls={"mta_sts": False},
            dns={"servers": [receiver.dns]},
        )
        summary, rest, samples = send_once(folder, campaign, seconds=seconds)
        stack.close()
        found = audit(
            recipients=folder / "recipients.csv",
            log=receiver.log,
            events=folder / "state" / "events" / f"{summary['run']}.ndjson",
            summary=summary,
        )
    return Row(
        name="domains",
        fault=f"{count:,} domains with exchangers of their own, a recipient each",
        runs="1",
        lost=count - found.accepted,
        duplicates=len(found.duplicates),
        unknown=len(found.duplicates.keys() - found.doubted),
        doubted=len(found.doubted),
        note=figures(rest, samples, count, "domain"),
        problems=tuple(judged(found, summary, count, samples, DOMAIN_BYTES * count)),
    )


def figures(rest: Rest, samples: Sequence[Sample], count: int, unit: str) -> str:
    """What a send needed."""
    most = max((one.own_bytes for one in samples), default=rest.own_bytes)
    lanes = max((one.lanes for one in samples), default=0)
    return (
        f"{rest.cpu_seconds / count * 1e6:,.0f} us of CPU a {unit}, {count / rest.seconds:,.0f} a second, "
        f"{most / MEBIBYTE:.0f} MiB at most, {growth_of(samples) / MEBIBYTE:+.1f} MiB from a quarter of the list to "
        f"its end, {lanes} {'lane' if lanes == 1 else 'lanes'} at most"
    )


def one_site(count: int, *, seconds: float = 1.0) -> Row:
    """So many recipients at one site that allows 20 connections."""
    with folder_on_disk() as folder:
        sink = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sink"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert sink.stdin is not None and sink.stdout is not None
        try:
            campaign = write_benchmark(
                folder,
                recipients=count,
                sink=json.loads(sink.stdout.readline()),
                signing=None,
                connections=CONNECTIONS,
                bytes_wanted=4000,
            )
            summary, rest, samples = send_once(folder, campaign, seconds=seconds)
        finally:
            sink.stdin.close()
            counted = json.loads(sink.stdout.readline())
            sink.stdout.close()
            sink.wait()
        told = Counter(
            line["recipient"]
            for line in objects(folder / "state" / "events" / f"{summary['run']}.ndjson")
            if line["disposition"] == "delivered"
        )
    problems = judged(Audit(), summary, count, samples, 0.0)
    if len(told) != count or max(told.values()) > 1:
        problems.append(f"{len(told)} delivered by the events, one of them {max(told.values(), default=0)} times")
    # No connection was given up, so this is how many were open at once.
    if counted["connections"] > CONNECTIONS:
        problems.append(f"{counted['connections']} connections where {CONNECTIONS} are allowed")
    return Row(
        name="one-site",
        fault=f"{count:,} recipients at one site that allows {CONNECTIONS} connections",
        runs="1",
        lost=max(0, count - counted["messages"]),
        duplicates=max(0, counted["messages"] - count),
        unknown=max(0, counted["messages"] - count),
        note=f"{figures(rest, samples, count, 'message')}, {counted['connections']} connections",
        problems=tuple(problems),
    )


def simulated_domains(count: int) -> Row:
    """The same list as `domains` on a clock of its own, in a process of its own."""
    with cheap_folder() as folder:
        command = [sys.executable, "-m", "tests.torture.domains", str(count), str(folder)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
        measured = json.loads(done.stdout)
        found = audit(
            recipients=folder / "recipients.csv",
            log=folder / "receivers" / "log.ndjson",
            events=folder / "state" / "events" / "trial-1.ndjson",
            summary=measured["summary"],
        )
    problems = list(found.problems[:20])
    if found.accepted != count + 1:
        problems.append(f"{found.accepted} of {count + 1} accepted")
    if measured["lanes"] > MOST_LANES:
        problems.append(f"{measured['lanes']} lanes are remembered at the end")
    return Row(
        name="domains-simulated",
        fault=f"{count:,} domains, simulated",
        runs="1",
        lost=count + 1 - found.accepted,
        duplicates=len(found.duplicates),
        unknown=len(found.duplicates.keys() - found.doubted),
        doubted=len(found.doubted),
        note=f"{measured['cpu'] / count * 1e6:,.0f} us of CPU a domain with its receiver and DNS, lanes remembered at "
        f"the end: {measured['lanes']}, {measured['most_kib'] / 1024:.0f} MiB at most, receivers and list among them",
        problems=tuple(problems),
    )


def simulate(count: int, folder: Path) -> None:
    """Print what it took, as JSON."""
    before = time.process_time()
    played = play(folder, [*(f"r{n}@own-{n}.test" for n in range(count)), LATE], tls={"mta_sts": False})
    print(
        json.dumps(
            {
                "summary": eight(played.summary),
                "cpu": time.process_time() - before,
                "lanes": played.lanes,
                "bytes": memory()[1],
                "most_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            }
        )
    )


if __name__ == "__main__":
    simulate(int(sys.argv[1]), Path(sys.argv[2]))
