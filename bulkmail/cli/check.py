"""`bulkmail check`: find what is wrong with a campaign before anybody gets mail."""

import time
from collections import Counter
from pathlib import Path

import msgspec

from bulkmail.cli.departure import departure_findings
from bulkmail.cli.findings import Finding, Level, from_error, print_findings
from bulkmail.cli.output import out, print_json
from bulkmail.cli.preflight import content_findings, dkim_findings, dns_findings
from bulkmail.cli.rows import Tally, tally
from bulkmail.cli.specimen import make_specimen, signer_at_hand
from bulkmail.composition import compile_for
from bulkmail.config.load import load_campaign
from bulkmail.config.schema import campaign_schema
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from bulkmail.store.locate import state_for_campaign


def print_schema() -> None:
    """The JSON Schema of campaign files, for editors."""
    print(msgspec.json.format(msgspec.json.encode(campaign_schema()), indent=2).decode())


def check(file: str, *, json: bool, offline: bool) -> int:
    """Print what is found; the exit code, 2 where there are errors."""
    findings: list[Finding] = []
    found = Tally()
    try:
        campaign = load_campaign(file)
    except CampaignError as error:
        findings += from_error(error, "campaign.invalid")
    else:
        found = _look(campaign, findings, offline=offline)
    errors = sum(finding.level is Level.ERROR for finding in findings)
    if json:
        rows = {name: getattr(found, name) for name in ("rows", "accepted", "rejected", "duplicates")}
        print_json({"campaign": file, "ok": not errors, "recipients": rows, "findings": msgspec.to_builtins(findings)})
        return 2 if errors else 0
    console = out()
    print_findings(console, findings)
    if found.rows:
        console.print(
            f"{found.rows:,} rows: {found.accepted:,} would get the message, {found.rejected:,} rejected, "
            f"{found.duplicates:,} duplicates"
        )
    levels = Counter(finding.level for finding in findings)
    counted = ", ".join(f"{levels[level]} {level.value}{'s' * (levels[level] != 1)}" for level in Level)
    console.print(f"{file}: {counted}")
    return 2 if errors else 0


def _look(campaign: Campaign, findings: list[Finding], *, offline: bool) -> Tally:
    """Everything beyond the file itself; one part that fails does not hide the others."""
    directory = state_for_campaign(campaign.file)
    try:
        program = compile_for(campaign)
        found = tally(campaign, program)
    except CampaignError as error:
        findings += from_error(error, "content.invalid")
        return Tally()
    _look_at_rows(campaign, found, findings)
    try:
        signer, unsigned = signer_at_hand(campaign, directory)
    except CampaignError as error:
        findings += from_error(error, "dkim.key")
        return found
    specimen = None
    if found.first is not None:
        specimen = make_specimen(program, signer, found.first, now=time.time())
    findings += content_findings(campaign, specimen)
    findings += dkim_findings(campaign, signer, specimen, unsigned)
    findings += departure_findings(campaign)
    if not offline:
        findings += dns_findings(campaign, signer)
    return found


def _look_at_rows(campaign: Campaign, found: Tally, findings: list[Finding]) -> None:
    if not found.accepted:
        findings.append(
            Finding(
                level=Level.ERROR,
                rule="recipients.none",
                where=str(campaign.file),
                what="no row is left that would get the message",
                remedy="look at the rejected rows below" if found.rejected else "add rows to the recipients",
            )
        )
    findings += [
        Finding(
            level=Level.WARNING,
            rule="recipients.rejected",
            where=f"{row.source}:{row.line}",
            what=f"{row.address}: {row.reason}" if row.address else row.reason,
        )
        for row in found.rejections
    ]
    if found.rejected > len(found.rejections):
        findings.append(
            Finding(
                level=Level.WARNING,
                rule="recipients.rejected",
                where="",
                what=f"and {found.rejected - len(found.rejections):,} more rejected rows",
                remedy="after a send, `bulkmail report --undelivered FILE.csv` has them all",
            )
        )
    if found.duplicates:
        places = ", ".join(f"{Path(row.source).name}:{row.line}" for row in found.repeats[:5])
        findings.append(
            Finding(
                level=Level.NOTE,
                rule="recipients.duplicates",
                where="",
                what=f"{found.duplicates:,} {'row repeats' if found.duplicates == 1 else 'rows repeat'} an address and "
                f"get{'s' * (found.duplicates == 1)} no second message: {places}"
                + (", ..." if found.duplicates > 5 else ""),
            )
        )
