"""Run after run under load, and nothing that the process holds grows.

One process sends for the whole time, about RATE messages a second at most, to the sandbox's providers with all their
manners: greylisting, full and unknown mailboxes, connections that are cut, lost, closed after a few messages or
refused, mail that is taken and not confirmed, TLS policies, domains whose DNS fails. Each run is a list of its own, and
the auditor looks at each. Ends with a line for each gauge and one for all.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from benchmarks.workload import make_key
from tests.auditor.audit import Audit, audit, objects
from tests.engine.casualties import ROOT, Receiver
from tests.engine.scene import write_campaign
from tests.torture.flatness import Finding, findings, judged
from tests.torture.gauges import Rest, Sample
from tests.torture.rows import Row, folder_on_disk

QUICK = ("gmail.com", "yahoo.com", "icloud.com", "gmx.de", "comcast.net", "orange.fr", "mail.ru")
# One part of these to three of the others: what they say to one recipient slows the whole site.
PROVIDERS = QUICK * 3 + ("outlook.com",)
# Those who take a hundred times less.
SLOW = ("qq.com", "163.com")
RATE = 160
ODD = ("nxdomain", "nullmx", "implicit", "cname", "deadfirst", "greylisting", "flaky", "old", "plain", "sts", "dane")
WORDS = ("cut", "drop", "later", "greylist", "quota", "spam", "slow")
RUN_SECONDS = 240
EXPIRE_SECONDS = 30
SAMPLE_SECONDS = 2.0


@dataclass
class Soak:
    """What was measured, and what is wrong."""

    samples: list[Sample] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def problems(self) -> list[str]:
        wrong = [f"run {number}: {one}" for number, audit in enumerate(self.audits, 1) for one in audit.problems[:5]]
        return wrong + [str(finding) for finding in self.findings if not finding.flat]


def rows_of(run: int, count: int) -> list[str]:
    """Nobody of another run; nine of ten at the providers, the others at domains of their own or odd ones."""
    rows = []
    for number in range(count):
        if number % 100 < 90:
            word = WORDS[number % len(WORDS)] if number % 47 == 0 else "person"
            domain = SLOW[number % 2] if number % 400 < 2 else PROVIDERS[number % len(PROVIDERS)]
            rows.append(f"{word}-{run}-{number}@{domain}")
        elif number % 100 < 98:
            rows.append(f"person-{number}@small-{run}-{number // 500}.test")
        else:
            rows.append(f"person-{number}@{ODD[number // 100 % len(ODD)]}-{run}-{number // 20000}.test")
    return rows


class Sender:
    """The process that is looked at; a context manager."""

    def __init__(self, state: Path, samples: Path, *, seconds: float, hoards: bool) -> None:
        self._command = [sys.executable, "-m", "tests.torture.sustained", str(state), str(samples), f"{seconds:g}"]
        self._command += ["hoard"] if hoards else []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()

    def send(self, campaign: Path) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{campaign}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the sender ended with {self._process.wait(10)}"
        return msgspec.json.decode(line)  # type: ignore[no-any-return]


def soak(
    folder: Path,
    *,
    recipients: int,
    go_on: Callable[[int], bool],
    sample_seconds: float = SAMPLE_SECONDS,
    expire_seconds: int = EXPIRE_SECONDS,
    hoards: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Soak:
    """Runs of `recipients` each while `go_on(runs so far)`; who is not reached in `expire_seconds` is given up."""
    found = Soak()
    state, samples = folder / "state", folder / "samples.ndjson"
    folder.mkdir(parents=True, exist_ok=True)
    samples.touch()
    make_key(folder / "key.pem", "rsa")
    pending: list[Future[tuple[Audit, Counter[str]]]] = []
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver(folder / "receiver", profiles=None))
        (folder / "authority.pem").write_text(receiver.certificate)
        sender = stack.enter_context(Sender(state, samples, seconds=sample_seconds, hoards=hoards))
        auditing = stack.enter_context(ThreadPoolExecutor(1))
        while go_on(len(found.rests)):
            run = len(found.rests) + 1
            here = folder / f"run-{run}"
            answer = sender.send(_campaign(here, receiver, rows_of(run, recipients), folder, expire_seconds))
            found.rests.append(msgspec.convert(answer["rest"], Rest))
            summary = answer["summary"]
            found.outcomes.update({name: summary[name] for name in ("delivered", "bounced", "expired", "suppressed")})
            log = here / "log.ndjson"
            # The receiver appends: what is cut off here is not missed there.
            log.write_bytes(receiver.log.read_bytes())
            os.truncate(receiver.log, 0)
            pending.append(auditing.submit(_audited, here, state / "events" / f"{summary['run']}.ndjson", summary))
            tell(
                f"run {run}: {summary['recipients']:,} recipients, {summary['messages_per_second']:,.0f} a second, "
                f"{found.rests[-1].own_bytes / 2**20:.1f} MiB, {found.rests[-1].descriptors} descriptors, "
                f"{sum(found.rests[-1].objects.values())} objects"
            )
        for one in pending:
            audited, reasons = one.result()
            found.audits.append(audited)
            found.reasons += reasons
    with samples.open("rb") as lines:
        found.samples = [msgspec.json.decode(line, type=Sample) for line in lines]
    found.findings = findings(found.samples, found.rests)
    return found


def _campaign(folder: Path, receiver: Receiver, rows: list[str], shared: Path, expire_seconds: int) -> Path:
    return write_campaign(
        folder,
        rows,
        text="Hello {{ address }}\n\n" + "What you plant today stands in flower before the swallows leave.\n" * 40,
        dkim=[{"domain": "acme.example", "selector": "s1", "key": str(shared / "key.pem")}],
        delivery={
            "route": "mx",
            "port": receiver.port,
            "allow_private_mx": True,
            "retry": ["1s", "2s", "8s"],
            "expire": f"{expire_seconds}s",
        },
        dns={"servers": [receiver.dns]},
        tls={"authorities": str(shared / "authority.pem"), "mta_sts_port": receiver.https_port},
        limits={
            "default": {
                "connections": 10,
                "messages_per_connection": 1000,
                "messages": f"{RATE}/s",
                "connects": "100/s",
            }
        },
    )


def _audited(here: Path, events: Path, summary: dict[str, Any]) -> tuple[Audit, Counter[str]]:
    """What the auditor finds, and how often each reason came; the receiver's log is deleted."""
    log = here / "log.ndjson"
    found = audit(recipients=here / "recipients.csv", log=log, events=events, summary=summary)
    reasons = Counter(str(line["reason"]) for line in objects(events) if line["reason"] is not None)
    log.unlink()
    (here / "recipients.csv").unlink()
    # Names of hundreds of thousands that are of no use any more.
    return Audit(found.problems[:20], found.lost, found.duplicates, found.doubted, found.accepted), reasons


