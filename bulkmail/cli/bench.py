"""`bulkmail bench`: what this machine can send, and what keeps it from more; nobody gets mail."""

import asyncio
import os
import tempfile
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct
from rich.text import Text

from bulkmail.bench.composing import RSA, Composing, kind_of, measure_composing
from bulkmail.bench.disk import Disk, measure_disk
from bulkmail.bench.lanes import MESSAGE_SECONDS, Lanes, measure_lanes
from bulkmail.bench.sample import write_sample
from bulkmail.bench.verdict import Verdict, judge
from bulkmail.bench.whole import Sending, measure_intake, measure_sending
from bulkmail.cli.hints import near
from bulkmail.cli.output import PlainConsole, err, out, print_json, print_paragraph, span, table
from bulkmail.compilation import compile_for
from bulkmail.config.load import load_campaign
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from bulkmail.preflight.specimen import signer_at_hand
from bulkmail.store.locate import state_for_campaign, state_from_here

SITES = 10
EIGHT = ", eight at once"
# How the time is shared out; starting processes and compiling take some of the rest.
COMPOSING, INTAKE, SENDING, DISK, LANES = 0.25, 0.1, 0.25, 0.1, 0.2


class Bench(Struct, frozen=True, kw_only=True):
    """All figures; `key` is the kind of key that messages are signed with, `signers` the threads that do."""

    cores: int
    signers: int
    key: str
    intake_rows_per_second: float
    composing: list[Composing]
    sending: Sending
    disk: Disk
    lanes: Lanes | None
    verdict: Verdict


def bench(file: str | None, *, seconds: float, json: bool, state: Path | None, signers: int | None) -> None:
    """Measure, and print. Raises CampaignError and StateError."""
    campaign = None if file is None else load_campaign(file)
    directory = _directory(campaign, state)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = uvloop.run(
        _measure(campaign, directory, seconds, cores=cores, signers=signers or max(1, (os.cpu_count() or 2) - 1))
    )
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        _print(out(), found)


def _directory(campaign: Campaign | None, state: Path | None) -> Path:
    if campaign is not None:
        return state_for_campaign(campaign.file, state)
    if state is not None:
        return state.absolute()
    try:
        return state_from_here(Path.cwd())
    except CampaignError:
        # There is none yet: one would be made about here.
        return Path.cwd()


async def _measure(campaign: Campaign | None, directory: Path, seconds: float, *, cores: int, signers: int) -> Bench:
    with tempfile.TemporaryDirectory(prefix="bulkmail-bench-") as name:
        folder = Path(name)
        measured = campaign or load_campaign(str(write_sample(folder, 100)))
        program = compile_for(measured)
        key = RSA
        if campaign is not None:
            signer, missing = signer_at_hand(campaign, directory)
            # What the sandbox makes with the first send is RSA.
            key = kind_of(signer) if missing is None else RSA
        _say("composing and signing")
        composed = await asyncio.to_thread(measure_composing, measured, program, seconds=seconds * COMPOSING)
        lanes = None
        if campaign is not None:
            _say("the list, and the sites of its domains")
            lanes = await measure_lanes(campaign, program, seconds=seconds * LANES)
        _say("the disk")
        disk = await asyncio.to_thread(measure_disk, directory, seconds=seconds * DISK)
        _say("intake")
        rows = await measure_intake(folder, seconds=seconds * INTAKE)
        _say("sending to a receiver on this machine")
        sending = await measure_sending(folder, seconds=seconds * SENDING)
    return Bench(
        cores=cores,
        signers=signers,
        key=key,
        intake_rows_per_second=rows,
        composing=composed,
        sending=sending,
        disk=disk,
        lanes=lanes,
        verdict=judge(key, composed, sending, disk, lanes, threads=signers, cores=cores),
    )


def _say(what: str) -> None:
    err().print(Text(f"measuring {what}", "dim"))


