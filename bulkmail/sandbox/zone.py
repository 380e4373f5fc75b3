"""Which domains exist in the sandbox, which exchangers serve them, and on which loopback addresses.

Every domain has a place: the provider domains of the data file their own, any other one by hash of (seed, domain). A
domain whose first label is one of the words below, alone or followed by `-` or a digit (`nullmx-3.test`), asks for it:

    nxdomain    does not exist                      servfail    its DNS fails, always
    nullmx      takes no mail (RFC 7505)            flaky       its DNS fails for the first three seconds
    implicit    no MX, only an address              deadfirst   the best exchanger refuses connections
    cname       an alias of another domain          dead        every exchanger refuses connections

and the words of the groups in the data file (`own`, `plain`, `greylisting`, `slow`, `old`, `silent`; `sts` and `dane`,
which protect their mail by policy, `badsts` and `baddane`, which break their own). Domains under
`.invalid`, and names of one label, do not exist.
"""

import re
from enum import Enum
from functools import lru_cache

from msgspec import Struct, structs

from bulkmail.sandbox.chance import draw, pick
from bulkmail.sandbox.profiles import Group, Manners, Profiles

WEBSITE = "127.40.0.1"
"""The A record of domains that have exchangers elsewhere; nothing listens there."""
DEAD_LABEL = "mx-gone"
_DEAD_ADDRESS = "127.30.0.1"
_CANONICAL = ".canonical.test"
_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?)+")
_FORCED = re.compile(r"([a-z]+)(?:[-0-9].*)?")
_SLOT = re.compile(r"\{(tenant|number|domain)\}")


class Kind(Enum):
    """What the DNS says of a domain."""

    HOSTED = "hosted"
    NXDOMAIN = "nxdomain"
    NULLMX = "nullmx"
    IMPLICIT = "implicit"
    FLAKY = "flaky"
    SERVFAIL = "servfail"
    DEADFIRST = "deadfirst"
    DEAD = "dead"
    CNAME = "cname"


_ODD = {kind.value: kind for kind in Kind if kind is not Kind.HOSTED}


class Place(Struct, frozen=True, kw_only=True):
    """Where a domain is: `exchangers` are (preference, host), `alias` the name it is a CNAME of."""

    kind: Kind
    group: str | None = None
    exchangers: tuple[tuple[int, str], ...] = ()
    alias: str | None = None


class Listener(Struct, frozen=True, kw_only=True):
    """One loopback address that exchangers listen on, and the name it greets with."""

    ip: str
    host: str
    group: str
    manners: str


