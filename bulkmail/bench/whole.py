"""The whole engine on this machine: rows taken in, and messages sent to a receiver of its own on loopback."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from bulkmail.bench.sample import write_sample
from bulkmail.clock import SystemClock
from bulkmail.compilation import compile_for
from bulkmail.composition import Send
from bulkmail.config.load import load_campaign
from bulkmail.engine.intake import Intake
from bulkmail.engine.sources import file_batches
from bulkmail.engine.statistics import Statistics
from bulkmail.engine.timing import Timing
from bulkmail.errors import InternalError
from bulkmail.events.log import EventLog
from bulkmail.model.campaign import Campaign
from bulkmail.model.cpu import STAGES, CpuSpent
from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppressions
from bulkmail.store.view import StoreView

RECEIVER_ADDRESS = "127.0.0.1"
# Rows are read so many times faster than messages are sent.
ROWS, MESSAGES_A_SECOND = 100_000, 5_000


class Sending(Struct, frozen=True, kw_only=True):
    """An unsigned send with everything on; `stages` are CPU microseconds a message.

    `receiver_us` is the CPU that the receiver on the same machine took of a message.
    """

    messages: int
    per_second: float
    stages: dict[str, float]
    loop_us: float
    receiver_us: float


async def take_in(campaign: Campaign, state: Path, *, stop_at: float | None = None) -> tuple[int, int]:
    """Rows read, and recipients stored; no further than `stop_at` (monotonic seconds)."""
    clock = SystemClock()
    with (
        ThreadPoolExecutor(1) as thread,
        Store.open(state, clock=clock) as store,
        Suppressions.open(state) as suppressions,
    ):
        run = store.create_run(campaign.campaign, content_hash="", recipients_hash="", settings=b"{}")
        program, log = compile_for(campaign), EventLog(store.events_path(run))
        statistics = Statistics(campaign, run.id, now=clock.monotonic())
        suppressions.load()
        intake = Intake(
            store,
            run,
            program,
            suppressions,
            log,
            statistics,
            timing=Timing(campaign, began=0.0),
            clock=clock,
            publish=lambda events: None,
        )
        batches = file_batches(campaign.recipients, program.plain_rules, thread)
        await intake.run(batches, thread, limit=None, stop=lambda: stop_at is not None and clock.monotonic() > stop_at)
        log.close()
        return statistics.rows, sum(statistics.totals.values())


async def measure_intake(folder: Path, *, seconds: float) -> float:
    """Rows a second, from a list of plain rows to chunks on this disk."""
    campaign = load_campaign(str(write_sample(folder, ROWS)))
    began = time.monotonic()
    rows, _ = await take_in(campaign, folder / "intake", stop_at=began + seconds)
    return rows / (time.monotonic() - began)


async def measure_sending(folder: Path, *, seconds: float) -> Sending:
    """Stopped in order when the time is over; what was sent by then is what is counted."""
    async with _receiver() as (ports, counted):
        messages = max(500, round(seconds * MESSAGES_A_SECOND))
        file = write_sample(folder, messages, smtp_port=ports["smtp_port"], dns_server=ports["dns"])
        async with Send(load_campaign(str(file)), folder / "state") as sending:
            timer = asyncio.get_running_loop().call_later(seconds, sending.stop)
            summary = await sending.execute()
            timer.cancel()
    with StoreView.open_readonly(folder / "state") as view:
        spent = view.cpu(1)
    if not summary.delivered or not spent.messages:
        raise InternalError("the receiver on loopback took nothing")
    return Sending(
        messages=summary.delivered,
        per_second=summary.delivered / spent.wall_seconds,
        stages={stage: _each(spent, stage, summary.delivered) for stage in STAGES},
        loop_us=_each(spent, "loop", summary.delivered),
        receiver_us=counted[0]["cpu"] / summary.delivered * 1e6,
    )


def _each(spent: CpuSpent, stage: str, messages: int) -> float:
    return float(getattr(spent, stage)) / messages * 1e6


@asynccontextmanager
async def _receiver() -> AsyncIterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Its ports while it runs; what it counted is appended when it has ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bulkmail.bench.receiver",
        "--address",
        RECEIVER_ADDRESS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    counted: list[dict[str, Any]] = []
    try:
        line = await process.stdout.readline()
        if not line:
            raise InternalError("the receiver on loopback did not start")
        yield json.loads(line), counted
    finally:
        process.stdin.close()
        if (line := await process.stdout.readline()).strip():
            counted.append(json.loads(line))
        await process.wait()
