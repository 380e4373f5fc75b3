"""`python -m tests.torture.sustained STATE SAMPLES SECONDS [hoard]`: one process that sends run after run, and samples.

Each line of its input is a campaign file, sent as a new run; each is answered with a line: the summary and a Rest.
Samples go to the file SAMPLES, one in SECONDS. With `hoard` it keeps what it should not, so that somebody notices.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bulkmail import Engine
from tests.torture.gauges import Lag, Sample, bytes_in, descriptors, memory, rest, threads

HOARD: dict[int, Any] = {}


async def sample(engine: Engine, run: int, state: Path, path: Path, *, seconds: float, began: float) -> None:
    lag = Lag()
    watching = asyncio.create_task(lag.watch())
    encoder = msgspec.json.Encoder()
    try:
        while True:
            await asyncio.sleep(seconds)
            snapshot = engine.snapshot()
            if snapshot is None:
                continue
            late, computed = lag.take()
            resident, own = memory()
            taken = Sample(
                run=run,
                seconds=time.monotonic() - began,
                rss_bytes=resident,
                own_bytes=own,
                descriptors=descriptors(),
                threads=threads(),
                tasks=len(asyncio.all_tasks()),
                journal_bytes=bytes_in(state / "journal", "*.j"),
                lag_seconds=late,
                lag_cpu_seconds=computed,
                lanes=snapshot.lane_count,
                waiting=sum(lane.waiting for lane in snapshot.lanes),
                messages_per_second=snapshot.rate_per_second,
            )
            with path.open("ab") as file:
                file.write(encoder.encode(taken) + b"\n")
    finally:
        watching.cancel()


async def main(state: Path, samples: Path, seconds: float, *, hoards: bool) -> None:
    began = time.monotonic()
    loop = asyncio.get_running_loop()
    recipients = run = 0
    async with Engine(state, signers=1) as engine:
        while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            run += 1
            sampling = loop.create_task(sample(engine, run, state, samples, seconds=seconds, began=began))
            async for event in engine.send(line, new_run=True):
                if hoards and event.event == "run":
                    HOARD[run] = engine._send
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)
            del sampling
            # What ends with the connections has ended.
            await asyncio.sleep(0.1)
            assert engine.summary is not None
            recipients += engine.summary.recipients
            measured = rest(run, state, began=began, recipients=recipients)
            print(msgspec.json.encode({"summary": engine.summary, "rest": measured}).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), hoards="hoard" in sys.argv))
