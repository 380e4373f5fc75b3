"""A sender killed again and again, or told to stop, and the auditor at the end."""

import random
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct

from tests.auditor.audit import Audit, audit
from tests.engine.casualties import Receiver, finish, start, wait_until
from tests.engine.scene import write_campaign
from tests.torture.rows import Row, folder_on_disk

CONNECTIONS = 20
# One line of the receiver's log, roughly.
LINE_BYTES = 480
EARLY_SHARE = 0.1
PATIENCE_SECONDS = 900.0
RECOVERY_SECONDS = 10.0


class Recovery(Struct, frozen=True, kw_only=True):
    """What a process took from its start until a receiver had its first message.

    `queued_seconds` of the wall's it was ready and other processes had the cores; what is left of them was waiting for
    the disk, for the DNS and the receiver.
    """

    cpu_seconds: float
    wall_seconds: float
    queued_seconds: float

    @property
    def waited_seconds(self) -> float:
        return max(0.0, self.wall_seconds - self.cpu_seconds - self.queued_seconds)


@dataclass
class Ordeal:
    """What happened."""

    audit: Audit = field(default_factory=Audit)
    strikes: int = 0
    recoveries: list[Recovery] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def cores_given(pid: int) -> tuple[float, float]:
    """Seconds for which the threads of a process had a core, and for which its first one was kept waiting for one."""
    used = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        used += int((task / "schedstat").read_text().split()[0]) / 1e9
    return used, int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def go_through(
    folder: Path, *, recipients: int, strikes: int, seed: int, policy: str = "resend", gentle: bool = False
) -> Ordeal:
    """Half of the recipients at one site, the rest spread over 40 domains.

    A strike is SIGKILL; with `gentle`, SIGTERM and SIGINT in turn.
    """
    rng = random.Random(seed)
    ordeal = Ordeal()
    with Receiver(folder / "receiver") as receiver:
        campaign = write_campaign(
            folder,
            "email\n" + "".join(f"r{n}@{'gmail.com' if n % 2 else f'own-{n % 80}.test'}\n" for n in range(recipients)),
            delivery={
                "route": "mx",
                "port": receiver.port,
                "allow_private_mx": True,
                "in_doubt": policy,
                "retry": ["1s"],
                "tls": "none",
            },
            dns={"servers": [receiver.dns]},
            limits={"default": {"connections": CONNECTIONS}},
        )
        state = folder / "state"
        most_bytes = max(1, 2 * recipients * LINE_BYTES // (strikes + 1))
        while True:
            began, logged = time.monotonic(), receiver.bytes_logged
            process = start(campaign, state, cli=gentle)

            def until(condition: Callable[[], bool], process=process) -> bool:  # type: ignore[no-untyped-def]
                return wait_until(process, condition, seconds=PATIENCE_SECONDS)

            early = not gentle and 0 < ordeal.strikes < strikes and rng.random() < EARLY_SHARE
            if early:
                due = began + rng.uniform(0.05, 1.0)
                alive = until(lambda due=due: time.monotonic() >= due)  # type: ignore[misc]
            else:
                alive = until(lambda logged=logged: receiver.bytes_logged > logged)  # type: ignore[misc]
                if alive and ordeal.strikes:
                    used, queued = cores_given(process.pid)
                    ordeal.recoveries.append(
                        Recovery(cpu_seconds=used, wall_seconds=time.monotonic() - began, queued_seconds=queued)
                    )
                if alive and ordeal.strikes < strikes:
                    mark = logged + rng.randrange(1, most_bytes)
                    alive = until(lambda mark=mark: receiver.bytes_logged >= mark)  # type: ignore[misc]
            if alive and ordeal.strikes < strikes:
                if gentle:
                    process.send_signal((signal.SIGTERM, signal.SIGINT)[ordeal.strikes % 2])
                else:
                    process.kill()
                ordeal.strikes += 1
            code, summary = finish(process, seconds=PATIENCE_SECONDS)
            if code == 0:
                break
            # What the dead process had written is taken before the clock of the next one runs.
            time.sleep(0.05)
    ordeal.audit = audit(
        recipients=folder / "recipients.csv",
        log=receiver.log,
        events=state / "events" / "trial-1.ndjson",
        summary=summary,
        policy=policy,
    )
    return _judged(ordeal, gentle=gentle)


def _judged(ordeal: Ordeal, *, gentle: bool) -> Ordeal:
    found = ordeal.audit
    ordeal.problems += found.problems[:20]
    extra = sum(found.duplicates.values()) - len(found.duplicates)
    most = 0 if gentle else ordeal.strikes * 41 * CONNECTIONS
    if extra > most:
        ordeal.problems.append(f"{extra} duplicates, more than the {most} that can have been in flight")
    if found.duplicates.keys() - found.doubted:
        ordeal.problems.append(f"{len(found.duplicates.keys() - found.doubted)} duplicates were not in doubt before")
    if gentle and found.doubted:
        ordeal.problems.append(f"{len(found.doubted)} in doubt after a stop in order")
    # On a machine that has other things to do the wall says little.
    slowest = max((recovery.cpu_seconds for recovery in ordeal.recoveries), default=0.0)
    if slowest >= RECOVERY_SECONDS:
        ordeal.problems.append(f"a recovery took {slowest:.1f} s of CPU")
    return ordeal


def told(recoveries: Sequence[Recovery]) -> str:
    """Medians and the slowest, and what that one waited for."""
    if not recoveries:
        return ""
    cpu = [one.cpu_seconds for one in recoveries]
    wall = [one.wall_seconds for one in recoveries]
    worst = max(recoveries, key=lambda one: one.wall_seconds)
    return (
        f"{statistics.median(cpu):.1f} s of CPU (at most {max(cpu):.1f}), {statistics.median(wall):.1f} s on the wall; "
        f"the slowest {worst.wall_seconds:.1f} s: {worst.cpu_seconds:.1f} at work, {worst.queued_seconds:.1f} without "
        f"a core, {worst.waited_seconds:.1f} for the disk and answers"
    )


def kills(name: str, recipients: int, strikes: int, *, seed: int, policy: str = "resend", gentle: bool = False) -> Row:
    """The row of that name."""
    with folder_on_disk() as folder:
        ordeal = go_through(folder, recipients=recipients, strikes=strikes, seed=seed, policy=policy, gentle=gentle)
    found = ordeal.audit
    blow = "SIGTERM and SIGINT" if gentle else "`kill -9`"
    return Row(
        name=name,
        fault=f"{blow} at any moment, {recipients:,} recipients to a receiver in another process, `{policy}`",
        runs=f"{ordeal.strikes} {'stops' if gentle else 'kills'}",
        lost=len(found.lost),
        duplicates=len(found.duplicates),
        unknown=len(found.duplicates.keys() - found.doubted),
        doubted=len(found.doubted),
        recovery=told(ordeal.recoveries),
        problems=tuple(ordeal.problems),
    )
