"""One seed: a campaign, an internet in bad weather, a sender that is killed and started anew, and the auditor."""

import asyncio
import csv
import hashlib
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import structs

from bulkmail.config.load import load_campaign
from bulkmail.errors import StateError
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Summary
from bulkmail.simulation.disk import Breakage, Disk, copy_state
from bulkmail.simulation.faults import Faults, faults_of
from bulkmail.simulation.internet import Internet, seeded
from bulkmail.simulation.loop import BEGIN_SECONDS, VirtualClock, VirtualLoop, jobs_of, run
from bulkmail.simulation.sending import SimulatedSend, prepare, simulated
from bulkmail.store.suppressions import Suppression, Suppressions
from tests.auditor.audit import Audit, audit
from tests.engine.scene import write_campaign

HOUR = 3600.0
MOST_LIVES = 40
DOMAINS = ("gmail.com", "gmail.com", "outlook.com", "yahoo.com", "gmx.de", "qq.com", "mail.ru", "orange.fr")
ODD = ("nxdomain-1.test", "nullmx-1.test", "implicit-1.test", "cname-1.test", "deadfirst-1.test", "dead-1.test")
ODD += ("greylisting-1.test", "servfail-1.test", "flaky-1.test", "slow-1.test", "old-1.test", "silent-1.test")
WORDS = ("cut", "drop", "later", "greylist", "slow", "quota", "spam")


@dataclass
class Trial:
    """What a seed came to; `digest` is of all that receivers and sender wrote."""

    seed: int
    audit: Audit = field(default_factory=Audit)
    kills: int = 0
    stops: int = 0
    summary: Summary | None = None
    simulated_seconds: float = 0.0
    digest: str = ""
    faults: Faults | None = None
    broke: bool = False

    @property
    def problems(self) -> list[str]:
        return self.audit.problems


@dataclass
class _Life:
    """How one process ended: its summary, or None where it was killed or stopped before the end."""

    summary: Summary | None
    killed: bool


