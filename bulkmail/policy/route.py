"""From a domain's mail exchangers to its site, and to the hosts and addresses that may be tried, in order.

Hosts come as (preference, name); a lower preference number is tried first (RFC 5321 §5.1).
"""

import hashlib
import itertools
import random
from base64 import b32encode
from collections.abc import Iterable, Sequence
from functools import cache

from msgspec import Struct

from bulkmail.policy.encryption import Protection
from bulkmail.policy.reach import forbidden_address
from bulkmail.policy.rules import packaged_entries

__all__ = [
    "MailHost",
    "RollUp",
    "Site",
    "drop_self",
    "fitting_pattern",
    "forbidden_address",
    "host_order",
    "roll_ups",
    "site_of",
]

MailHost = tuple[int, str]


class Site(Struct, frozen=True):
    """The destinations that share one set of limits.

    `name` is a provider's (`google`, never with a dot) where `pattern`, the one that its hosts fit, is given; else the
    MX set's, always with a dot. `hosts` are those of the domain that was asked about, best first, names in lower case;
    `protection` is what that domain demands of connections to them.
    """

    name: str
    pattern: str | None
    hosts: tuple[MailHost, ...]
    protection: Protection = Protection()

    @property
    def best_hosts(self) -> tuple[str, ...]:
        """The hosts of the lowest preference number: where mail goes unless they fail."""
        return tuple(host for preference, host in self.hosts if preference == self.hosts[0][0])


def site_of(hosts: Iterable[MailHost]) -> Site:
    """The site of a domain with these mail exchangers; raises ValueError for none.

    A provider is recognised where all of the best hosts are its own: one foreign host among them, and the domain is
    a site of its own, or it could spoil the provider's lane for everybody else. Two domains with the same hosts in the
    same order of preference are one site, whatever the numbers.
    """
    ordered = _best_first(hosts)
    if not ordered:
        raise ValueError("a domain without mail exchangers has no site")
    best = [host for preference, host in ordered if preference == ordered[0][0]]
    for roll_up in roll_ups():
        fitting = [fitting_pattern(host, roll_up.hosts) for host in best]
        if all(fitting):
            return Site(roll_up.name, fitting[0], ordered)
    return Site(_set_name(ordered), None, ordered)


def host_order(hosts: Iterable[MailHost], rng: random.Random) -> tuple[str, ...]:
    """Names in the order to try them: by preference, at random among equals (RFC 5321 §5.1)."""
    groups: list[str] = []
    for _, group in itertools.groupby(_best_first(hosts), key=_preference):
        names = [host for _, host in group]
        rng.shuffle(names)
        groups += names
    return tuple(groups)


def drop_self(hosts: Iterable[MailHost], own_names: Iterable[str]) -> tuple[MailHost, ...]:
    """Hosts better than ourselves: if one of `own_names` is among them, it and all that are not better go.

    Nothing left means that the domain's mail is ours to take: sending it anywhere would loop (RFC 5321 §5.1).
    """
    ordered = _best_first(hosts)
    own = {_plain(name) for name in own_names}
    own_preference = min((preference for preference, host in ordered if host in own), default=None)
    if own_preference is None:
        return ordered
    return tuple((preference, host) for preference, host in ordered if preference < own_preference)


def fitting_pattern(host: str, patterns: Iterable[str]) -> str | None:
    """The first pattern that fits: `*.google.com` any host below google.com, `mx.example` that host only."""
    name = _plain(host)
    for pattern in patterns:
        wanted = _plain(pattern)
        if name == wanted or (wanted.startswith("*.") and name.endswith(wanted[1:]) and len(name) >= len(wanted)):
            return pattern
    return None


class RollUp(Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[site]]` of `sites.toml`."""

    name: str
    hosts: tuple[str, ...]


@cache
def roll_ups() -> tuple[RollUp, ...]:
    """`sites.toml`, read once."""
    return packaged_entries("sites.toml", "site", RollUp)


def _set_name(ordered: Sequence[MailHost]) -> str:
    """The first host's name, and a short digest of the whole set where there are more."""
    groups = [[host for _, host in group] for _, group in itertools.groupby(ordered, key=_preference)]
    first = groups[0][0] if "." in groups[0][0] else f"{groups[0][0]}."
    if len(ordered) == 1:
        return first
    digest = hashlib.blake2b(";".join(",".join(group) for group in groups).encode(), digest_size=5).digest()
    return f"{first}+{b32encode(digest).decode().lower()}"


def _best_first(hosts: Iterable[MailHost]) -> tuple[MailHost, ...]:
    """By preference, then name; a host named twice keeps its best place."""
    best: dict[str, int] = {}
    for preference, host in hosts:
        name = _plain(host)
        best[name] = min(preference, best.get(name, preference))
    return tuple(sorted((preference, host) for host, preference in best.items()))


def _preference(host: MailHost) -> int:
    return host[0]


def _plain(host: str) -> str:
    return host.rstrip(".").lower()
