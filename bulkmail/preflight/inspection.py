"""The whole inspection of a campaign: every subject in turn, one that fails hides no other."""

import asyncio
import time
from pathlib import Path

from msgspec import Struct, field

from bulkmail.compilation import compile_for
from bulkmail.content.program import Program
from bulkmail.dkim.signing import Signer
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign
from bulkmail.model.recipient import Recipient
from bulkmail.preflight import hygiene, network, sender, volume
from bulkmail.preflight.departure import departure_findings
from bulkmail.preflight.finding import Finding, found, from_error
from bulkmail.preflight.receivers import Met, judged
from bulkmail.preflight.rows import Tally, tally
from bulkmail.preflight.samples import Samples
from bulkmail.preflight.signatures import dkim_findings
from bulkmail.preflight.specimen import make_specimen, signer_at_hand
from bulkmail.preflight.volume import Load
from bulkmail.store.directory import DATABASE
from bulkmail.store.suppressions import Suppressions

SHOWN = 5


class Means(Struct, frozen=True, kw_only=True):
    """What the inspection may use: `offline` asks no DNS; `online` also asks after links and recipients' domains.

    `records` is a file of DNS records that stands for the DNS, `disposable` one of throw-away mailbox providers.
    """

    offline: bool = False
    online: bool = False
    records: Path | None = None
    disposable: Path | None = None


class Inspection(Struct, kw_only=True):
    """All that was found."""

    tally: Tally = field(default_factory=Tally)
    findings: list[Finding] = []
    loads: list[Load] = []
    receivers: list[Met] = []


def inspect(campaign: Campaign, directory: Path, means: Means) -> Inspection:
    """Look at everything beyond the file itself; `directory` is the state directory, which need not exist."""
    result = Inspection()
    findings = result.findings
    try:
        program = compile_for(campaign)
        samples = Samples(campaign, program)
        list_ = hygiene.Hygiene(hygiene.read_domains(means.disposable) if means.disposable is not None else ())
        result.tally = _read(campaign, program, directory, samples, list_)
    except CampaignError as error:
        findings += from_error(error, "content.invalid")
        return result
    findings += _row_findings(campaign, result.tally)
    findings += list_.findings()
    findings += hygiene.suppressed_findings(result.tally.suppressed, result.tally.rows)
    findings += sender.campaign_findings(campaign)
    findings += _unlawful(campaign, program)
    findings += samples.findings()
    findings += departure_findings(campaign)
    findings += _delivery_findings(campaign)
    hosts: dict[str, tuple[tuple[int, str], ...]] = {}
    looked_up = False
    try:
        signer, unsigned = signer_at_hand(campaign, directory)
    except CampaignError as error:
        findings += from_error(error, "dkim.key")
    else:
        specimen = None
        if result.tally.first is not None:
            specimen = make_specimen(program, signer, result.tally.first, now=time.time())
        findings += dkim_findings(campaign, signer, specimen, unsigned)
        if means.records is not None or (not means.offline and campaign.delivery.route != "sandbox"):
            try:
                more, hosts = asyncio.run(_ask(campaign, signer, list_, samples, means))
            except CampaignError as error:
                findings.append(network.unusable(campaign, error))
            else:
                findings += more
                looked_up = True
    result.loads = volume.loads(campaign, list_.domains, hosts)
    findings += volume.volume_findings(campaign, result.loads)
    rules = {finding.rule for finding in findings}
    result.receivers = judged(rules, kind=campaign.kind, looked_up=looked_up)
    return result


def _unlawful(campaign: Campaign, program: Program) -> list[Finding]:
    """What a send to real people refuses."""
    if campaign.delivery.route == "sandbox" or campaign.delivery.allow_private_mx:
        return []
    return [
        found(
            "marketing.address" if "postal" in sentence else "marketing.unsubscribe",
            sentence.partition(": ")[0],
            where=f"{campaign.file}: {key}",
            remedy=sentence.partition(": ")[2],
        )
        for key, sentence in program.lacks
    ]


def _read(campaign: Campaign, program: Program, directory: Path, samples: Samples, list_: hygiene.Hygiene) -> Tally:
    def visit(row: Recipient, key: str) -> None:
        local, _, domain = key.rpartition("@")
        list_.take(row, local, domain)
        samples.take(row)

    if not (directory / DATABASE).is_file():
        return tally(campaign, program, visit=visit)
    with Suppressions.open_readonly(directory) as suppressions:
        return tally(campaign, program, suppressed=suppressions.contains, visit=visit)


async def _ask(
    campaign: Campaign, signer: Signer, list_: hygiene.Hygiene, samples: Samples, means: Means
) -> tuple[list[Finding], dict[str, tuple[tuple[int, str], ...]]]:
    lookups = network.lookups_of(campaign, means.records)
    try:
        findings = await network.origin_findings(campaign, signer, lookups, time.time())
        if not means.online:
            return findings, {}
        hosts = await network.find_hosts(list_.domains, lookups)
        findings += hosts.findings
        findings += await network.fetched_findings(campaign, samples.links, samples.pictures)
        return findings, hosts.by_domain
    finally:
        await lookups.close()


def _row_findings(campaign: Campaign, counts: Tally) -> list[Finding]:
    findings = []
    if not counts.accepted:
        remedy = "look at the rejected rows below" if counts.rejected else "add rows to the recipients"
        what = "no row is left that would get the message"
        findings.append(found("recipients.none", what, where=str(campaign.file), remedy=remedy))
    for name, places in counts.missing.items():
        shown = ", ".join(places[:SHOWN]) + (", ..." if len(places) > SHOWN else "")
        what = f"field {name} is missing in {len(places):,} {'row' if len(places) == 1 else 'rows'}: {shown}"
        remedy = f"fill it in, or print {{{{ {name} | default(...) }}}}"
        findings.append(found("recipients.missing-field", what, where=str(campaign.file), remedy=remedy))
    findings += [
        found(
            "recipients.rejected",
            f"{row.address}: {row.reason}" if row.address else row.reason,
            where=f"{row.source}:{row.line}",
        )
        for row in counts.rejections
    ]
    others = counts.rejected - len(counts.rejections) - sum(map(len, counts.missing.values()))
    if others > 0:
        what = f"and {others:,} more rejected rows"
        remedy = "after a send, `bulkmail report --undelivered FILE.csv` has them all"
        findings.append(found("recipients.rejected", what, remedy=remedy))
    if counts.duplicates:
        repeats = ", ".join(f"{Path(row.source).name}:{row.line}" for row in counts.repeats[:SHOWN])
        one = counts.duplicates == 1
        rows = f"{counts.duplicates:,} {'row repeats' if one else 'rows repeat'} an address"
        what = f"{rows} and get{'s' * one} no second message: {repeats}{', ...' * (counts.duplicates > SHOWN)}"
        findings.append(found("recipients.duplicates", what))
    return findings


def _delivery_findings(campaign: Campaign) -> list[Finding]:
    delivery = campaign.delivery
    if delivery.route == "sandbox":
        return []
    findings, where = [], str(campaign.file)
    if delivery.route == "mx" and delivery.retry[0] < 60:
        what = f"the first retry comes after {delivery.retry[0]:g} s; greylisting asks for minutes"
        findings.append(found("delivery.impatient", what, where=where, remedy="leave delivery.retry out"))
    if delivery.expire < 4 * 3600:
        what = f"a message is given up after {volume.span(float(delivery.expire))}; RFC 5321 says four to five days"
        findings.append(
            found("delivery.expire", what, where=where, remedy="leave delivery.expire out, unless it does not keep")
        )
    return findings