def run_trial(
    seed: int,
    folder: Path,
    *,
    recipients: int = 150,
    power: bool = False,
    synced: bool = False,
    calm: bool = False,
    breakage: tuple[int, int, bool] | None = None,
) -> Trial:
    """Everything in `folder`, which is emptied first.

    With `power`, kills are power failures; `synced` intents. `calm`: nothing goes wrong but the `breakage` (operation,
    error, lasting) of the first process's disk.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = seeded(seed, "trial")
    policy = rng.choice(("resend", "resend", "hold", "assume_delivered"))
    campaign = simulated(load_campaign(write_seeded(folder, rng, recipients, policy)))
    if synced:
        campaign = structs.replace(campaign, delivery=structs.replace(campaign.delivery, intent="synced"))
    clock = VirtualClock()
    faults = faults_of(seed, begin=BEGIN_SECONDS, seconds=rng.choice((60.0, 600.0, 2 * HOUR)), most=0 if calm else 6)
    internet = Internet(folder / "receivers", seed=seed, clock=clock, keep="log", faults=faults)
    trial = Trial(seed, faults=faults)
    defects: list[dict[str, Any]] = []
    state = folder / "state-0"
    prepare(state, rng)
    suppress(state, [f"person{n}@gmail.com" for n in range(0, recipients, 17)], clock)
    kills = 0 if calm else rng.choice((0, 1, 1, 2, 4))
    first = disk = Disk(clock, faults, breakage=None if breakage is None else Breakage(*breakage), remember=power)
    for life in range(1, MOST_LIVES):
        alive = 10 ** rng.uniform(-1.5, 3.5) if trial.kills + trial.stops < kills else None
        after = folder / f"state-{life}"
        try:
            ended = _live(
                campaign, state, after, internet, clock, rng, disk, alive_seconds=alive, power=power, defects=defects
            )
        except StateError:
            # The disk was full, or broken: an operator makes room, or puts in another, and starts it again.
            trial.stops += 1
            disk = Disk(clock, faults, remember=power)
            clock.advance(60.0)
            continue
        if ended.summary is not None and ended.summary.state == "finished":
            trial.summary = ended.summary
            break
        if ended.killed:
            trial.kills += 1
            shutil.rmtree(state)
            state = after
        else:
            trial.stops += 1
        clock.advance(10 ** rng.uniform(-1, 3))
    internet.close()
    trial.broke = first.struck
    trial.simulated_seconds = clock.monotonic() - BEGIN_SECONDS
    if trial.summary is None:
        trial.audit.problems.append(f"not finished after {MOST_LIVES} starts")
        return trial
    events, log = state / "events" / "trial-1.ndjson", folder / "receivers" / "log.ndjson"
    trial.audit = audit(
        recipients=folder / "recipients.csv",
        log=log,
        events=events,
        summary=eight(trial.summary),
        suppressions=export(state, folder / "suppressed.csv"),
        policy=policy,
    )
    # Where the disk has failed, nothing can be recorded any more, and whoever tries is told so.
    trial.audit.problems += [
        f"{context['message']}: {context.get('exception')!r}"
        for context in defects
        if not isinstance(context.get("exception"), StateError)
    ]
    # Events of rows name their file, which lies elsewhere each time.
    told = events.read_bytes().replace(str(folder).encode(), b"")
    trial.digest = hashlib.sha256(told + log.read_bytes()).hexdigest()
    return trial


def write_seeded(folder: Path, rng: random.Random, count: int, policy: str) -> Path:
    """A campaign to many kinds of receivers."""
    rows = [f"person{n}@{rng.choice(DOMAINS)}" for n in range(count * 2 // 3)]
    rows += [f"person{n}@{rng.choice(ODD)}" for n in range(count // 6)]
    rows += [f"{rng.choice(WORDS)}-{n}@{rng.choice(DOMAINS)}" for n in range(count // 15)]
    rows += [f"person{n}@small-{n}.test" for n in range(count // 6)]
    rows += ["nobody", rows[0], rows[1].upper()]
    rng.shuffle(rows)
    return write_campaign(
        folder,
        rows,
        delivery={"route": "mx", "retry": ["2m", "10m", "1h"], "expire": "4h", "in_doubt": policy},
        limits={"default": {"connections": rng.choice((1, 3, 20)), "messages": rng.choice(("1/s", "20/s", "1000/s"))}},
    )


def eight(summary: Summary) -> dict[str, int]:
    """The summary as the auditor reads it."""
    names = ("recipients", "rejected", "duplicates", "suppressed", "delivered", "deferred", "bounced", "expired")
    return {name: getattr(summary, name) for name in (*names, "in_doubt")}


def suppress(state: Path, addresses: list[str], clock: VirtualClock) -> None:
    with Suppressions.open(state, clock=clock) as suppressions:
        suppressions.add_many(
            Suppression(key=one, address=one, reason="manual", source="test", time=clock.time()) for one in addresses
        )


def export(state: Path, path: Path) -> Path:
    with Suppressions.open_readonly(state) as suppressions, path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("address", "reason"))
        writer.writerows((entry.address, entry.reason) for entry in suppressions.export())
    return path


def _live(
    campaign: Campaign,
    state: Path,
    after: Path,
    internet: Internet,
    clock: VirtualClock,
    rng: random.Random,
    disk: Disk,
    *,
    alive_seconds: float | None,
    power: bool,
    defects: list[dict[str, Any]],
) -> _Life:
    """One process, from its start to its end; killed, it leaves `after` instead of `state`."""
    loop = VirtualLoop(clock)
    loop.job_seconds = jobs_of(rng, rng.choice((0.0, 0.01, 0.5)))
    internet.attach(loop)
    loop.set_exception_handler(lambda _, context: defects.append(context))
    gentle = rng.random() < 0.3

    async def live() -> _Life:
        sending = SimulatedSend(
            campaign,
            state,
            internet=internet,
            disk=disk,
            clock=clock,
            rng=rng,
            sweep_seconds=15.0,
        )

        async def send() -> Summary:
            async with sending:
                return await sending.execute()

        task = loop.create_task(send())
        await asyncio.wait([task], timeout=alive_seconds)
        if not task.done() and gentle:
            sending.stop()
            await asyncio.wait([task], timeout=120.0)
        killed = not task.done()
        if killed:
            copy_state(state, after, after_power_failure=disk if power else None)
            internet.sender_died()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        # What had left before arrives still, and is answered to nobody.
        internet.sender_died()
        await asyncio.sleep(30.0)
        internet.hang_up()
        return _Life(None if killed else task.result(), killed=killed)

    return run(loop, live())
