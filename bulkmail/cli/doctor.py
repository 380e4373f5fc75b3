"""`bulkmail doctor`: what is wrong with a machine, a campaign or the way to one recipient, and what to do about it."""

import asyncio
import ipaddress
import socket
import time
from collections import Counter
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from bulkmail.address import AddressError, comparison_key, parse_address, wire_address
from bulkmail.cli.output import out, print_json, print_paragraph, safe
from bulkmail.cli.places import has_state
from bulkmail.cli.suppress import sentence
from bulkmail.compilation import compile_for
from bulkmail.config.load import load_campaign
from bulkmail.dkim.signing import Signer
from bulkmail.dns.servers import Server, parse_server, system_servers
from bulkmail.doctor import examination
from bulkmail.doctor.examination import Wishes
from bulkmail.doctor.finding import Finding, Level, exit_code, problem
from bulkmail.doctor.lookups import Lookups
from bulkmail.doctor.reputation import named_list, shipped_lists
from bulkmail.doctor.scene import Scene
from bulkmail.errors import CampaignError, StateError
from bulkmail.model.campaign import Campaign, EgressSource
from bulkmail.model.recipient import Recipient
from bulkmail.net.tls import client_context
from bulkmail.outbound import egress_sources
from bulkmail.preflight.rows import rows_of
from bulkmail.preflight.specimen import make_specimen, signer_at_hand
from bulkmail.store.locate import state_for_campaign, state_from_here
from bulkmail.store.suppressions import Suppressions

# A dead DNS server is to be reported, not waited for.
DNS_SECONDS = 3.0
_COLOURS = {Level.PROBLEM: "bold red", Level.UNKNOWN: "magenta", Level.ADVICE: "yellow", Level.FINE: "green"}


class Options(Struct, frozen=True, kw_only=True):
    """The options of the command line."""

    campaign: str | None = None
    state: Path | None = None
    addresses: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    lists: bool = False
    zones: tuple[str, ...] = ()
    rcpt_probe: bool = False
    json: bool = False
    problems_only: bool = False


def doctor(subject: str | None, options: Options) -> int:
    """Examine what is named, print the findings; the exit code. Raises CampaignError for arguments that are wrong."""
    for address in options.addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise CampaignError(f"--address {address} is no IP address", hint="such as --address 192.0.2.10") from None
    recipient, file = _subject(subject, options.campaign)
    campaign = load_campaign(file) if file is not None else None
    directory = _directory(file, options.state)
    findings = examination.machine_findings(directory, now=time.time())
    findings += asyncio.run(examine(campaign, recipient, directory, options))
    print_findings(findings, subject or "this machine", options)
    return exit_code(findings)


def _subject(subject: str | None, campaign: str | None) -> tuple[str | None, str | None]:
    """The recipient in wire form, and the campaign file."""
    if subject is None or "@" not in subject or Path(subject).exists():
        if subject is not None and campaign is not None:
            raise CampaignError(
                f"{subject} is no address", hint="give a recipient with --campaign, or the campaign alone"
            )
        return None, subject or campaign
    try:
        return wire_address(parse_address(subject)), campaign
    except AddressError as error:
        raise CampaignError(f"{subject}: {error}") from None


def _directory(file: str | None, state: Path | None) -> Path | None:
    if file is not None:
        return state_for_campaign(file, state)
    try:
        return state_from_here(Path.cwd(), state)
    except StateError:
        return state


async def examine(
    campaign: Campaign | None, recipient: str | None, directory: Path | None, options: Options
) -> list[Finding]:
    try:
        servers = _servers(campaign)
    except CampaignError as error:
        return [problem("dns.unconfigured", error.message, remedy=error.hint or "mend dns.servers")]
    authorities = campaign.tls.authorities if campaign is not None else None
    try:
        certificates = client_context(verify=True, authorities=authorities)
    except OSError as error:
        what, evidence = "the roots to trust cannot be read", f"{authorities}: {error.strerror or error}"
        remedy = "name a PEM file of certificates in tls.authorities, or take it out for the system's"
        return [problem("tls.authorities", what, evidence, remedy=remedy)]
    seconds = min(DNS_SECONDS, campaign.dns.timeout) if campaign is not None else DNS_SECONDS
    lookups = Lookups(servers, timeout_seconds=seconds)
    scene = Scene(
        campaign=campaign,
        sources=egress_sources(campaign) if campaign is not None else (EgressSource(ehlo=socket.getfqdn()),),
        lookups=lookups,
        certificates=certificates,
        now=time.time(),
        public=options.addresses,
    )
    lists = tuple(named_list(zone) for zone in options.zones) or (shipped_lists() if options.lists else ())
    wishes = Wishes(lists=lists, probes=options.probes, rcpt_probe=options.rcpt_probe)
    try:
        if recipient is not None:
            sender = examination.sender_of(campaign) if campaign is not None else f"postmaster@{scene.sources[0].ehlo}"
            return await examination.examine_one(
                scene, recipient, wishes, suppressed=_suppressed(recipient, campaign, directory), sender=sender
            )
        if campaign is None:
            return await examination.examine_network(scene, wishes)
        return await _examine_campaign(scene, campaign, directory, wishes)
    finally:
        await lookups.close()