def _print(console: PlainConsole, found: Bench) -> None:
    signers = f"{found.signers} signing {'thread' if found.signers == 1 else 'threads'}"
    console.print(f"{found.cores} {'core' if found.cores == 1 else 'cores'}, {signers}; nobody gets mail by this")
    console.print()
    console.print(f"  intake    {found.intake_rows_per_second:,.0f} rows/s")
    sending = found.sending
    others = sum(sending.stages.values()) - sending.loop_us - sending.stages["composing"]
    console.print(f"  sending   {sending.per_second:,.0f} messages/s, unsigned, to a receiver on this machine")
    console.print(
        f"            CPU us a message: loop {sending.loop_us:,.0f}, composing {sending.stages['composing']:,.0f}, "
        f"others {others:,.0f}; the receiver {sending.receiver_us:,.0f}"
    )
    disk = found.disk
    console.print(
        f"  disk      {disk.sync_ms:,.2f} ms a sync (1 in 100 over {disk.slowest_sync_ms:,.1f} ms), "
        f"{disk.records_per_second:,.0f} journal records/s"
    )
    console.print(f"            in {near(Path(disk.folder))}")
    _print_names(console, found.lanes)
    console.print()
    rows = [
        (one.key + EIGHT * one.turbo, *(f"{value:,.{digits}f}" for value, digits in _figures(one)))
        for one in found.composing
        if not one.unavailable
    ]
    head = ("a thread composes and signs", "composing us", "signing us", "messages/s")
    console.print(table(head, rows, columns=console.width, numbers=(1, 2, 3)))
    for why in dict.fromkeys(one.unavailable for one in found.composing if one.unavailable):
        without = [one.key + EIGHT * one.turbo for one in found.composing if one.unavailable == why]
        print_paragraph(console, Text(f"  {'; '.join(without)}: {why}", "dim"))
    _print_sites(console, found.lanes)
    console.print()
    verdict = found.verdict
    if verdict.second_process:
        more = f"`send --nodes 2` would pay, with {verdict.second_node:.1f} times as many"
    else:
        more = "a second node would not pay"
    console.print(f"  at that pace the event loop needs {verdict.loop_share:.0%} of a core: {more}")
    console.print(Text(verdict.sentence, "bold"))


def _figures(one: Composing) -> tuple[tuple[float, int], ...]:
    """With the decimals to show."""
    return (one.composing_us, 1), (one.signing_us, 1), (one.per_second, 0)


def _print_names(console: PlainConsole, lanes: Lanes | None) -> None:
    if lanes is None:
        console.print("  DNS       not asked: name a campaign, and the domains of its list are looked up")
    elif lanes.names is None:
        console.print("  DNS       not asked: this campaign needs none of its own")
    else:
        names = lanes.names
        domains = f"{names.asked:,} {'domain' if names.asked == 1 else 'domains'}"
        console.print(
            f"  DNS       {names.per_second:,.0f} answers/s ({domains}, {names.answer_ms:,.1f} ms each"
            + (f"; {names.failed:,} without a way in" if names.failed else "")
            + ")"
        )


def _print_sites(console: PlainConsole, lanes: Lanes | None) -> None:
    if lanes is None:
        return
    console.print()
    counted = f"{lanes.recipients:,} recipients" + ("" if lanes.whole else ", as far as the time went; there are more")
    console.print(f"  {counted}")
    if lanes.sites:
        rows = [
            (one.site, f"{one.recipients:,}", f"{one.per_second:,.0f}", span(one.seconds), one.limit)
            for one in lanes.sites[:SITES]
        ]
        head = ("site", "recipients", "at most/s", "takes", "by")
        console.print(table(head, rows, columns=console.width, numbers=(1, 2, 3)))
        if len(lanes.sites) > SITES:
            console.print(Text(f"  and {len(lanes.sites) - SITES:,} sites that take less", "dim"))
        console.print(Text(f"  where a message holds its connection for {MESSAGE_SECONDS:g} s", "dim"))
    if lanes.unknown and lanes.names is not None:
        console.print(Text(f"  {lanes.unknown:,} recipients at domains that were not found, or not asked for", "dim"))
