"""Ask block lists about addresses and domains, and believe only lists that pass their own test (RFC 5782)."""

import asyncio
import ipaddress
import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
from msgspec import Struct

from bulkmail.dns.lookup import A, Status
from bulkmail.doctor.finding import Finding, fine, problem, unknown
from bulkmail.doctor.scene import Scene

# Lists of both kinds say with these that they refuse to answer, not that something is listed.
_REFUSALS = {
    "127.255.255.252": "the name of the list is misspelt",
    "127.255.255.254": "it does not answer public resolvers",
    "127.255.255.255": "too many questions came from this resolver",
}


class BlockList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`test` is always listed (RFC 5782 §5 for lists of addresses)."""

    zone: str
    name: str
    kind: Literal["address", "domain"] = "address"
    delist: str = ""
    codes: dict[str, str] = {}
    test: str = "127.0.0.2"


class _Lists(Struct, frozen=True, forbid_unknown_fields=True):
    list: tuple[BlockList, ...]


@cache
def shipped_lists() -> tuple[BlockList, ...]:
    """`lists.toml`, read once."""
    text = files(__package__).joinpath("lists.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), _Lists).list


def named_list(zone: str) -> BlockList:
    """The list of a zone, a shipped one or one of which nothing else is known."""
    return next((one for one in shipped_lists() if one.zone == zone), BlockList(zone=zone, name=zone))


async def examine_reputation(
    scene: Scene, lists: tuple[BlockList, ...], *, addresses: tuple[str, ...], domains: tuple[str, ...]
) -> list[Finding]:
    each = await asyncio.gather(
        *(_examine(scene, one, addresses if one.kind == "address" else domains) for one in lists)
    )
    return [finding for some in each for finding in some]


async def _examine(scene: Scene, block: BlockList, subjects: tuple[str, ...]) -> list[Finding]:
    if not subjects:
        return [
            unknown(
                "list.nothing",
                f"{block.name} was asked nothing",
                "no public address is known",
                remedy="give --address IP",
            )
        ]
    doubt = await _doubt(scene, block)
    if doubt is not None:
        return [
            unknown(
                "list.unusable",
                f"{block.name} ({block.zone}) gives no answers that can be believed",
                doubt,
                remedy="ask through a resolver of your own, not a public one; some lists want to know you first",
            )
        ]
    answers = await asyncio.gather(*(scene.lookups.ask(_question(subject, block), A) for subject in subjects))
    findings = []
    for subject, answer in zip(subjects, answers, strict=True):
        if answer.status is Status.FAILED or any(code in _REFUSALS for code in answer.records):
            why = next((_REFUSALS[code] for code in answer.records if code in _REFUSALS), answer.explanation)
            findings.append(
                unknown("list.unknown", f"{block.name} did not say whether it lists {subject}", why, remedy="try again")
            )
            continue
        codes = [code for code in answer.records if code.startswith("127.")]
        if codes:
            meant = "; ".join(f"{code} ({block.codes.get(code, 'see its site')})" for code in codes)
            findings.append(
                problem(
                    "list.listed",
                    f"{subject} is on the block list {block.name}",
                    meant,
                    remedy="stop what caused it, then ask to be taken off"
                    + (f": {block.delist}" if block.delist else ""),
                )
            )
        else:
            findings.append(fine("list.clean", f"{subject} is not on {block.name}"))
    return findings


async def _doubt(scene: Scene, block: BlockList) -> str | None:
    """Why a list is not to be believed: it must list its test entry, and not the one that it never lists."""
    clean = "127.0.0.1" if block.kind == "address" else "invalid"
    listed, empty = await asyncio.gather(
        scene.lookups.ask(_question(block.test, block), A), scene.lookups.ask(_question(clean, block), A)
    )
    for code in listed.records + empty.records:
        if code in _REFUSALS:
            return f"{code}: {_REFUSALS[code]}"
    if not any(code.startswith("127.") for code in listed.records):
        return f"it does not list its test entry {block.test}: {listed.explanation or ', '.join(listed.records)}"
    if empty.records:
        return f"it lists {clean}, so it lists everything"
    return None


def _question(subject: str, block: BlockList) -> str:
    if block.kind == "domain":
        return f"{subject}.{block.zone}"
    reverse = ipaddress.ip_address(subject).reverse_pointer
    return f"{reverse.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{block.zone}"