def soak_row(seconds: float) -> Row:
    """Run after run for so long; the last is not cut short."""
    end = time.monotonic() + seconds
    # At least four runs, of which three count.
    length = min(RUN_SECONDS, seconds / 5)
    recipients = max(200, int(length * RATE * len(QUICK)))
    with folder_on_disk() as folder:
        found = soak(
            folder,
            recipients=recipients,
            go_on=lambda runs: runs < 4 or time.monotonic() < end - length / 2,
            sample_seconds=min(SAMPLE_SECONDS, length / 20),
            expire_seconds=int(max(3, min(EXPIRE_SECONDS, length / 8))),
            tell=lambda line: print(f"  {line}", flush=True),
        )
    for finding in found.findings:
        print(f"  {finding}")
    print(f"  reasons: {dict(found.reasons.most_common())}")
    last = found.rests[-1]
    duplicates = {name for one in found.audits for name in one.duplicates}
    doubted = {name for one in found.audits for name in one.doubted}
    first = next(rest for rest in found.rests if rest.run >= judged(len(found.rests)))
    return Row(
        name="soak",
        fault="one process under load, to receivers that defer, bounce, greylist, refuse, cut and close",
        runs=f"{len(found.rests)} runs in {last.seconds / 60:,.0f} minutes",
        lost=sum(len(one.lost) for one in found.audits),
        duplicates=len(duplicates),
        unknown=len(duplicates - doubted),
        doubted=len(doubted),
        note=f"{last.recipients:,} recipients, {last.recipients / last.seconds:,.0f} a second; between runs "
        f"{first.own_bytes / 2**20:.0f} MiB then, {last.own_bytes / 2**20:.0f} MiB at the end, {last.descriptors} "
        f"descriptors, {last.threads} threads; loop kept by its own work for "
        f"{max(one.lag_cpu_seconds for one in found.samples) * 1e3:.0f} ms at most",
        problems=tuple(found.problems),
    )
