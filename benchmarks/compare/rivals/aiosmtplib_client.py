"""aiosmtplib on uvloop: one client a connection, each sending over and over."""

import asyncio
from collections.abc import Iterator

import aiosmtplib
import uvloop

from benchmarks.compare.rivals.workload import Task, messages, read_task

SENDER = "bounces@sender.example"


async def feed(task: Task, source: Iterator[tuple[str, bytes]]) -> None:
    client = aiosmtplib.SMTP(
        hostname=task.host, port=task.port, use_tls=False, start_tls=task.tls, validate_certs=False, timeout=60
    )
    async with client:
        for recipient, data in source:
            await client.sendmail(SENDER, [recipient], data)


async def main(task: Task) -> None:
    source = messages(task)
    await asyncio.gather(*(feed(task, source) for _ in range(task.connections)))


if __name__ == "__main__":
    uvloop.run(main(read_task()))
