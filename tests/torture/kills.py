"""`python -m tests.torture.kills RECIPIENTS KILLS`: a sender killed again and again, and the auditor at the end.

Prints one line: what was lost, what came twice, and the longest that a new process took until it sent again.
"""

import os
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.auditor.audit import Audit, audit
from tests.engine.casualties import Receiver, finish, start, wait_until
from tests.engine.scene import write_campaign
from tests.torture.rows import folder_on_disk

CONNECTIONS = 20
# One line of the receiver's log, roughly.
LINE_BYTES = 480
EARLY_SHARE = 0.1
PATIENCE_SECONDS = 900.0
RECOVERY_SECONDS = 10.0


@dataclass
class Ordeal:
    """What happened; `recoveries` are, from a process's start to its first message, seconds of CPU and on the wall."""

    audit: Audit = field(default_factory=Audit)
    kills: int = 0
    recoveries: list[tuple[float, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, of its own and the kernel's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def go_through(folder: Path, *, recipients: int, kills: int, seed: int, policy: str = "resend") -> Ordeal:
    """Half of the recipients at one site, the rest spread over 40 domains."""
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
        most_bytes = max(1, 2 * recipients * LINE_BYTES // (kills + 1))
        while True:
            began, logged = time.monotonic(), receiver.bytes_logged
            process = start(campaign, state)
            sends = ordeal.kills and rng.random() >= EARLY_SHARE
            if ordeal.kills < kills and not sends and ordeal.kills:
                due = time.monotonic() + rng.uniform(0.05, 1.0)
                struck = wait_until(process, lambda due=due: time.monotonic() >= due)  # type: ignore[misc]
            else:
                struck = wait_until(
                    process,
                    lambda logged=logged: receiver.bytes_logged > logged,  # type: ignore[misc]
                    seconds=PATIENCE_SECONDS,
                )
                if struck and ordeal.kills:
                    ordeal.recoveries.append((cpu_seconds(process.pid), time.monotonic() - began))
                if struck and ordeal.kills < kills:
                    mark = logged + rng.randrange(1, most_bytes)
                    struck = wait_until(
                        process,
                        lambda mark=mark: receiver.bytes_logged >= mark,  # type: ignore[misc]
                        seconds=PATIENCE_SECONDS,
                    )
            if struck and ordeal.kills < kills:
                process.kill()
                ordeal.kills += 1
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
    return _judged(ordeal)


def _judged(ordeal: Ordeal) -> Ordeal:
    found = ordeal.audit
    ordeal.problems += found.problems[:20]
    extra = sum(found.duplicates.values()) - len(found.duplicates)
    most = ordeal.kills * 41 * CONNECTIONS
    if extra > most:
        ordeal.problems.append(f"{extra} duplicates, more than the {most} that can have been in flight")
    if found.duplicates.keys() - found.doubted:
        ordeal.problems.append(f"{len(found.duplicates.keys() - found.doubted)} duplicates were not in doubt before")
    # On a machine that has other things to do the wall says little.
    if ordeal.recoveries and max(ordeal.recoveries)[0] >= RECOVERY_SECONDS:
        ordeal.problems.append(f"a recovery took {max(ordeal.recoveries)[0]:.1f} s of CPU")
    return ordeal


def tell(recipients: int, ordeal: Ordeal) -> str:
    found = ordeal.audit
    cpu, wall = (
        (sorted(column) for column in zip(*ordeal.recoveries, strict=True)) if ordeal.recoveries else ([0.0], [0.0])
    )
    return (
        f"kill -9: {ordeal.kills} kills over {recipients:,} recipients, {len(found.lost)} lost, "
        f"{len(found.duplicates)} duplicates ({len(found.duplicates.keys() - found.doubted)} not in doubt before), "
        f"{len(found.doubted)} in doubt, sending again after {cpu[len(cpu) // 2]:.1f} s of CPU (median), "
        f"{cpu[-1]:.1f} s at most, {wall[len(wall) // 2]:.1f} s on the wall, {'FAILED' if ordeal.problems else 'ok'}"
    )


def main(recipients: int, kills: int, *, seed: int = 1, policy: str = "resend") -> int:
    with folder_on_disk() as folder:
        ordeal = go_through(folder, recipients=recipients, kills=kills, seed=seed, policy=policy)
    for problem in ordeal.problems:
        print(f"  PROBLEM {problem}")
    print(f"{policy}: {tell(recipients, ordeal)}", flush=True)
    return 1 if ordeal.problems else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
