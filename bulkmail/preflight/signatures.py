"""Judge signatures: by an independent verifier, by whom they count for, and whether their keys are published."""

import asyncio
from collections.abc import Iterator

import dkim

from bulkmail.address import parse_mailbox
from bulkmail.dkim.records import published_key_problem
from bulkmail.dkim.signing import Signer
from bulkmail.dns.lookup import TXT, Status
from bulkmail.doctor.lookups import Lookups
from bulkmail.doctor.signing import verified
from bulkmail.model.campaign import Campaign
from bulkmail.preflight.finding import Finding, found
from bulkmail.preflight.rules import Level
from bulkmail.preflight.specimen import Specimen


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
    for index, key in enumerate(signer.keys):
        try:
            good = verified(specimen.message, key.record_name, key.record, index)
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


def _aligned(sender: str, signing: str) -> bool:
    """Relaxed alignment (RFC 7489 §3.1.1), without a list of public suffixes: one is the other or above it."""
    return sender == signing or sender.endswith(f".{signing}") or signing.endswith(f".{sender}")


async def published_findings(campaign: Campaign, signer: Signer, lookups: Lookups) -> list[Finding]:
    """Whether the DNS has the public keys."""
    where = str(campaign.file)
    answers = await asyncio.gather(*(lookups.ask(key.record_name, TXT) for key in signer.keys))
    findings = []
    for key, answer in zip(signer.keys, answers, strict=True):
        publish = f"publish as TXT of {key.record_name}: {key.record}"
        if answer.status is Status.FAILED:
            what = f"whether {key.record_name} is published could not be found out: {answer.explanation}"
            findings.append(found("dkim.unknown", what, where=where, remedy="try again, or skip this with --offline"))
        elif not answer.records:
            what = f"{key.record_name} is not in the DNS, so no receiver can verify the signature"
            findings.append(found("dkim.unpublished", what, where=where, remedy=publish))
        else:
            problems = [published_key_problem(text, key) for text in answer.records]
            if None not in problems:
                findings.append(found("dkim.published", str(problems[0]), where=where, remedy=publish))
    return findings
