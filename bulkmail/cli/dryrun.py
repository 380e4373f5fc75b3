"""`bulkmail send --dry-run`: read everything, write nothing, show what would go out."""

import sys
import time
from pathlib import Path

import msgspec

from bulkmail.cli.hints import near
from bulkmail.cli.output import err, out, print_json, safe
from bulkmail.cli.places import has_state
from bulkmail.cli.summary import print_counts
from bulkmail.compilation import compile_for
from bulkmail.config.load import load_campaign
from bulkmail.content.program import Program
from bulkmail.model.campaign import Campaign
from bulkmail.model.delivery import Summary
from bulkmail.preflight.rows import Tally, tally
from bulkmail.preflight.specimen import make_specimen, signer_at_hand
from bulkmail.store.locate import state_for_campaign
from bulkmail.store.suppressions import Suppressions

REJECTIONS = 5


def dry_run(file: str, *, json: bool, state: Path | None, limit: int | None) -> None:
    """Counts of the rows, and the first message as it would be written. Raises CampaignError."""
    campaign = load_campaign(file)
    directory = state_for_campaign(campaign.file, state)
    program = compile_for(campaign)
    signer, unsigned = signer_at_hand(campaign, directory)
    began = time.monotonic()
    found = _tally(campaign, program, directory, limit)
    summary = Summary(
        campaign=campaign.campaign,
        run="",
        state="dry_run",
        recipients=found.rows,
        rejected=found.rejected,
        duplicates=found.duplicates,
        suppressed=found.suppressed,
        deferred=found.accepted,
        seconds=round(time.monotonic() - began, 3),
    )
    if json:
        print_json(msgspec.to_builtins(summary))
        return
    console = out()
    console.print(f"{campaign.campaign}: dry run, nothing is sent or written")
    console.print()
    console.print(f"  {found.accepted:,} would get the message")
    print_counts(console, msgspec.structs.replace(summary, deferred=0), always=())
    for row in found.rejections[:REJECTIONS]:
        console.print(f"    {safe(near(Path(row.source)))}:{row.line}: {safe(row.address)}: {safe(row.reason)}")
    if found.rejected > REJECTIONS:
        console.print(f"    and {found.rejected - REJECTIONS:,} more; `check` shows them")
    if found.first is None:
        return
    specimen = make_specimen(program, signer, found.first, now=time.time())
    if unsigned:
        err().print(unsigned)
    console.print()
    console.print("the first message, byte for byte:")
    console.print()
    sys.stdout.flush()
    sys.stdout.buffer.write(specimen.wire)
    sys.stdout.buffer.flush()


def _tally(campaign: Campaign, program: Program, directory: Path, limit: int | None) -> Tally:
    if not has_state(directory):
        return tally(campaign, program, limit=limit)
    with Suppressions.open_readonly(directory, campaign=campaign.campaign) as suppressions:
        return tally(campaign, program, suppressed=suppressions.contains, limit=limit)