class Zone:
    """The names of the sandbox. Names are lower-case and without the final dot; answers never change."""

    def __init__(self, profiles: Profiles, *, seed: int) -> None:
        self.profiles = profiles
        self.seed = seed
        self._owner = {domain: name for name, group in profiles.group.items() for domain in group.domains}
        self._words = {group.word: name for name, group in profiles.group.items() if group.word}
        self._shares = [(name, group.share) for name, group in profiles.group.items() if group.share]
        self._patterns: list[tuple[str, re.Pattern[str]]] = []
        self._addresses: dict[str, str] = {}
        self._adopted: set[str] = set()
        self.listeners = tuple(self._lay_out())
        self.names = {listener.ip: listener.host for listener in self.listeners}
        self.place = lru_cache(maxsize=100_000)(self._place)
        self.addresses_of = lru_cache(maxsize=100_000)(self._addresses_of)

    def adopt(self, name: str) -> None:
        """Make the domain of a published record exist: `s1._domainkey.garden.example` adopts garden.example."""
        labels = name.split(".")
        marks = [index for index, label in enumerate(labels) if label.startswith("_")]
        self._adopted.add(".".join(labels[marks[-1] + 1 :] if marks else labels))
        self.place.cache_clear()
        self.addresses_of.cache_clear()

    def exchanger_address(self, host: str) -> str | None:
        """The address of an exchanger; None for a name that is none."""
        address = self._addresses.get(host)
        if address is not None:
            return address
        for name, pattern in self._patterns:
            if pattern.fullmatch(host):
                return self._pool_address(name, host)
        label, _, domain = host.partition(".")
        if label == DEAD_LABEL and self.place(domain).kind in (Kind.DEAD, Kind.DEADFIRST):
            return _DEAD_ADDRESS
        if domain and any(host == exchanger for _, exchanger in self.place(domain).exchangers):
            return self._pool_address(self.place(domain).group or "", host)
        return None

    def domain_address(self, domain: str) -> str | None:
        """The A record of a domain itself; None where the name does not exist."""
        place = self.place(domain)
        if place.kind is Kind.NXDOMAIN:
            return None
        return self._pool_address(place.group or "", domain) if place.kind is Kind.IMPLICIT else WEBSITE

    def sts_policy(self, domain: str) -> str | None:
        """The MTA-STS policy that a domain publishes; None where it has none."""
        place = self.place(domain)
        group = self.profiles.group.get(place.group or "")
        if group is None or not group.sts or place.kind not in (Kind.HOSTED, Kind.DEADFIRST, Kind.FLAKY):
            return None
        hosts = [f"mx.elsewhere-{number}.test" for number in (1, 2)] if group.betrayed else self._sts_hosts(place)
        lines = ["version: STSv1", f"mode: {group.sts}", *(f"mx: {host}" for host in hosts), "max_age: 604800", ""]
        return "\r\n".join(lines)

    def group_of(self, name: str) -> Group | None:
        """The group that a domain or an exchanger belongs to."""
        address = self.exchanger_address(name)
        if address is None or address == _DEAD_ADDRESS:
            return self.profiles.group.get(self.place(name).group or "")
        return list(self.profiles.group.values())[int(address.split(".")[2]) - 1]

    @staticmethod
    def _sts_hosts(place: Place) -> list[str]:
        """As large receivers do: hosts of one parent by `*`."""
        names = {host if host.count(".") < 2 else f"*.{host.partition('.')[2]}" for _, host in place.exchangers}
        return sorted(names)

    def serves(self, ip: str, domain: str) -> bool:
        """True if mail for the domain may be given to the exchanger at this address."""
        return ip in self.addresses_of(domain)

    def manners_of(self, listener: Listener) -> Manners:
        """How the exchangers at this address behave."""
        return self.profiles.manners[listener.manners]

    def _addresses_of(self, domain: str) -> frozenset[str]:
        place = self.place(domain)
        if place.alias is not None:
            return self.addresses_of(place.alias)
        if place.kind is Kind.IMPLICIT:
            return frozenset((self._pool_address(place.group or "", domain),))
        house = self.profiles.group[place.group].house if place.group else None
        if house is not None:
            groups = self.profiles.group
            return frozenset(listener.ip for listener in self.listeners if groups[listener.group].house == house)
        found = (self.exchanger_address(host) for _, host in place.exchangers)
        return frozenset(address for address in found if address is not None)

    def _place(self, domain: str) -> Place:
        owner = self._owner.get(domain)
        if owner is not None:
            return self._hosted(owner, domain)
        if domain.endswith(".invalid") or len(domain) > 253 or not _NAME.fullmatch(domain):
            return Place(kind=Kind.NXDOMAIN)
        if domain in self._adopted or domain.endswith(_CANONICAL):
            return self._hosted(self._own_group(domain), domain)
        word = _FORCED.fullmatch(domain.partition(".")[0])
        if word is not None:
            if word[1] in self._words:
                return self._hosted(self._words[word[1]], domain)
            if word[1] in _ODD:
                return self._odd(_ODD[word[1]], domain)
        chance = draw(self.seed, "odd", domain)
        for name, share in structs.asdict(self.profiles.odd).items():
            if chance < share:
                return self._odd(Kind(name), domain)
            chance -= share
        return self._hosted(self._group_by_chance(domain), domain)

    def _odd(self, kind: Kind, domain: str) -> Place:
        if kind in (Kind.NXDOMAIN, Kind.NULLMX, Kind.SERVFAIL):
            return Place(kind=kind)
        if kind is Kind.CNAME:
            return Place(kind=kind, alias=f"host{pick(self.seed, 'alias', domain, 1000)}{_CANONICAL}")
        group = self._own_group(domain)
        if kind is Kind.IMPLICIT:
            return Place(kind=kind, group=group)
        hosted = self._hosted(group, domain)
        if kind is Kind.FLAKY:
            return structs.replace(hosted, kind=kind)
        dead = ((1, f"{DEAD_LABEL}.{domain}"),)
        later = tuple((preference + 100, host) for preference, host in hosted.exchangers)
        return structs.replace(hosted, kind=kind, exchangers=dead if kind is Kind.DEAD else dead + later)

    def _hosted(self, name: str, domain: str) -> Place:
        number = 10_000 + pick(self.seed, "number", domain, 90_000)
        values = {"tenant": domain.replace(".", "-"), "number": str(number), "domain": domain}
        exchangers = []
        for exchanger in self.profiles.group[name].exchangers:
            preference, _, host = exchanger.partition(" ")
            exchangers.append((int(preference), host.format(**values)))
        return Place(kind=Kind.HOSTED, group=name, exchangers=tuple(exchangers))

    def _group_by_chance(self, domain: str) -> str:
        chance = draw(self.seed, "group", domain) * sum(share for _, share in self._shares)
        for name, share in self._shares:
            if chance < share:
                return name
            chance -= share
        return self._shares[-1][0]

    def _own_group(self, domain: str) -> str:
        """The largest group whose exchangers are named after the domain; any group where there is none."""
        groups = self.profiles.group
        own = [
            (share, name) for name, share in self._shares if any("{domain}" in host for host in groups[name].exchangers)
        ]
        return max(own)[1] if own else self._group_by_chance(domain)

    def _pool_address(self, name: str, host: str) -> str:
        index = list(self.profiles.group).index(name) + 1
        return f"127.10.{index}.{1 + pick(self.seed, 'address', host, self._size(name))}"

    def _size(self, name: str) -> int:
        group = self.profiles.group[name]
        return group.addresses if _pooled(group) else len(group.exchangers)

    def _lay_out(self) -> list[Listener]:
        listeners = []
        for index, (name, group) in enumerate(self.profiles.group.items(), 1):
            hosts = [exchanger.partition(" ")[2] for exchanger in group.exchangers]
            if _pooled(group):
                self._patterns += [(name, _pattern(host)) for host in hosts if "{domain}" not in host]
                hosts = [_banner(name, group, number) for number in range(1, group.addresses + 1)]
            for number, host in enumerate(hosts, 1):
                ip = f"127.10.{index}.{number}"
                listeners.append(Listener(ip=ip, host=host, group=name, manners=group.manners))
                if not _pooled(group):
                    self._addresses[host] = ip
        return listeners


def _pooled(group: Group) -> bool:
    """True where the group's hosts are named after domains, so that any number of them share a few addresses."""
    return any(_SLOT.search(exchanger) for exchanger in group.exchangers)


def _banner(name: str, group: Group, number: int) -> str:
    return (group.banner or f"mx{{number}}.{name}.sandbox.test").format(number=f"{number:03}")


def _pattern(host: str) -> re.Pattern[str]:
    literal = re.escape(host).replace(r"\{tenant\}", "[a-z0-9-]+").replace(r"\{number\}", "[0-9]{5}")
    return re.compile(literal)
