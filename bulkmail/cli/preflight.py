"""The checks of `check` beyond files and rows: content, DKIM by an independent verifier, and the DNS."""

import asyncio
from collections.abc import Iterator

import dkim

from bulkmail.address import parse_mailbox
from bulkmail.cli.findings import Finding, Level
from bulkmail.cli.specimen import Specimen
from bulkmail.clock import SystemClock
from bulkmail.dkim.records import published_key_problem
from bulkmail.dkim.signing import Signer
from bulkmail.dns.answers import DnsOutcome, TxtAnswer
from bulkmail.dns.resolver import Resolver
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign

# Gmail cuts HTML off beyond this; most receivers refuse messages beyond that.
CLIPPED_BYTES = 102 * 1024
REFUSED_BYTES = 25 * 1024 * 1024


def content_findings(campaign: Campaign, specimen: Specimen | None) -> Iterator[Finding]:
    """What receivers and readers may mind about the message."""
    where = str(campaign.file)
    if campaign.kind == "marketing":
        yield from _unsubscribe_findings(campaign, where)
    if specimen is None:
        return
    for key, sentence in specimen.lacks:
        yield Finding(
            level=Level.WARNING if campaign.delivery.route == "sandbox" else Level.ERROR,
            rule=f"marketing.{'address' if 'postal' in sentence else 'unsubscribe'}",
            where=f"{where}: {key}",
            what=sentence.partition(": ")[0],
            remedy=sentence.partition(": ")[2],
        )
    size = len(specimen.message)
    if size > REFUSED_BYTES:
        yield Finding(
            level=Level.WARNING,
            rule="message.size",
            where=where,
            what=f"the first message has {size:,} bytes; many receivers refuse more than {REFUSED_BYTES:,}",
            remedy="put large files on the web and link to them",
        )
    else:
        yield Finding(level=Level.NOTE, rule="message.size", where="", what=f"the first message has {size:,} bytes")


def _unsubscribe_findings(campaign: Campaign, where: str) -> Iterator[Finding]:
    target = campaign.unsubscribe
    if target is None:
        yield Finding(
            level=Level.WARNING,
            rule="unsubscribe.missing",
            where=where,
            what="a marketing campaign without unsubscribe",
            remedy="Gmail and Yahoo ask bulk senders for one-click unsubscribe (RFC 8058): set unsubscribe.url",
        )
    elif target.url is None or not target.url.startswith("https://"):
        yield Finding(
            level=Level.WARNING,
            rule="unsubscribe.one-click",
            where=where,
            what="unsubscribe has no https url, so there is no one-click unsubscribe (RFC 8058)",
            remedy="set unsubscribe.url to an https address that takes a POST",
        )
    elif "token" not in target.url and "{{" not in target.url:
        yield Finding(
            level=Level.WARNING,
            rule="unsubscribe.anonymous",
            where=where,
            what="unsubscribe.url is the same for everybody, so nobody can be told apart by it",
            remedy="put {{ token }} into it",
        )


def dkim_findings(
    campaign: Campaign, signer: Signer, specimen: Specimen | None, unsigned: str | None
) -> Iterator[Finding]:
    """Whether another implementation accepts our signatures, and whether they are of use for DMARC."""
    where = str(campaign.file)
    if unsigned is not None:
        yield Finding(level=Level.NOTE, rule="dkim.sandbox-key", where=where, what=unsigned)
        return
    if not campaign.dkim:
        yield Finding(
            level=Level.WARNING,
            rule="dkim.missing",
            where=where,
            what="the message is not signed",
            remedy="add dkim: {domain, selector, key}; Gmail, Yahoo and Microsoft ask it of bulk senders",
        )
        return
    sender = parse_mailbox(campaign.from_).address.domain
    if not any(_aligned(sender, key.domain) for key in signer.keys):
        yield Finding(
            level=Level.WARNING,
            rule="dkim.alignment",
            where=where,
            what=f"no key is of the domain of `from`, {sender}, so the signature does not count for DMARC",
            remedy=f"add a key with domain: {sender}",
        )
    for key in signer.keys:
        if key.weakness is not None:
            yield Finding(level=Level.WARNING, rule="dkim.weak", where=where, what=key.weakness)
    if specimen is None:
        return
    records = {f"{name}.".encode(): record.encode() for name, record in signer.records()}
    for index, key in enumerate(signer.keys):
        try:
            good = _verified(specimen.message, records, index)
        except dkim.NaClNotFoundError:
            yield Finding(
                level=Level.NOTE,
                rule="dkim.unverified",
                where=where,
                what=f"the signature of {key.record_name} was not verified: for Ed25519, dkimpy needs PyNaCl",
                remedy="pip install pynacl",
            )
            continue
        if not good:
            yield Finding(
                level=Level.ERROR,
                rule="dkim.signature",
                where=where,
                what=f"dkimpy does not accept the signature of {key.record_name}",
                remedy="this is a defect of bulkmail; please report it with the campaign",
            )


def _verified(message: bytes, records: dict[bytes, bytes], index: int) -> bool:
    def find(name: bytes, timeout: int = 5) -> bytes | None:
        return records.get(name)

    try:
        return bool(dkim.DKIM(message, minkey=512).verify(idx=index, dnsfunc=find))
    except dkim.NaClNotFoundError:
        raise
    except dkim.DKIMException:
        return False


def _aligned(sender: str, signing: str) -> bool:
    """Relaxed alignment (RFC 7489 §3.1.1), without a list of public suffixes: one is the other or above it."""
    return sender == signing or sender.endswith(f".{signing}") or signing.endswith(f".{sender}")


def dns_findings(campaign: Campaign, signer: Signer) -> list[Finding]:
    """Whether the DNS has the public keys; nothing in the sandbox, which publishes them itself."""
    if campaign.delivery.route == "sandbox" or not signer.keys:
        return []
    where = str(campaign.file)
    try:
        answers = asyncio.run(_ask(campaign, [key.record_name for key in signer.keys]))
    except CampaignError as error:
        return [Finding(level=Level.WARNING, rule="dns.unusable", where=where, what=error.message)]
    findings = []
    for key, answer in zip(signer.keys, answers, strict=True):
        publish = f"publish as TXT of {key.record_name}: {key.record}"
        if answer.outcome is DnsOutcome.TEMPORARY:
            findings.append(
                Finding(
                    level=Level.WARNING,
                    rule="dkim.unknown",
                    where=where,
                    what=f"whether {key.record_name} is published could not be found out: {answer.explanation}",
                    remedy="try again, or skip this with --offline",
                )
            )
        elif not answer.texts:
            findings.append(
                Finding(
                    level=Level.ERROR,
                    rule="dkim.unpublished",
                    where=where,
                    what=f"{key.record_name} is not in the DNS, so no receiver can verify the signature",
                    remedy=publish,
                )
            )
        else:
            problems = [published_key_problem(text, key) for text in answer.texts]
            if None not in problems:
                findings.append(
                    Finding(
                        level=Level.ERROR,
                        rule="dkim.published",
                        where=where,
                        what=str(problems[0]),
                        remedy=publish,
                    )
                )
    return findings


async def _ask(campaign: Campaign, names: list[str]) -> list[TxtAnswer]:
    resolver = Resolver(campaign.dns.servers, timeout_seconds=campaign.dns.timeout, clock=SystemClock())
    try:
        return list(await asyncio.gather(*(resolver.txt(name) for name in names)))
    finally:
        await resolver.close()
