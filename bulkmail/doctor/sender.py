"""Examine what receivers judge the sender by: SPF of each address, DMARC and alignment, where bounces go."""

import asyncio

from msgspec import Struct

from bulkmail.authentication.dmarc import DmarcRecord, is_dmarc, organizational_domain, policy_of, read_record, walk
from bulkmail.authentication.spf import MAXIMUM_LOOKUPS, SpfResult, SpfVerdict
from bulkmail.dns.lookup import MX, Status
from bulkmail.doctor.finding import Finding, advice, fine, problem, unknown
from bulkmail.doctor.scene import Scene
from bulkmail.doctor.sources import public_addresses

_CLOSE_TO_LIMIT = MAXIMUM_LOOKUPS - 1


class Identity(Struct, frozen=True, kw_only=True):
    """Who a message says it is from: the domain of `from`, the envelope sender, and the domains that sign."""

    author: str
    sender: str
    signing: tuple[str, ...]

    @property
    def bounce_domain(self) -> str:
        return self.sender.rpartition("@")[2]


async def examine_sender(scene: Scene, identity: Identity, *, relayed: bool) -> list[Finding]:
    """`relayed`: mail leaves through somebody else's addresses, which only --address can name."""
    spf, dmarc, domains = await asyncio.gather(
        _spf_findings(scene, identity, relayed=relayed),
        _dmarc_findings(scene, identity),
        _domain_findings(scene, identity),
    )
    return spf + dmarc + domains


async def _spf_findings(scene: Scene, identity: Identity, *, relayed: bool) -> list[Finding]:
    domain = identity.bounce_domain
    pairs = [] if relayed and not scene.public else await public_addresses(scene)
    if not pairs:
        found = await scene.lookups.texts(domain)
        if found.status is Status.FAILED:
            return [_spf_unknown(domain, found.explanation)]
        if any(text.lower().startswith("v=spf1") for text in found.records):
            return [
                fine("spf.published", f"{domain} publishes SPF; whether it has the right addresses is not known here")
            ]
        return [_spf_missing(domain, "the relay's addresses")]
    verdicts = await asyncio.gather(
        *(scene.lookups.spf(ip, domain, sender=identity.sender, helo=str(source.ehlo)) for ip, source in pairs)
    )
    return [
        finding for (ip, _), verdict in zip(pairs, verdicts, strict=True) for finding in judge_spf(ip, domain, verdict)
    ]


def judge_spf(ip: str, domain: str, verdict: SpfVerdict) -> list[Finding]:
    """The findings of one evaluation."""
    term = f"ip{6 if ':' in ip else 4}:{ip}"
    evidence = f"{verdict.result.value}: {verdict.explanation}"
    match verdict.result:
        case SpfResult.PASS:
            if verdict.lookups >= _CLOSE_TO_LIMIT:
                return [
                    advice(
                        "spf.lookups",
                        f"SPF of {domain} is close to its limit of {MAXIMUM_LOOKUPS} look-ups",
                        f"{verdict.lookups} look-ups",
                        remedy="put addresses (ip4:, ip6:) in place of include: and mx, and take out what is not used",
                    )
                ]
            return [fine("spf.pass", f"SPF of {domain} allows {ip}", evidence)]
        case SpfResult.NONE:
            return [_spf_missing(domain, term)]
        case SpfResult.TEMPERROR:
            return [_spf_unknown(domain, verdict.explanation)]
        case SpfResult.PERMERROR:
            return [
                problem(
                    "spf.invalid",
                    f"SPF of {domain} is in error, which receivers take as no SPF",
                    evidence,
                    remedy="mend the TXT record; one record, at most ten look-ups",
                )
            ]
        case SpfResult.FAIL:
            return [problem("spf.fail", f"SPF of {domain} forbids {ip}", evidence, remedy=f"add {term} to its record")]
        case _:
            return [
                problem(
                    "spf.weak", f"SPF of {domain} does not allow {ip}", evidence, remedy=f"add {term} to its record"
                )
            ]


def _spf_missing(domain: str, term: str) -> Finding:
    return problem(
        "spf.missing",
        f"{domain}, where the envelope sender is, publishes no SPF",
        remedy=f"publish as TXT of {domain}: v=spf1 {term} -all" if ":" in term else f"publish SPF that allows {term}",
    )


def _spf_unknown(domain: str, evidence: str) -> Finding:
    return unknown("spf.unknown", f"SPF of {domain} could not be evaluated", evidence, remedy="try again")


