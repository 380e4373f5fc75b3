"""How much a lane may send: the limits that hold for a site."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TypeVar

from msgspec import Struct

from bulkmail.model.campaign import Limits, SiteLimits
from bulkmail.policy.route import Site, fitting_pattern, roll_ups
from bulkmail.policy.rules import packaged_entries

DEFAULT_CONNECTIONS = 10
DEFAULT_MESSAGES_PER_CONNECTION = 100
DEFAULT_MESSAGES_PER_SECOND = 100.0
DEFAULT_CONNECTS_PER_SECOND = 20.0


class EffectiveLimits(Struct, frozen=True, kw_only=True, gc=False):
    """What holds for one lane; None is no limit. `window` None: the campaign says nothing of this site."""

    connections: int = DEFAULT_CONNECTIONS
    messages_per_connection: int = DEFAULT_MESSAGES_PER_CONNECTION
    messages_per_second: float | None = DEFAULT_MESSAGES_PER_SECOND
    connects_per_second: float | None = DEFAULT_CONNECTS_PER_SECOND
    window: int | None = None


def effective_limits(site: Site, limits: Limits) -> EffectiveLimits:
    """Each limit of a site on its own: the first that says something of

    1. the campaign's `sites` whose pattern fits all of the site's best hosts, the longest pattern first;
    2. what we know of the provider, but never more than the campaign's `default`;
    3. the campaign's `default`;
    4. the built-in default.
    """
    own = tuple(_own_limits(site, limits.sites))
    known = provider_limits().get(site.name, _NOTHING_KNOWN) if site.pattern else _NOTHING_KNOWN
    default = limits.default
    return EffectiveLimits(
        connections=_chosen(
            (entry.connections for entry in own), known.connections, default.connections, DEFAULT_CONNECTIONS
        ),
        messages_per_connection=_chosen(
            (entry.messages_per_connection for entry in own),
            known.messages_per_connection,
            default.messages_per_connection,
            DEFAULT_MESSAGES_PER_CONNECTION,
        ),
        messages_per_second=_chosen(
            (entry.messages for entry in own), known.messages, default.messages, DEFAULT_MESSAGES_PER_SECOND
        ),
        connects_per_second=_chosen(
            (entry.connects for entry in own), known.connects, default.connects, DEFAULT_CONNECTS_PER_SECOND
        ),
        window=next((entry.window for entry in own if entry.window is not None), default.window),
    )


def narrowed(limits: EffectiveLimits, own: SiteLimits | None, ceiling: SiteLimits | None) -> EffectiveLimits:
    """`limits` where a relay has its `own` in their place, and a source a `ceiling` for each."""
    own, ceiling = own or SiteLimits(), ceiling or SiteLimits()
    connections = own.connections or limits.connections
    per_connection = own.messages_per_connection or limits.messages_per_connection
    return EffectiveLimits(
        connections=min(connections, ceiling.connections or connections),
        messages_per_connection=min(per_connection, ceiling.messages_per_connection or per_connection),
        messages_per_second=_lower(own.messages or limits.messages_per_second, ceiling.messages),
        connects_per_second=_lower(own.connects or limits.connects_per_second, ceiling.connects),
        window=own.window or limits.window,
    )


def _lower(one: float | None, other: float | None) -> float | None:
    return min((value for value in (one, other) if value is not None), default=None)


class ProviderLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[provider]]` of `providers.toml`."""

    site: str
    connections: int | None = None
    messages_per_connection: int | None = None
    messages: float | None = None
    connects: float | None = None


_NOTHING_KNOWN = ProviderLimits(site="")
_Number = TypeVar("_Number", int, float)


@cache
def provider_limits() -> dict[str, ProviderLimits]:
    """`providers.toml` by site name, read once."""
    return {entry.site: entry for entry in packaged_entries("providers.toml", "provider", ProviderLimits)}


def _own_limits(site: Site, by_pattern: Mapping[str, SiteLimits]) -> Iterator[SiteLimits]:
    """The campaign's limits for this site, the longest pattern first; one of a provider's patterns means all of it."""
    of_provider = next((entry.hosts for entry in roll_ups() if site.pattern and entry.name == site.name), ())
    for pattern in sorted(by_pattern, key=lambda text: (-len(text), text)):
        if pattern.lower() in of_provider or all(fitting_pattern(host, (pattern,)) for host in site.best_hosts):
            yield by_pattern[pattern]


def _chosen(
    own: Iterable[_Number | None], known: _Number | None, default: _Number | None, built_in: _Number
) -> _Number:
    for value in own:
        if value is not None:
            return value
    given = [value for value in (known, default) if value is not None]
    return min(given, default=built_in)
