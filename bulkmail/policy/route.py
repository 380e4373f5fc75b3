"""From a domain's mail exchangers to its site, and to the hosts and addresses that may be tried, in order.

Hosts come as (preference, name); a lower preference number is tried first (RFC 5321 §5.1).
"""

import hashlib
import itertools
import random
import re
from base64 import b32encode
from collections.abc import Container, Iterable, Sequence
from functools import cache

from msgspec import Struct

from bulkmail.policy.encryption import Protection
from bulkmail.policy.reach import forbidden_address
from bulkmail.policy.rules import packaged_entries

__all__ = [
    "MailHost",
    "RollUp",
    "Site",
    "balanced",
    "drop_self",
    "endpoint_name",
    "endpoint_of",
    "fitting_pattern",
    "forbidden_address",
    "host_order",
    "roll_ups",
    "route_for",
    "site_of",
]

MailHost = tuple[int, str]


class Site(Struct, frozen=True, gc=False):
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
    first, *others = [_fitting_roll_ups(host) for preference, host in ordered if preference == ordered[0][0]]
    for place, pattern in first.items():
        if all(place in other for other in others):
            return Site(roll_ups()[place].name, pattern, ordered)
    return Site(_set_name(ordered), None, ordered)


def host_order(hosts: Iterable[MailHost], rng: random.Random) -> tuple[str, ...]:
    """Names in the order to try them: by preference, at random among equals (RFC 5321 §5.1)."""
    groups: list[str] = []
    for _, group in itertools.groupby(_best_first(hosts), key=_preference):
        names = [host for _, host in group]
        rng.shuffle(names)
        groups += names
    return tuple(groups)


def balanced(addresses: Sequence[str]) -> tuple[str, ...]:
    """IPv4 and IPv6 in turn, each in the order it came: a bound on tries must not leave one of them out."""
    first = [address for address in addresses if (":" in address) == (":" in addresses[0])]
    second = [address for address in addresses if (":" in address) != (":" in addresses[0])]
    pairs = itertools.zip_longest(first, second)
    return tuple(address for pair in pairs for address in pair if address is not None)


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
    # Hosts that the campaign itself names have a port.
    name = _plain(endpoint_of(host.partition("#")[0], 0)[0])
    for pattern in patterns:
        wanted = _plain(pattern)
        if name == wanted or (wanted.startswith("*.") and name.endswith(wanted[1:]) and len(name) >= len(wanted)):
            return pattern
    return None


def endpoint_of(text: str, default_port: int) -> tuple[str, int]:
    """Host and port of `host`, `host:port`, `192.0.2.1:25`, `2001:db8::1` or `[2001:db8::1]:25`.

    A port that is none is left in the host, where it will not pass for a name.
    """
    if match := _BRACKETED.fullmatch(text):
        host, port = match[1], match[2]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        return text, default_port
    if port is None:
        return host, default_port
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        return text, default_port
    return host, int(port)


def endpoint_name(host: str, port: int) -> str:
    """The name of a given host among mail exchangers; these never have a colon."""
    return f"[{host}]:{port}" if ":" in host else f"{host.lower()}:{port}"


def route_for(domain: str, patterns: Container[str]) -> str | None:
    """The pattern that a domain is sent by: its own name, else the longest `*.parent` that it is below."""
    if domain in patterns:
        return domain
    _, dot, parent = domain.partition(".")
    while dot:
        if f"*.{parent}" in patterns:
            return f"*.{parent}"
        _, dot, parent = parent.partition(".")
    return None


_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?")


class RollUp(Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[site]]` of `sites.toml`."""

    name: str
    hosts: tuple[str, ...]


@cache
def roll_ups() -> tuple[RollUp, ...]:
    """`sites.toml`, read once."""
    return packaged_entries("sites.toml", "site", RollUp)


@cache
def _places() -> dict[str, tuple[tuple[int, str], ...]]:
    """The roll-ups of each pattern in lower case, by their places, with the pattern as it is written."""
    found: dict[str, tuple[tuple[int, str], ...]] = {}
    for place, roll_up in enumerate(roll_ups()):
        for pattern in roll_up.hosts:
            found[_plain(pattern)] = (*found.get(_plain(pattern), ()), (place, pattern))
    return found


def _fitting_roll_ups(host: str) -> dict[int, str]:
    """The places of the roll-ups that a mail exchanger fits, in their order, with the first pattern of each that does.

    What `fitting_pattern` says of all their patterns, one after the other; but many domains are asked about.
    """
    name = _plain(endpoint_of(host.partition("#")[0], 0)[0]) if ":" in host or "#" in host else host
    places = _places()
    found = set(places.get(name, ()))
    label, dot, parent = name.partition(".")
    while dot:
        if label or len(parent) + 1 < len(name):
            found.update(places.get(f"*.{parent}", ()))
        label, dot, parent = parent.partition(".")
    if len(found) < 2:
        return dict(found)
    patterns = {place: roll_ups()[place].hosts for place, _ in found}
    best: dict[int, str] = {}
    for place, pattern in sorted(found, key=lambda one: (one[0], patterns[one[0]].index(one[1]))):
        best.setdefault(place, pattern)
    return best


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
