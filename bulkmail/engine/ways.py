"""Where the campaign itself says that mail goes: its relays, and the domains it sends another way."""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from bulkmail.model.campaign import Delivery, DomainRoute, Relay, SiteLimits
from bulkmail.policy.route import MailHost, Site, endpoint_name, endpoint_of, route_for


class Way(Struct, frozen=True, kw_only=True):
    """One of the ways of a domain's mail. The lowest `priority` that is open is used, shared by `weight`."""

    site: Site
    weight: int = 1
    priority: int = 0
    limits: SiteLimits | None = None


class Ways:
    """The ways of a campaign that the DNS has no say in.

    Each relay is a site of its own, so that its limits, pace and failures are its own too; the hosts of one route are
    one site, tried in their order. `relays` and `hosts` are by the name that stands in a site, `smtp.example.net:587`.
    """

    def __init__(self, delivery: Delivery) -> None:
        self.relays: dict[str, Relay] = {}
        self.hosts: dict[str, tuple[str, int]] = {}
        self._names: dict[Relay, str] = {}
        self._routes: dict[str, tuple[Way, ...] | None] = {}
        for pattern, route in delivery.routes.items():
            self._routes[pattern] = self._of_route(route, delivery.port)
        self._default = self._of_relays(delivery.relay) if delivery.route == "relay" else None

    def of(self, domain: str) -> tuple[Way, ...] | None:
        """The ways of a domain (an A-label); None where its mail exchangers are to be asked for."""
        if self._routes:
            pattern = route_for(domain, self._routes)
            if pattern is not None:
                return self._routes[pattern]
        return self._default

    def host_of(self, name: str) -> str | None:
        """The host that a name in a site stands for; None for a mail exchanger from the DNS."""
        if name in self.relays:
            return self.relays[name].host
        return self.hosts[name][0] if name in self.hosts else None

    def _of_route(self, route: DomainRoute, port: int) -> tuple[Way, ...] | None:
        if route.mx:
            return None
        if route.relay:
            return self._of_relays(route.relay)
        return (Way(site=_site(tuple(self._given(route.hosts, port)))),)

    def _given(self, hosts: tuple[str, ...], default_port: int) -> Iterator[MailHost]:
        for position, text in enumerate(hosts):
            host, port = endpoint_of(text, default_port)
            name = endpoint_name(host, port)
            # A relay of the same name is another thing: it has a login.
            while name in self.relays:
                name = _another(name)
            self.hosts[name] = (host, port)
            yield position, name

    def _of_relays(self, relays: tuple[Relay, ...]) -> tuple[Way, ...]:
        return tuple(
            Way(
                site=_site(((0, self._name_of(relay)),)),
                weight=relay.weight,
                priority=relay.priority,
                limits=relay.limits,
            )
            for relay in relays
        )

    def _name_of(self, relay: Relay) -> str:
        """One name for relays that differ at most in their share: they have connections and limits in common."""
        relay = replace(relay, weight=1, priority=0)
        name = self._names.get(relay)
        if name is None:
            name = endpoint_name(relay.host, relay.port)
            while name in self.relays or name in self.hosts:
                name = _another(name)
            self._names[relay] = name
            self.relays[name] = relay
        return name


def _site(hosts: tuple[MailHost, ...]) -> Site:
    # With the names of all, for lanes are found by it: other hosts are another site.
    return Site("+".join(name for _, name in hosts), None, hosts)


def _another(name: str) -> str:
    plain, _, number = name.partition("#")
    return f"{plain}#{int(number or 1) + 1}"
