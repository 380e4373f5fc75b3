"""How long a campaign's limits make it take: recipients by site, against what each site is sent at most."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from msgspec import Struct

from bulkmail.clock import SystemClock
from bulkmail.content.program import Program
from bulkmail.dns.resolver import Resolver
from bulkmail.engine.router import Router, Unroutable
from bulkmail.engine.sources import BATCH_ROWS
from bulkmail.engine.ways import Way, Ways
from bulkmail.model.campaign import Campaign, EgressSource
from bulkmail.model.recipient import PlainBatch
from bulkmail.outbound import egress_sources
from bulkmail.policy.limits import EffectiveLimits, effective_limits, narrowed
from bulkmail.recipients.source import open_source

# How long a message holds its connection: a round trip, and the receiver's own time to take it.
MESSAGE_SECONDS = 0.2
# Domains that are asked for, the largest first; those with fewer recipients are not where the time goes.
MOST_DOMAINS = 500


class Names(Struct, frozen=True, kw_only=True):
    """What DNS servers answered: names asked for, names without an answer, answers a second, and how long one took."""

    asked: int
    failed: int
    per_second: float
    answer_ms: float


class SiteTime(Struct, frozen=True, kw_only=True):
    """One site: how long its recipients take, and which of its limits says so."""

    site: str
    recipients: int
    per_second: float
    seconds: float
    limit: str


class Lanes(Struct, frozen=True, kw_only=True):
    """`sites` with the longest first; `unknown` recipients are at domains that were not found or not asked for.

    `recipients` were counted in the time there was, or all of them where `whole`. `names` is None where no server had
    to be asked.
    """

    recipients: int
    whole: bool
    sites: list[SiteTime]
    unknown: int
    names: Names | None


async def measure_lanes(campaign: Campaign, program: Program, *, seconds: float) -> Lanes:
    """Count the list and ask for the sites of its domains. No connection is made to any of them. Raises CampaignError.

    The sandbox's receivers are its own: for a campaign that goes there, nobody is asked.
    """
    counts, whole = await asyncio.to_thread(_count, campaign, program, time.monotonic() + seconds / 2)
    recipients = sum(counts.values())
    if campaign.delivery.route == "sandbox":
        return Lanes(recipients=recipients, whole=whole, sites=[], unknown=recipients, names=None)
    ways, names = await _ways(campaign, [domain for domain, _ in counts.most_common(MOST_DOMAINS)], seconds / 2)
    sites = site_times(campaign, counts, ways)
    unknown = recipients - sum(counts[domain] for domain in ways)
    return Lanes(recipients=recipients, whole=whole, sites=sites, unknown=unknown, names=names)


def site_times(campaign: Campaign, counts: Mapping[str, int], ways: Mapping[str, Sequence[Way]]) -> list[SiteTime]:
    """The sites of these domains, the one that takes longest first."""
    found: dict[str, Way] = {}
    recipients: Counter[str] = Counter()
    slow_domains: dict[str, SiteTime] = {}
    for domain, of_domain in ways.items():
        best = min(way.priority for way in of_domain)
        shares = [way for way in of_domain if way.priority == best]
        weight = sum(way.weight for way in shares)
        for way in shares:
            found.setdefault(way.site.name, way)
            recipients[way.site.name] += round(counts[domain] * way.weight / weight)
        own = campaign.limits.domains.get(domain)
        if own is not None and own.messages is not None:
            # For each egress source a bucket of its own, as lanes have them.
            rate = float(own.messages) * len(egress_sources(campaign))
            of_its_own = SiteTime(
                site=domain,
                recipients=counts[domain],
                per_second=rate,
                seconds=counts[domain] / rate,
                limit=f"limits.domains: {own.messages:g} messages/s",
            )
            slow_domains[domain] = of_its_own
    sites = [_site_time(campaign, way, recipients[name]) for name, way in found.items()]
    return sorted([*sites, *slow_domains.values()], key=lambda one: one.seconds, reverse=True)


def _site_time(campaign: Campaign, way: Way, recipients: int) -> SiteTime:
    sources = egress_sources(campaign)
    weight = sum(source.weight for source in sources)
    rates = [(_rate(_limits(campaign, way, source)), source.weight / weight) for source in sources]
    # Mail is spread by weight: the source that is done last ends it.
    (slowest, limit), share = min(rates, key=lambda one: one[0][0] / one[1])
    per_second = slowest / share
    return SiteTime(
        site=way.site.name,
        recipients=recipients,
        per_second=per_second,
        seconds=recipients / per_second,
        limit=limit,
    )


def _limits(campaign: Campaign, way: Way, source: EgressSource) -> EffectiveLimits:
    return narrowed(effective_limits(way.site, campaign.limits), way.limits, source.limits)


def _rate(limits: EffectiveLimits) -> tuple[float, str]:
    """Messages a second of one lane, and the limit that they come from."""
    rates = [(limits.connections / MESSAGE_SECONDS, f"{limits.connections} connections")]
    if limits.messages_per_second is not None:
        rates.append((float(limits.messages_per_second), f"{limits.messages_per_second:g} messages/s"))
    if limits.connects_per_second is not None:
        rates.append(
            (
                limits.connects_per_second * limits.messages_per_connection,
                f"{limits.connects_per_second:g} connects/s with {limits.messages_per_connection} messages each",
            )
        )
    return min(rates)


def _count(campaign: Campaign, program: Program, until: float) -> tuple[Counter[str], bool]:
    """Recipients by domain; False where the time was over before the list was."""
    counts: Counter[str] = Counter()
    for source in campaign.recipients:
        for batch in open_source(source).batches(program.plain_rules, BATCH_ROWS):
            addresses = batch.addresses if isinstance(batch, PlainBatch) else [row.address for row in batch]
            counts.update([address.rpartition("@")[2].strip().lower() for address in addresses if "@" in address])
            if time.monotonic() > until:
                return counts, False
    return counts, True


async def _ways(
    campaign: Campaign, domains: Sequence[str], seconds: float
) -> tuple[dict[str, Sequence[Way]], Names | None]:
    """The ways of each domain that has any, as far as the servers answer in time."""
    resolver = Resolver(campaign.dns.servers, timeout_seconds=min(campaign.dns.timeout, seconds), clock=SystemClock())
    router = Router(campaign, resolver, Ways(campaign.delivery), own_names=(), rng=random.Random())
    found: dict[str, Sequence[Way]] = {}
    times: list[float] = []

    async def ask(domain: str) -> None:
        began = time.monotonic()
        answer = await router.ways(domain)
        times.append(time.monotonic() - began)
        if not isinstance(answer, Unroutable):
            found[domain] = answer

    began = time.monotonic()
    tasks = [asyncio.ensure_future(ask(domain)) for domain in domains]
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        taken = max(time.monotonic() - began, 1e-6)
        queries = resolver.statistics().queries
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await resolver.close()
    if not queries:
        return found, None
    failed = len(domains) - len(found)
    answer_ms = median(times) * 1e3 if times else seconds * 1e3
    return found, Names(asked=len(domains), failed=failed, per_second=len(times) / taken, answer_ms=answer_ms)