async def _dmarc_findings(scene: Scene, identity: Identity) -> list[Finding]:
    author, publish = identity.author, "publish as TXT of _dmarc.%s: v=DMARC1; p=none; rua=mailto:dmarc@%s"
    names = dict.fromkeys(
        name for domain in (author, identity.bounce_domain, *identity.signing) for name in walk(domain)
    )
    answers = await asyncio.gather(*(scene.lookups.texts(f"_dmarc.{name}") for name in names))
    failed = [answer.explanation for answer in answers if answer.status is Status.FAILED]
    if failed:
        return [
            unknown("dmarc.unknown", f"the DMARC record of {author} could not be seen", failed[0], remedy="try again")
        ]
    texts = {
        name: [text for text in answer.records if is_dmarc(text)] for name, answer in zip(names, answers, strict=True)
    }
    if len(texts[author]) > 1:
        return [
            problem(
                "dmarc.several",
                f"_dmarc.{author} has several DMARC records, which count as none",
                "; ".join(texts[author]),
                remedy="leave one",
            )
        ]
    records = {name: read_record(found) for name, found in texts.items()}
    holding = policy_of(author, records)
    if holding is None:
        return [
            problem(
                "dmarc.missing",
                f"{author} has no DMARC record; Gmail, Yahoo and Microsoft ask it of bulk senders",
                f"nothing at _dmarc.{author} or above",
                remedy=publish % (author, author),
            ),
            *alignment(identity, records, None),
        ]
    place, record = holding
    findings = alignment(identity, records, record)
    if record.problems:
        findings.append(
            problem(
                "dmarc.invalid",
                f"the DMARC record of {place} has mistakes",
                "; ".join(record.problems),
                remedy=f"mend the TXT record of _dmarc.{place}",
            )
        )
    policy = record.policy if place == author else record.subdomain_policy
    if policy == "none" and not record.problems:
        findings.append(
            advice(
                "dmarc.none",
                f"DMARC of {place} asks for nothing, so anybody may write as {author}",
                "p=none",
                remedy="once the reports show only your own mail, set p=quarantine, later p=reject",
            )
        )
    if not record.reports_to:
        findings.append(
            advice(
                "dmarc.reports",
                f"DMARC of {place} asks for no reports, so nobody sees what fails",
                "no rua=",
                remedy=f"add rua=mailto:dmarc@{place}",
            )
        )
    return findings or [fine("dmarc.ready", f"DMARC of {place} holds for {author}", f"p={policy}, aligned")]


def alignment(identity: Identity, records: dict[str, DmarcRecord | None], record: DmarcRecord | None) -> list[Finding]:
    """Whether the domains that SPF and DKIM prove count for the one that readers see (§4.4)."""
    author = identity.author

    def aligned(other: str, *, strict: bool) -> bool:
        if strict:
            return other == author
        return organizational_domain(other, records) == organizational_domain(author, records)

    strict_dkim, strict_spf = (record.strict_dkim, record.strict_spf) if record is not None else (False, False)
    by_dkim = any(aligned(domain, strict=strict_dkim) for domain in identity.signing)
    by_spf = aligned(identity.bounce_domain, strict=strict_spf)
    seen = (
        f"from {author}, envelope sender {identity.bounce_domain}, signed by {', '.join(identity.signing) or 'nobody'}"
    )
    if not by_dkim and not by_spf:
        return [
            problem(
                "dmarc.unaligned",
                f"neither SPF nor DKIM counts for {author}, so DMARC fails",
                seen,
                remedy=f"sign with a key of {author}, and take a return_path below {author}",
            )
        ]
    if not by_dkim:
        return [
            problem(
                "dmarc.dkim-unaligned",
                f"no signature counts for {author}; forwarded mail will fail DMARC",
                seen + (", adkim=s" if strict_dkim else ""),
                remedy=f"add a dkim key with domain: {author}",
            )
        ]
    if not by_spf:
        return [
            advice(
                "dmarc.spf-unaligned",
                f"SPF proves another domain than {author}; DKIM alone carries DMARC",
                seen + (", aspf=s" if strict_spf else ""),
                remedy=f"take a return_path at {author} or below it",
            )
        ]
    return []


async def _domain_findings(scene: Scene, identity: Identity) -> list[Finding]:
    findings = []
    named = {identity.bounce_domain: "return_path", identity.author: "from"}
    for domain, key in named.items():
        exchangers, addresses = await asyncio.gather(scene.lookups.ask(domain, MX), scene.lookups.addresses(domain))
        null = [mx.host for mx in exchangers.records] == ["."]
        if Status.FAILED in (exchangers.status, addresses.status) and not exchangers.records:
            findings.append(
                unknown(
                    f"{key.replace('_', '-')}.unknown",
                    f"{domain} could not be resolved",
                    exchangers.explanation,
                    remedy="try again",
                )
            )
        elif null or not (exchangers.records or addresses.records):
            findings.append(
                problem(
                    f"{key.replace('_', '-')}.no-mail",
                    f"{domain}, the domain of {key}, takes no mail; receivers refuse such senders"
                    + (" and bounces are lost" if key == "return_path" else ""),
                    "null MX" if null else exchangers.explanation,
                    remedy=f"give {domain} an MX record, or change {key}",
                )
            )
    return findings
