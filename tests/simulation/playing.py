"""One send from beginning to end in the simulation, and when what happened."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import structs

from bulkmail.config.load import load_campaign
from bulkmail.engine.options import NodeOptions
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Event, Summary
from bulkmail.sandbox.profiles import OPEN_HOUSE, Profiles
from bulkmail.simulation.disk import Disk
from bulkmail.simulation.faults import NO_FAULTS, Faults
from bulkmail.simulation.internet import Internet, seeded
from bulkmail.simulation.loop import VirtualClock, VirtualLoop, run
from bulkmail.simulation.sending import SimulatedSend, simulated
from tests.engine.scene import write_campaign

REAL = {"route": "mx", "retry": ["5m", "30m", "2h", "4h"], "expire": "48h"}


class SmallSend(SimulatedSend):
    """With so many connections altogether."""

    connections = 1000

    def _node_options(self, campaign: Campaign) -> NodeOptions:
        return structs.replace(super()._node_options(campaign), connections=self.connections)


@dataclass
class Played:
    """`delivered` has the seconds after the beginning by address; `lanes` are those remembered at the end."""

    summary: Summary
    internet: Internet
    delivered: dict[str, float] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    lanes: int = 0

    def seconds_until(self, share: float, only: Callable[[str], bool] = lambda address: True) -> float:
        """When this share of the delivered ones was."""
        times = sorted(seconds for address, seconds in self.delivered.items() if only(address))
        return times[max(0, int(share * len(times)) - 1)]


def play(
    folder: Path,
    rows: list[str],
    *,
    connections: int = 1000,
    faults: Faults = NO_FAULTS,
    profiles: Path | None = OPEN_HOUSE,
    change: Callable[[Profiles], Profiles] = lambda profiles: profiles,
    act: Callable[[VirtualClock], Any] | None = None,
    disk_seconds: float = 0.0,
    kind: type[SmallSend] = SmallSend,
    **changes: Any,
) -> Played:
    """Send; `act` is called on the loop when it begins, to call things later; threads take `disk_seconds` a job."""
    changes.setdefault("delivery", REAL)
    campaign = simulated(load_campaign(write_campaign(folder, rows, **changes)))
    clock = VirtualClock()
    internet = Internet(
        folder / "receivers", seed=1, clock=clock, keep="log", profiles=profiles, faults=faults, change=change
    )
    loop = VirtualLoop(clock)
    loop.job_seconds = lambda function: disk_seconds
    internet.attach(loop)

    async def send() -> Played:
        sending = kind(
            campaign, folder / "state", internet=internet, disk=Disk(clock), clock=clock, rng=seeded(1, "play")
        )
        sending.connections = connections
        async with sending:
            if act is not None:
                act(clock)
            began, events, delivered = clock.monotonic(), [], {}

            def hear(heard: Any) -> None:
                events.extend(heard)
                for event in heard:
                    if event.event == "attempt" and event.disposition == "delivered":
                        delivered[event.recipient] = clock.monotonic() - began

            sending.subscribe(hear)
            summary = await sending.execute()
            # Idle sites are forgotten within seconds, where nothing was learned of them.
            snapshot = sending.snapshot()
            assert snapshot is not None
            played = Played(summary, internet, delivered, events, lanes=snapshot.lane_count)
        await asyncio.sleep(0)
        return played

    try:
        return run(loop, send())
    finally:
        internet.ledger.close()
