"""`bulkmail sandbox`: the small internet in the foreground, for campaigns and other programs to send to."""

import asyncio
import resource
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import uvloop
from rich.live import Live
from rich.text import Text

from bulkmail.cli.output import err, out, shortened
from bulkmail.sandbox.counts import Statistics
from bulkmail.sandbox.profiles import load_profiles
from bulkmail.sandbox.sandbox import Sandbox

LOOK_SECONDS = 0.5
LINE_SECONDS = 10.0

SNIPPET = """\
delivery:
  route: mx
  port: {port}
  allow_private_mx: true
dns:
  servers: ["{dns}"]
"""


def run_sandbox(
    folder: Path | None,
    *,
    seed: int,
    keep: Literal["none", "log", "maildir"],
    profiles: Path | None,
    smtp_port: int,
    dns_port: int,
) -> None:
    """Until SIGINT or SIGTERM. Raises CampaignError for bad profiles, StateError where ports cannot be had."""
    _allow_many_files()
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bulkmail-sandbox-")))
        sandbox = Sandbox(place, seed=seed, keep=keep, profiles=profiles, smtp_port=smtp_port, dns_port=dns_port)
        uvloop.run(_run(sandbox, profiles, temporary=folder is None))


async def _run(sandbox: Sandbox, profiles: Path | None, *, temporary: bool) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with sandbox:
        _introduce(sandbox, profiles, temporary=temporary)
        await _show(sandbox, ended)


def _introduce(sandbox: Sandbox, profiles: Path | None, *, temporary: bool) -> None:
    console = out()
    console.print(Text("the sandbox is running; Ctrl-C ends it", "bold"))
    console.print()
    console.print(f"  DNS server   {sandbox.dns_server}")
    console.print(f"  SMTP         port {sandbox.smtp_port} of the addresses in 127.10.0.0/16 that its DNS names")
    if sandbox.keep == "maildir":
        console.print(f"  mail         {sandbox.maildir}{' (removed at the end; keep it with --folder)' * temporary}")
    if sandbox.keep != "none":
        console.print(f"  log          {sandbox.log_path}")
    console.print()
    console.print("  receivers")
    groups = load_profiles(profiles).group
    width = max(len(name) for name in groups)
    for name, group in groups.items():
        whose = ", ".join(group.domains[:4]) + (", ..." if len(group.domains) > 4 else "")
        share = f"{group.share:.1%} of all other domains" if group.share else ""
        word = f"domains that begin with {group.word}" if group.word else ""
        line = f"    {name:<{width}}  {'; '.join(filter(None, (whose, share, word)))}"
        console.print(shortened(line, console.width))
    console.print()
    console.print("  in a campaign")
    for line in SNIPPET.format(port=sandbox.smtp_port, dns=sandbox.dns_server).splitlines():
        console.print(f"    {line}")
    console.print()


async def _show(sandbox: Sandbox, ended: asyncio.Event) -> None:
    """A line of statistics: in place on a terminal, now and then elsewhere."""
    console = err()
    if not console.is_terminal or console.is_dumb_terminal:
        before = None
        while not await _wait(ended, LINE_SECONDS):
            now = await sandbox.statistics()
            if now != before:
                console.print(_line(now))
            before = now
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            live.update(Text(shortened(_line(await sandbox.statistics()), console.width)), refresh=True)
            if await _wait(ended, LOOK_SECONDS):
                return


async def _wait(ended: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _line(statistics: Statistics) -> str:
    refused = sum(statistics.refused.values())
    return (
        f"{statistics.accepted:,} messages accepted, {refused:,} refusals, {statistics.connections:,} connections"
        f" ({statistics.connections_refused:,} turned away), {statistics.bytes / 1e6:,.1f} MB,"
        f" {statistics.dns_queries:,} DNS queries"
    )


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
