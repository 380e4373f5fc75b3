"""Examine DKIM: each key against the DNS, and a sample message verified with dkimpy by the key in the DNS."""

import asyncio

import dkim

from bulkmail.dkim.keys import SigningKey
from bulkmail.dkim.records import published_key_problem
from bulkmail.dkim.signing import Signer
from bulkmail.dns.lookup import Status
from bulkmail.doctor.finding import Finding, advice, fine, problem, unknown
from bulkmail.doctor.scene import Scene


async def examine_signing(scene: Scene, signer: Signer, sample: bytes | None) -> list[Finding]:
    """`sample` is a message of the campaign signed with all keys, None where there is no recipient to make it for."""
    if not signer.keys:
        return [
            problem(
                "dkim.missing",
                "messages are not signed; Gmail, Yahoo and Microsoft ask it of bulk senders",
                "no dkim in the campaign",
                remedy="make a key and add dkim: [{domain, selector, key}]",
            )
        ]
    each = await asyncio.gather(*(_examine(scene, key, index, sample) for index, key in enumerate(signer.keys)))
    return [finding for some in each for finding in some]


async def _examine(scene: Scene, key: SigningKey, index: int, sample: bytes | None) -> list[Finding]:
    name = key.record_name
    publish = f"publish as TXT of {name}: {key.record}"
    found = await scene.lookups.texts(name)
    if found.status is Status.FAILED:
        return [
            unknown(
                "dkim.unknown", f"whether {name} is published could not be seen", found.explanation, remedy="try again"
            )
        ]
    if not found.records:
        return [
            problem(
                "dkim.unpublished", f"{name} is not in the DNS, so nobody can verify", found.explanation, remedy=publish
            )
        ]
    findings = []
    if len(found.records) > 1:
        findings.append(
            advice(
                "dkim.several",
                f"{name} has several TXT records; which one is used is chance",
                f"{len(found.records)} records",
                remedy="leave the one of the key in use",
            )
        )
    problems = [published_key_problem(text.encode("ascii", "replace"), key) for text in found.records]
    if None not in problems:
        return [
            *findings,
            problem(
                "dkim.published", f"the key at {name} does not verify our signatures", str(problems[0]), remedy=publish
            ),
        ]
    if key.weakness is not None:
        findings.append(
            advice("dkim.weak", f"the key of {name} is weak", key.weakness, remedy="make an RSA key of 2048 bits")
        )
    record = found.records[problems.index(None)]
    if sample is not None:
        try:
            good = verified(sample, name, record, index)
        except dkim.NaClNotFoundError:
            findings.append(
                unknown(
                    "dkim.untried",
                    f"the signature of {name} was not verified: for Ed25519, dkimpy needs PyNaCl",
                    remedy="pip install pynacl",
                )
            )
        else:
            if not good:
                findings.append(
                    problem(
                        "dkim.signature",
                        f"dkimpy does not accept a sample signed for {name}",
                        remedy="this is a defect of bulkmail; please report it with the campaign",
                    )
                )
    return findings or [fine("dkim.verified", f"{name} is published" + (", a sample verifies" if sample else ""))]


def verified(message: bytes, name: str, record: str, index: int) -> bool:
    """Whether dkimpy accepts signature `index` of the message with this record alone in the DNS."""

    def find(asked: bytes, timeout: int = 5) -> bytes | None:
        return record.encode("ascii", "replace") if asked.rstrip(b".").decode() == name else None

    try:
        return bool(dkim.DKIM(message, minkey=512).verify(idx=index, dnsfunc=find))
    except dkim.NaClNotFoundError:
        raise
    except dkim.DKIMException:
        return False