async def _examine_campaign(scene: Scene, campaign: Campaign, directory: Path | None, wishes: Wishes) -> list[Finding]:
    findings = []
    signer, sample = Signer(()), None
    try:
        signer, _ = signer_at_hand(campaign, directory or Path())
    except CampaignError as error:
        findings.append(
            problem("dkim.key", "a DKIM key cannot be used", error.message, remedy=error.hint or "mend dkim")
        )
    try:
        first = next((row for row in rows_of(campaign) if isinstance(row, Recipient)), None)
        if first is not None:
            sample = make_specimen(compile_for(campaign), signer, first, now=scene.now).message
    except (CampaignError, AddressError) as error:
        what = error.message if isinstance(error, CampaignError) else str(error)
        findings.append(
            problem("campaign.sample", "no sample message can be made", what, remedy="bulkmail check says more")
        )
    return findings + await examination.examine_campaign(scene, campaign, signer, sample, wishes)


def _servers(campaign: Campaign | None) -> tuple[Server, ...]:
    named = campaign.dns.servers if campaign is not None else ()
    if not named:
        return tuple(system_servers("/etc/resolv.conf", default_port=53))
    return tuple(parse_server(text, default_port=53, path=f"dns.servers[{i}]") for i, text in enumerate(named))


def _suppressed(recipient: str, campaign: Campaign | None, directory: Path | None) -> str | None:
    if directory is None or not has_state(directory):
        return None
    key = comparison_key(parse_address(recipient))
    names = {source.list for source in campaign.recipients} if campaign is not None else {None}
    name_of_campaign = campaign.campaign if campaign is not None else None
    with Suppressions.open(directory, campaign=name_of_campaign) as suppressions:
        for name in sorted(names, key=str):
            entry = suppressions.check(key, name)
            if entry is not None:
                return sentence(entry)
    return None


def print_findings(findings: list[Finding], subject: str, options: Options) -> None:
    """The findings, worst first, or with `json` as one object."""
    counts = Counter(finding.level for finding in findings)
    if options.json:
        shown = {level.value: counts[level] for level in Level}
        print_json(
            {"subject": subject, "ok": not exit_code(findings), **shown, "findings": msgspec.to_builtins(findings)}
        )
        return
    console = out()
    for level in Level:
        for finding in findings:
            if finding.level is level and not (options.problems_only and level is Level.FINE):
                _print_finding(console, finding)
    console.print(f"{safe(subject)}: " + ", ".join(_counted(counts[level], level) for level in Level))


def _print_finding(console: Console, finding: Finding) -> None:
    evidence = f" ({safe(finding.evidence)})" if finding.evidence and finding.level is Level.FINE else ""
    print_paragraph(
        console,
        Text.assemble(
            (f"{finding.level.value:8}", _COLOURS[finding.level]),
            f" {safe(finding.what)}{evidence} ",
            (f"[{finding.id}]", "dim"),
        ),
        hang=9,
    )
    if finding.level is Level.FINE:
        return
    if finding.evidence:
        print_paragraph(console, Text.assemble((" " * 9 + "seen: ", "cyan"), safe(finding.evidence)), hang=15)
    if finding.remedy:
        print_paragraph(console, Text.assemble((" " * 9 + "do: ", "cyan"), safe(finding.remedy)), hang=13)


def _counted(count: int, level: Level) -> str:
    plural = "s" if level is Level.PROBLEM and count != 1 else ""
    return f"{count} {level.value}{plural}"
