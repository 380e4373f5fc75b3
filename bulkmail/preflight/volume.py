"""Estimate how long each site takes at the limits that hold for it."""

from collections import Counter
from collections.abc import Iterator, Mapping

from msgspec import Struct

from bulkmail.model.campaign import Campaign
from bulkmail.policy.limits import effective_limits, narrowed
from bulkmail.policy.route import Site, site_of
from bulkmail.preflight.finding import Finding, found

# One of the mail exchangers of domains that everybody knows, for those who ask no DNS.
KNOWN_HOSTS = {
    "gmail.com": "gmail-smtp-in.l.google.com", "googlemail.com": "gmail-smtp-in.l.google.com",
    "yahoo.com": "mta5.am0.yahoodns.net", "aol.com": "mx-aol.mail.gm0.yahoodns.net",
    "yahoo.fr": "mx-eu.mail.am0.yahoodns.net", "yahoo.de": "mx-eu.mail.am0.yahoodns.net",
    "yahoo.co.uk": "mx-eu.mail.am0.yahoodns.net",
    "outlook.com": "outlook-com.olc.protection.outlook.com", "hotmail.com": "hotmail-com.olc.protection.outlook.com",
    "live.com": "live-com.olc.protection.outlook.com", "msn.com": "msn-com.olc.protection.outlook.com",
    "icloud.com": "mx01.mail.icloud.com", "me.com": "mx01.mail.icloud.com", "gmx.de": "mx00.emig.gmx.net",
    "gmx.net": "mx00.emig.gmx.net", "web.de": "mx-ha02.web.de", "orange.fr": "smtp-in.orange.fr",
    "wanadoo.fr": "smtp-in.orange.fr",
}  # fmt: skip
SHOWN = 3


class Load(Struct, frozen=True, kw_only=True):
    """One site's share; `seconds` None where nothing but the receiver limits it."""

    site: str
    messages: int
    rate_per_second: float | None
    seconds: float | None


def loads(campaign: Campaign, domains: Counter[str], hosts: Mapping[str, tuple[tuple[int, str], ...]]) -> list[Load]:
    """By site, the slowest first. `hosts` are mail exchangers by domain, where the DNS was asked."""
    if campaign.delivery.route == "relay":
        sites = {f"relay {campaign.delivery.relay[0].host}": (site_of([(0, campaign.delivery.relay[0].host)]), domains)}
    else:
        sites = {}
        for domain, count in domains.items():
            known = hosts.get(domain) or ((0, KNOWN_HOSTS.get(domain, domain)),)
            site = site_of(known)
            sites.setdefault(site.name.rstrip("."), (site, Counter()))[1][domain] += count
    found_loads = [_load(campaign, name, site, share) for name, (site, share) in sites.items()]
    return sorted(found_loads, key=lambda load: (-(load.seconds or 0.0), -load.messages, load.site))


def _load(campaign: Campaign, name: str, site: Site, share: Mapping[str, int]) -> Load:
    own = campaign.delivery.relay[0].limits if campaign.delivery.route == "relay" else None
    sources = campaign.delivery.sources
    each = [narrowed(effective_limits(site, campaign.limits), own, source.limits) for source in sources] or [
        narrowed(effective_limits(site, campaign.limits), own, None)
    ]
    rates = [limits.messages_per_second for limits in each]
    rate = None if None in rates else sum(one for one in rates if one is not None)
    messages = sum(share.values())
    slowest = [messages / rate] if rate else []
    for domain, count in share.items():
        narrow = campaign.limits.domains.get(domain)
        if narrow is not None and narrow.messages:
            slowest.append(count / (float(narrow.messages) * max(1, len(sources))))
    return Load(site=name, messages=messages, rate_per_second=rate, seconds=max(slowest, default=None))


def volume_findings(campaign: Campaign, found_loads: list[Load]) -> Iterator[Finding]:
    """How long it takes, and which site cannot be done in time."""
    where = str(campaign.file)
    expire = float(campaign.delivery.expire)
    # In the sandbox, where time runs faster, expire is cut to seconds.
    for load in found_loads if campaign.delivery.route != "sandbox" else ():
        if load.seconds is not None and load.seconds > expire:
            what = f"{load.site}: {load.messages:,} messages take {span(load.seconds)}, and expire after {span(expire)}"
            yield found(
                "volume.expire", what, where=where, remedy="raise limits or expire, add sources, or split the list"
            )
    if found_loads:
        total = sum(load.messages for load in found_loads)
        slow = [load for load in found_loads if load.seconds is not None][:SHOWN]
        parts = ", ".join(f"{load.site} {load.messages:,} in {span(load.seconds or 0.0)}" for load in slow)
        longest = f"; at the limits, if nobody slows us: {parts}" if slow else ""
        yield found("volume.duration", f"{total:,} messages to {len(found_loads):,} sites{longest}")


def span(seconds: float) -> str:
    """`2 h 5 min`, `40 s`."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours = round(minutes / 60)
    return f"{hours} h" if hours < 72 else f"{round(hours / 24)} d"
