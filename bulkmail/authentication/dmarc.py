"""DMARC as a receiver sees it: the record, the organizational domain by the tree walk, alignment (RFC 9989)."""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

MAXIMUM_QUERIES = 8  # RFC 9989 §4.10
_TAG = re.compile(r"[ \t]*([A-Za-z0-9_]+)[ \t]*=[ \t]*([^;]*?)[ \t]*")
_POLICIES = ("none", "quarantine", "reject")


class DmarcRecord(Struct, frozen=True, kw_only=True):
    """What a domain asks of receivers; `strict_*`: only the very same domain is aligned. `psd`: y, n or u."""

    policy: str
    subdomain_policy: str
    strict_dkim: bool = False
    strict_spf: bool = False
    reports_to: tuple[str, ...] = ()
    psd: str = "u"
    testing: bool = False
    problems: tuple[str, ...] = ()


def is_dmarc(text: str) -> bool:
    """Whether a TXT record means to be a DMARC record: `v=DMARC1` first (§4.7)."""
    return re.match(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)", text) is not None


def read_record(texts: Sequence[str]) -> DmarcRecord | None:
    """The one record among the TXT records of `_dmarc.`; None for none, or for several, which count as none."""
    found = [text for text in texts if is_dmarc(text)]
    return _read(found[0]) if len(found) == 1 else None


def _read(text: str) -> DmarcRecord:
    tags: dict[str, str] = {}
    problems = []
    for part in text.split(";")[1:]:
        match = _TAG.fullmatch(part)
        if match is not None:
            tags[match[1].lower()] = match[2]
        elif part.strip():
            problems.append(f"{part.strip()[:40]!r} is no tag")
    policy = tags.get("p", "").lower()
    if policy not in _POLICIES:
        problems.append(f"p={tags['p']} is no policy" if "p" in tags else "p= is missing")
        policy = "none"
    subdomain = tags.get("sp", policy).lower()
    if subdomain not in _POLICIES:
        problems.append(f"sp={tags['sp']} is no policy")
        subdomain = policy
    modes = [name for name in ("adkim", "aspf") if tags.get(name, "r").lower() not in ("r", "s")]
    problems += [f"{name}={tags[name]} is neither r nor s" for name in modes]
    reports = tuple(uri.strip() for uri in tags.get("rua", "").split(",") if uri.strip())
    problems += [f"rua={uri} is no mailto: address" for uri in reports if not uri.lower().startswith("mailto:")]
    return DmarcRecord(
        policy=policy,
        subdomain_policy=subdomain,
        strict_dkim=tags.get("adkim", "").lower() == "s",
        strict_spf=tags.get("aspf", "").lower() == "s",
        reports_to=reports,
        psd=tags.get("psd", "u").lower(),
        testing=tags.get("t", "").lower() == "y",
        problems=tuple(problems),
    )


def walk(domain: str) -> tuple[str, ...]:
    """The domains whose `_dmarc.` is asked for, in order: the domain, then its parents, at most eight (§4.10)."""
    labels = domain.rstrip(".").lower().split(".")
    names = [".".join(labels)]
    labels = labels[1:] if len(labels) < MAXIMUM_QUERIES else labels[-(MAXIMUM_QUERIES - 1) :]
    while labels:
        names.append(".".join(labels))
        labels = labels[1:]
    return tuple(names)


def organizational_domain(domain: str, records: Mapping[str, DmarcRecord | None]) -> str:
    """The organizational domain by what the walk found (§4.10.2); the domain itself where it found nothing."""
    names = walk(domain)
    found = None
    for name in names:
        record = records.get(name)
        if record is None:
            continue
        if record.psd == "n":
            return name
        if record.psd == "y" and name != names[0]:
            labels = names[0].split(".")
            return ".".join(labels[-(name.count(".") + 2) :])
        found = name
        if record.psd == "y":
            break
    return found or names[0]


def policy_of(domain: str, records: Mapping[str, DmarcRecord | None]) -> tuple[str, DmarcRecord] | None:
    """The record that holds for mail from `domain` and the domain that publishes it: its own, else its parent's."""
    own = walk(domain)[0]
    for name in (own, organizational_domain(domain, records)):
        record = records.get(name)
        if record is not None:
            return name, record
    public_suffix = [(name, record) for name in walk(domain) if (record := records.get(name)) and record.psd == "y"]
    return public_suffix[0] if public_suffix else None
